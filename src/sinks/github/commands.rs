//! Workflow commands for GitHub Actions: a group for each stage and turn, and an error for a run that failed.

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use openhands_client::secret::Redactor;
use openhands_client::text;

use crate::logging::Lines;
use crate::sinks::tally::stage_name;
use crate::sinks::{Record, Sink, shown_line};

/// The longest title of a group, in characters.
const LONGEST: usize = 160;

/// Writes workflow commands between the lines of the log.
pub(crate) struct Commands {
    lines: Lines,
    redactor: Redactor,
    is_open: bool,
}

impl Commands {
    /// Masks the secrets that are known by then.
    #[must_use]
    pub(crate) fn new(lines: Lines, redactor: Redactor) -> Self {
        Self { lines, redactor, is_open: false }
    }
}

impl Sink for Commands {
    fn record<'a>(&'a mut self, record: &'a Record<'_>) -> BoxFuture<'a, ()> {
        if let Some(command) = command(record, self.is_open, &self.redactor) {
            self.is_open = !matches!(record, Record::Result(_) | Record::Amended(_));
            self.lines.say(command);
        }
        ready(()).boxed()
    }
}

/// The commands of a record, each on its line.
fn command(record: &Record<'_>, is_open: bool, redactor: &Redactor) -> Option<String> {
    let end = is_open.then(|| "::endgroup::".to_owned());
    let begin = match record {
        Record::Stage(stage) => Some(format!("::group::{}", stage_name(*stage))),
        Record::Command { duty, number, of, name } => {
            let name = escaped(&shown_line(name, LONGEST, redactor));
            Some(format!("::group::{} {number} of {of}: {name}", duty.noun()))
        }
        Record::Turn { number, of, message } => {
            let message = escaped(&shown_line(message, LONGEST, redactor));
            Some(format!("::group::turn {number} of {of}: {message}"))
        }
        Record::Result(result) => result.error.as_ref().map(|error| {
            let detail = text::printable(&redactor.redact(&error.detail));
            format!("::error::{}", escaped(&format!("{}: {detail}", text::one_line(&error.code, LONGEST))))
        }),
        Record::Conversation { .. } | Record::CommandEnded { .. } | Record::Event { .. } | Record::Amended(_) => {
            return None;
        }
    };
    let commands: Vec<String> = end.into_iter().chain(begin).collect();
    (!commands.is_empty()).then(|| commands.join("\n"))
}

/// Data of a workflow command, as GitHub's toolkit escapes it.
fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::Stage;

    #[test]
    fn a_turn_is_a_group_whose_title_starts_no_command() {
        let command = |record: &Record<'_>, is_open| command(record, is_open, &Redactor::default());
        let turn = Record::Turn { number: 1, of: 2, message: "100%\r\n::error::x\u{1b}[2J" };
        assert_eq!(command(&turn, true).unwrap(), "::endgroup::\n::group::turn 1 of 2: 100%25 ::error::x");
        assert_eq!(command(&Record::Stage(Stage::SettingUp), false).unwrap(), "::group::setup");
    }

    #[test]
    fn an_error_of_several_lines_is_one_command() {
        assert_eq!(escaped("50%\r\n::stop-commands::x"), "50%25%0D%0A::stop-commands::x");
    }
}
