//! The outputs of a step: values that later steps of the job use.

use std::fmt::Write as _;

use openhands_client::secret::Redactor;
use uuid::Uuid;

use super::word;
use crate::outcome::RunResult;
use crate::sinks::output::with_escapes;
use crate::sinks::printable;

/// The longest text of an output, in bytes: later steps get it as a variable, and Linux takes 128 KiB in one.
const LONGEST: usize = 100_000;

/// The lines for the file of the outputs.
pub(super) fn outputs(result: &RunResult, report: Option<&str>, redactor: &Redactor) -> String {
    let shown = |text: &str| bounded(printable(text, redactor).trim());
    let json = |value: &serde_json::Value| Some(with_escapes(value.to_string())).filter(|json| json.len() <= LONGEST);
    let tokens = result.facts.tokens.as_ref();
    let values = [
        ("status", Some(word(result.status).to_owned())),
        ("code", result.error.as_ref().map(|error| shown(&error.code))),
        ("reason", result.error.as_ref().map(|error| shown(&error.detail))),
        ("message", result.message.as_deref().map(shown)),
        ("answer", result.answer.as_ref().and_then(json)),
        ("cost", result.cost.known().map(|dollars| dollars.to_string())),
        ("prompt-tokens", tokens.map(|tokens| tokens.prompt.to_string())),
        ("completion-tokens", tokens.map(|tokens| tokens.completion.to_string())),
        ("conversation-id", result.conversation_id.clone()),
        ("report", report.map(str::to_owned)),
    ];
    let mut lines = String::new();
    for (name, value) in values.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        // No one who writes the value can foresee what ends it.
        let end = format!("end-{}", Uuid::new_v4().simple());
        // Writing into a String cannot fail.
        let _ = writeln!(lines, "{name}<<{end}\n{value}\n{end}");
    }
    lines
}

/// The text, or its beginning with a mark.
fn bounded(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    format!("{} […]", &text[..text.floor_char_boundary(LONGEST - " […]".len())])
}

#[cfg(test)]
mod tests {
    use openhands_client::secret::Secret;
    use openhands_client::text;
    use serde_json::json;

    use super::*;
    use crate::sinks::github::tests::{hostile, result};

    /// Names and values, as GitHub's runner reads them.
    fn read(text: &str) -> Vec<(String, String)> {
        let (mut lines, mut read) = (text.lines(), Vec::new());
        while let Some(line) = lines.next() {
            let (name, end) = line.split_once("<<").unwrap();
            let value: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
            read.push((name.to_owned(), value.join("\n")));
        }
        read
    }

    #[test]
    fn a_hostile_answer_is_the_value_of_its_output_and_no_further_output() {
        let mut result = result();
        result.message = Some(hostile());
        result.answer = Some(json!({ "a": "\u{9b}\u{202e}\nb<<c" }));
        let first = outputs(&result, Some("/out/report.html"), &Redactor::default());
        let known = read(&first);
        let names: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["status", "code", "reason", "message", "answer", "cost", "report"]);
        assert_eq!(known[3].1, text::printable(&hostile()).trim());
        assert_eq!(known[4].1, r#"{"a":"\u009b\u202e\nb<<c"}"#);
        // An answer that repeats the ends of an earlier run ends nothing.
        result.message = Some(first.clone());
        let again = read(&outputs(&result, Some("/out/report.html"), &Redactor::default()));
        assert_eq!((again.len(), again[3].1.as_str()), (known.len(), text::printable(&first).trim()));
    }

    #[test]
    fn an_output_fits_into_a_variable_and_has_no_secret_that_escapes_have_split() {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("s3cret-value"));
        let mut result = result();
        result.message = Some(format!("s3cret\u{1b}[0m-val\u{200b}ue {}", "é".repeat(LONGEST)));
        result.answer = Some(json!("x".repeat(LONGEST)));
        let known = read(&outputs(&result, None, &redactor));
        let message = &known[3].1;
        assert!(message.starts_with("*** é") && message.ends_with("é […]") && message.len() <= LONGEST);
        assert!(known.iter().all(|(name, _)| name != "answer"));
    }
}
