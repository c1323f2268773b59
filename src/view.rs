//! Decides in which form people see a run on standard error. No other module decides this.

use std::io::{self, IsTerminal as _};

use crate::cli::{ColorChoice, LogFormat, OutputFormat, RunArgs, ViewArgs};
use crate::input::env::RawEnv;

/// The form in which a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Steps, a live line and a summary, on a terminal.
    Live,
    /// The log.
    Log,
    /// The log with the workflow commands of GitHub Actions.
    GitHub,
}

/// The form in which an error is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorForm {
    /// For people: what is wrong, where, and what to do.
    People {
        /// Whether the text has colours.
        has_colors: bool,
    },
    /// As a log line.
    Log,
}

impl ErrorForm {
    /// Returns the form for this process.
    #[must_use]
    pub(crate) fn of_process(format: LogFormat, color: ColorChoice, raw: &RawEnv) -> Self {
        Self::new(format, color, raw, io::stderr().is_terminal())
    }

    fn new(format: LogFormat, color: ColorChoice, raw: &RawEnv, is_terminal: bool) -> Self {
        if is_terminal && format == LogFormat::Text && !is_in_github(raw) {
            Self::People { has_colors: has_colors(color, raw, is_terminal) }
        } else {
            Self::Log
        }
    }
}

/// Returns whether standard error is a terminal with a live view, for commands without options for the view.
#[must_use]
pub(crate) fn is_watched(format: LogFormat, raw: &RawEnv) -> bool {
    format == LogFormat::Text && !is_in_github(raw) && can_draw(raw, io::stderr().is_terminal())
}

fn is_in_github(raw: &RawEnv) -> bool {
    raw.github_actions.as_deref() == Some("true")
}

fn has_colors(color: ColorChoice, raw: &RawEnv, is_terminal: bool) -> bool {
    match color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if raw.no_color.is_some() => false,
        ColorChoice::Auto => {
            can_draw(raw, is_terminal) || raw.clicolor_force.as_deref().is_some_and(|force| force != "0")
        }
    }
}

fn can_draw(raw: &RawEnv, is_terminal: bool) -> bool {
    is_terminal && raw.term.as_deref() != Some("dumb")
}

/// The view of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct View {
    /// The form in which the run is shown.
    pub(crate) form: Form,
    /// Whether the live view has colours.
    pub(crate) has_colors: bool,
    /// The form in which an error is shown.
    pub(crate) errors: ErrorForm,
    /// Whether standard output is a terminal, which then shows the answer.
    pub(crate) shows_output: bool,
    /// The options of the user.
    pub(crate) args: ViewArgs,
}

/// Which outputs are terminals.
#[derive(Debug, Clone, Copy)]
struct Terminals {
    stderr: bool,
    stdout: bool,
}

impl View {
    /// Returns the view of this process.
    #[must_use]
    pub(crate) fn of_process(args: &RunArgs, raw: &RawEnv) -> Self {
        let terminals = Terminals { stderr: io::stderr().is_terminal(), stdout: io::stdout().is_terminal() };
        Self::new(args, raw, terminals)
    }

    fn new(args: &RunArgs, raw: &RawEnv, terminals: Terminals) -> Self {
        // The lines on standard output would interrupt the live line.
        let is_disturbed = terminals.stdout && args.format == OutputFormat::Jsonl;
        let form = match args.log_format {
            LogFormat::Text if is_in_github(raw) => Form::GitHub,
            LogFormat::Text if can_draw(raw, terminals.stderr) && !is_disturbed && !args.view.quiet => Form::Live,
            LogFormat::Json | LogFormat::Text => Form::Log,
        };
        let has_colors = has_colors(args.view.color, raw, terminals.stderr);
        let errors = ErrorForm::new(args.log_format, args.view.color, raw, terminals.stderr);
        let shows_output = terminals.stdout && args.format == OutputFormat::Text;
        Self { form, has_colors, errors, shows_output, args: args.view }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMINAL: Terminals = Terminals { stderr: true, stdout: true };
    const PIPE: Terminals = Terminals { stderr: false, stdout: false };

    #[test]
    fn flags_beat_variables_and_variables_beat_the_terminal() {
        let set = |text: &str| Some(text.to_owned());
        for (color, no_color, force, terminals, has_colors) in [
            (ColorChoice::Auto, None, None, TERMINAL, true),
            (ColorChoice::Auto, None, None, PIPE, false),
            (ColorChoice::Auto, set("1"), None, TERMINAL, false),
            (ColorChoice::Auto, set("1"), set("1"), TERMINAL, false),
            (ColorChoice::Auto, None, set("1"), PIPE, true),
            (ColorChoice::Auto, None, set("0"), PIPE, false),
            (ColorChoice::Always, set("1"), None, PIPE, true),
            (ColorChoice::Never, None, set("1"), TERMINAL, false),
        ] {
            let mut args = RunArgs::default();
            args.view.color = color;
            let raw = RawEnv { no_color, clicolor_force: force, ..RawEnv::default() };
            assert_eq!(View::new(&args, &raw, terminals).has_colors, has_colors, "{color:?} {terminals:?}");
        }
    }

    #[test]
    fn errors_are_for_people_on_a_terminal_and_lines_of_the_log_elsewhere() {
        let form = |format, terminal, change: fn(&mut RawEnv)| {
            let mut raw = RawEnv::default();
            change(&mut raw);
            ErrorForm::new(format, ColorChoice::Auto, &raw, terminal)
        };
        let people = |has_colors| ErrorForm::People { has_colors };
        assert_eq!(form(LogFormat::Text, true, |_| {}), people(true));
        assert_eq!(form(LogFormat::Text, true, |raw| raw.no_color = Some("1".to_owned())), people(false));
        assert_eq!(form(LogFormat::Text, true, |raw| raw.term = Some("dumb".to_owned())), people(false));
        assert_eq!(form(LogFormat::Json, true, |_| {}), ErrorForm::Log);
        assert_eq!(form(LogFormat::Text, false, |_| {}), ErrorForm::Log);
        assert_eq!(form(LogFormat::Text, true, |raw| raw.github_actions = Some("true".to_owned())), ErrorForm::Log);
    }

    #[test]
    fn only_a_terminal_that_people_watch_has_the_live_view() {
        let form = |terminals, change: fn(&mut RunArgs, &mut RawEnv)| {
            let (mut args, mut raw) = (RunArgs::default(), RawEnv::default());
            change(&mut args, &mut raw);
            View::new(&args, &raw, terminals).form
        };
        assert_eq!(form(TERMINAL, |_, _| {}), Form::Live);
        assert_eq!(form(PIPE, |_, _| {}), Form::Log);
        assert_eq!(form(PIPE, |args, _| args.view.color = ColorChoice::Always), Form::Log);
        assert_eq!(form(TERMINAL, |args, _| args.log_format = LogFormat::Json), Form::Log);
        assert_eq!(form(TERMINAL, |args, _| args.format = OutputFormat::Jsonl), Form::Log);
        assert_eq!(form(TERMINAL, |args, _| args.view.quiet = true), Form::Log);
        assert_eq!(form(TERMINAL, |_, raw| raw.term = Some("dumb".to_owned())), Form::Log);
        assert_eq!(form(PIPE, |_, raw| raw.github_actions = Some("true".to_owned())), Form::GitHub);
    }
}
