//! An error as people read it: what is wrong, where, and what to do. The one place that makes it.

use openhands_client::secret::Redactor;
use openhands_client::text;

use crate::logging::Lines;
use crate::outcome::Failure;
use crate::paint::{Kind, Line};
use crate::problem::Problem;
use crate::view::ErrorForm;

/// The lines of what is wrong. The problems have no secrets; their texts still are from outside.
pub(super) fn error_lines(problems: &[Problem]) -> Vec<Line> {
    let mut lines = Vec::new();
    for Problem { place, found, help } in problems {
        lines.push(Line::whole(Kind::Failure, format!("error: {}", indented(found))));
        if !place.is_empty() {
            lines.push(Line::whole(Kind::Plain, format!("  --> {}", text::one_line(place, usize::MAX))));
        }
        if !help.is_empty() {
            lines.push(Line::whole(Kind::Heading, format!("help: {}", indented(help))));
        }
    }
    lines
}

/// The same as one text, with a line break at its end.
#[must_use]
pub(crate) fn error_text(problems: &[Problem], has_colors: bool) -> String {
    error_lines(problems).into_iter().map(|line| line.kind.paint(&line.text, has_colors) + "\n").collect()
}

/// Tells people, or the log, why something failed.
pub(crate) fn tell_failure(failure: &Failure, redactor: &Redactor, lines: &Lines, form: ErrorForm) {
    match form {
        ErrorForm::People { has_colors } => {
            let problems = failure.for_result(redactor).to_problems();
            lines.say(error_text(&problems, has_colors).trim_end().to_owned());
        }
        ErrorForm::Log => tracing::error!(code = failure.code(), "{}", failure.detail),
    }
}

fn indented(found: &str) -> String {
    text::printable(found).trim().replace('\n', "\n  ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::FailureKind;
    use crate::problem::Problems;

    #[test]
    fn an_error_says_what_is_wrong_where_and_what_to_do() {
        let problems = [
            Problem::new("task.md:5:3", "unknown field `limits.tmieout`", "did you mean `timeout`?"),
            Problem::new("", "first\n::error::second\u{1b}[2J", ""),
        ];
        assert_eq!(
            error_text(&problems, false),
            "error: unknown field `limits.tmieout`\n  --> task.md:5:3\nhelp: did you mean `timeout`?\nerror: first\n  : :error::second\n"
        );
        assert!(error_text(&problems, true).contains("\u{1b}["));
    }

    #[test]
    fn a_failure_has_its_help_and_input_that_is_invalid_each_problem() {
        let redactor = Redactor::default();
        let told = |failure: Failure| error_text(&failure.for_result(&redactor).to_problems(), false);
        let timeout = told(Failure::new(FailureKind::Timeout, "the time limit of 2 s is reached"));
        assert!(
            timeout.starts_with("error: the time limit of 2 s is reached\nhelp: raise `limits.timeout`"),
            "{timeout}"
        );
        let both = Problems(vec![Problem::new("A", "b", "c"), Problem::new("D", "e", "f")]);
        assert_eq!(told(Failure::invalid(both)), "error: b\n  --> A\nhelp: c\nerror: e\n  --> D\nhelp: f\n");
    }
}
