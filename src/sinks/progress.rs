//! What the agent does, one log line each, for people.

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use openhands_client::agent_server::event::{Action, Meaning, Observation};
use openhands_client::secret::Redactor;

use super::terminal::error_text;
use super::{Record, Sink, shown_line};
use crate::logging::Lines;
use crate::outcome::RunResult;
use crate::view::ErrorForm;

/// The longest text of a line, in characters.
const LONGEST: usize = 160;
/// The same for a verbose log.
const LONGEST_VERBOSE: usize = 20_000;

/// Logs the steps of a run at level `info`.
#[derive(Default)]
pub(crate) struct Progress {
    redactor: Redactor,
    is_verbose: bool,
    /// Where people read an error, if standard error is a terminal.
    for_people: Option<(Lines, bool)>,
}

impl Progress {
    /// Masks the secrets that are known by then. With `is_verbose`, texts are complete and every exit code is shown.
    #[must_use]
    pub(crate) fn new(redactor: Redactor, is_verbose: bool) -> Self {
        Self { redactor, is_verbose, for_people: None }
    }

    /// The same, with errors in this form.
    #[must_use]
    pub(crate) fn with_errors(self, form: ErrorForm, lines: &Lines) -> Self {
        let for_people = match form {
            ErrorForm::People { has_colors } => Some((lines.clone(), has_colors)),
            ErrorForm::Log => None,
        };
        Self { for_people, ..self }
    }
}

impl Sink for Progress {
    fn record<'a>(&'a mut self, record: &'a Record<'_>) -> BoxFuture<'a, ()> {
        match record {
            Record::Conversation { id, new } => {
                tracing::info!(conversation_id = %id, "conversation {}", if *new { "started" } else { "continued" });
            }
            Record::Turn { number, of, message } => tracing::info!("turn {number} of {of}: {}", self.line(message)),
            Record::Command { duty, number, of, name } => {
                tracing::info!("{} {number} of {of}: {}", duty.noun(), self.line(name));
            }
            Record::CommandEnded { duty, result } if !result.is_passed() => {
                tracing::warn!("{} {}: {}", duty.noun(), result.ending(), self.line(&result.name));
            }
            Record::Stage(_) | Record::CommandEnded { .. } | Record::Amended(_) => {}
            Record::Event { meaning, .. } => self.step(meaning),
            Record::Result(result) => self.verdict(result),
        }
        ready(()).boxed()
    }
}

impl Progress {
    fn line(&self, text: &str) -> String {
        let longest = if self.is_verbose { LONGEST_VERBOSE } else { LONGEST };
        shown_line(text, longest, &self.redactor)
    }

    fn step(&self, meaning: &Meaning) {
        match meaning {
            Meaning::Action(action) => tracing::info!("{}", self.action_line(action)),
            Meaning::Observation(Observation { tool, exit_code: Some(code), .. }) if *code != 0 || self.is_verbose => {
                tracing::info!("{} exited with {code}", self.line(tool));
            }
            Meaning::Observation(Observation { tool, is_error: true, .. }) => {
                tracing::info!("{} failed", self.line(tool));
            }
            Meaning::AgentMessage(text) => tracing::info!("agent: {}", self.line(text)),
            Meaning::AgentError(error) => tracing::warn!("agent error: {}", self.line(error)),
            Meaning::Error(error) => {
                tracing::warn!(code = self.line(error.code()), "conversation error: {}", self.line(&error.detail()));
            }
            _ => {}
        }
    }

    fn verdict(&self, result: &RunResult) {
        match (&result.error, &self.for_people) {
            (None, _) => tracing::info!(cost = %result.cost, "completed"),
            (Some(error), Some((lines, has_colors))) => {
                lines.say(error_text(&error.to_problems(), *has_colors).trim_end().to_owned());
            }
            (Some(error), None) => {
                tracing::error!(code = error.code, cost = %result.cost, "run failed: {}", error.detail);
            }
        }
    }

    fn action_line(&self, action: &Action) -> String {
        let text = match (action.own_summary(), action.detail.as_deref()) {
            (Some(summary), Some(detail)) => format!("{summary}: {detail}"),
            (Some(only), None) | (None, Some(only)) => only.to_owned(),
            (None, None) => return self.line(&action.tool),
        };
        format!("{}: {}", self.line(&action.tool), self.line(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openhands_client::secret::Secret;

    #[test]
    fn an_action_is_one_bounded_line() {
        let action_line = |action: &Action| Progress::default().action_line(action);
        let action = |summary: Option<&str>, detail: Option<&str>| Action {
            tool: "terminal".to_owned(),
            summary: summary.map(str::to_owned),
            detail: detail.map(str::to_owned),
            is_finish: false,
        };
        assert_eq!(action_line(&action(None, Some("ls\n -la"))), "terminal: ls -la");
        assert_eq!(action_line(&action(Some("list files"), Some("ls"))), "terminal: list files: ls");
        assert_eq!(action_line(&action(Some(r#"terminal: {"command": "ls"}"#), Some("ls"))), "terminal: ls");
        assert_eq!(action_line(&action(None, None)), "terminal");
        assert!(action_line(&action(None, Some(&"x".repeat(1000)))).chars().count() < 200);
    }

    #[test]
    fn a_tool_with_line_breaks_in_its_name_forges_no_line() {
        let tool = "x\n2026-01-01 ERROR forged\n::add-mask::y\u{1b}[2J".to_owned();
        let action = Action { tool, summary: None, detail: None, is_finish: false };
        let line = Progress::default().action_line(&action);
        assert_eq!(line, "x 2026-01-01 ERROR forged ::add-mask::y");
    }

    #[test]
    fn a_secret_is_removed_before_the_text_is_cut() {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("value-of-a-secret"));
        redactor.learn(&Secret::new("first line\nsecond line"));
        let progress = Progress::new(redactor, false);
        for before in LONGEST - 17..LONGEST {
            let line = progress.line(&format!("{} value-of-a-secret", "x".repeat(before)));
            assert!(!line.contains('v'), "{line}");
        }
        assert_eq!(progress.line("it is first line\nsecond line"), "it is ***");
    }
}
