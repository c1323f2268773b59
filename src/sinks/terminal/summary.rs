//! The last lines: how the run ended and what it has used.

use openhands_client::secret::Redactor;
use openhands_client::text;

use super::error::error_lines;
use crate::outcome::RunResult;
use crate::paint::{Kind, Line};
use crate::sinks::facts::{clean, facts};
use crate::sinks::printable;

/// The longest final message that is repeated, in characters.
const LONGEST: usize = 4000;

/// What people want to know at the end. The result has lost its secrets; its texts still are from outside.
pub(super) fn summary(result: &RunResult, shows_answer: bool, folder: Option<&str>, redactor: &Redactor) -> Vec<Line> {
    let mut lines = match &result.error {
        None => vec![Line::new(Kind::Success, "completed")],
        Some(error) => error_lines(&error.to_problems()),
    };
    let message = result.message.as_deref().filter(|message| shows_answer && !message.trim().is_empty());
    if let Some(message) = message {
        lines.push(Line::whole(Kind::Plain, text::bounded(&printable(message, redactor), LONGEST)));
    }
    let warnings =
        result.warnings.iter().map(|warning| Line::whole(Kind::Warning, format!("warning: {}", clean(warning))));
    lines.extend(warnings);
    let facts = facts(result, folder).into_iter();
    lines.extend(facts.map(|(name, value)| Line::whole(Kind::Plain, format!("{name:<13} {value}"))));
    lines
}
