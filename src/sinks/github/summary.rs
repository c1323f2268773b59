//! The summary of a step, in GitHub's Markdown.

use std::fmt::Write as _;

use openhands_client::secret::Redactor;
use openhands_client::text;

use super::word;
use crate::outcome::RunResult;
use crate::sinks::facts::facts;
use crate::sinks::printable;

/// The longest answer, in characters. GitHub takes 1 MiB of all summaries of a step.
const LONGEST_ANSWER: usize = 20_000;
/// The longest reason, in characters.
const LONGEST_REASON: usize = 4000;
/// The largest number of warnings that are shown.
const MOST_WARNINGS: usize = 10;

/// The text. Everything from outside stands in blocks of code or is escaped, so that it is neither markup nor a link.
pub(super) fn summary(result: &RunResult, folder: Option<&str>, redactor: &Redactor) -> String {
    let error = result.error.as_ref();
    let code = error.map(|error| format!(": {}", escaped(&error.code))).unwrap_or_default();
    let mut page = format!("### openhands-runner: {}{code}\n", word(result.status));
    let mut block = |name: &str, text: &str, longest| {
        let text = printable(text, redactor);
        if !text.trim().is_empty() {
            // Writing into a String cannot fail.
            let _ = write!(page, "\n**{name}**\n\n{}", fenced(&text::bounded(&text, longest)));
        }
    };
    if let Some(error) = error {
        block("Reason", &error.detail, LONGEST_REASON);
    }
    if let Some(message) = &result.message {
        block("Answer", message, LONGEST_ANSWER);
    }
    let (shown, left_out) = result.warnings.split_at(result.warnings.len().min(MOST_WARNINGS));
    block("Warnings", &shown.join("\n"), LONGEST_REASON);
    if !left_out.is_empty() {
        let _ = writeln!(page, "\n{} more warnings are left out.", left_out.len());
    }
    page.push_str("\n| | |\n| --- | --- |\n");
    for (name, value) in facts(result, folder) {
        let _ = writeln!(page, "| {name} | {} |", escaped(&redactor.redact(&value)));
    }
    page
}

/// A block of code that no line of the text ends.
fn fenced(text: &str) -> String {
    let longest = text.split(|char| char != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{}\n{fence}\n", text.trim_end())
}

/// One line without markup: in Markdown a backslash makes any punctuation a plain character.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text::one_line(text, usize::MAX).chars() {
        if char.is_ascii_punctuation() {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use pulldown_cmark::{Event, Options, Parser, Tag};

    use super::*;
    use crate::sinks::github::tests::{hostile, result};

    #[test]
    fn hostile_text_is_no_markup_wherever_it_stands() {
        let mut result = result();
        result.message = Some(hostile());
        result.warnings = vec![hostile(); MOST_WARNINGS + 2];
        let error = result.error.as_mut().unwrap();
        (error.code, error.detail) = (hostile(), hostile());
        result.conversation_id = Some(hostile());
        let page = summary(&result, Some(&hostile()), &Redactor::default());
        let events: Vec<Event<'_>> = Parser::new_ext(&page, Options::ENABLE_TABLES | Options::ENABLE_GFM).collect();
        let starts = |is_meant: fn(&Tag<'_>) -> bool| {
            events.iter().filter(|event| matches!(event, Event::Start(tag) if is_meant(tag))).count()
        };
        assert_eq!(starts(|tag| matches!(tag, Tag::Heading { .. })), 1, "{page}");
        assert_eq!(starts(|tag| matches!(tag, Tag::CodeBlock(_))), 3, "{page}");
        assert_eq!(starts(|tag| matches!(tag, Tag::TableRow)), 3, "{page}");
        let is_active = |tag: &Tag<'_>| matches!(tag, Tag::Link { .. } | Tag::Image { .. } | Tag::HtmlBlock);
        assert_eq!(starts(is_active), 0, "{page}");
        assert!(!events.iter().any(|event| matches!(event, Event::Html(_) | Event::InlineHtml(_))), "{page}");
        assert!(page.contains("\n2 more warnings are left out.\n"), "{page}");
    }

    #[test]
    fn an_escaped_text_is_one_line_that_no_one_turns_into_a_link() {
        assert_eq!(escaped("see\nhttps://x.y|<b>"), r"see https\:\/\/x\.y\|\<b\>");
    }
}
