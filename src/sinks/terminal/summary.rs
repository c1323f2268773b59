//! The last lines: how the run ended and what it has used.

use openhands_client::text;

use super::paint::{Kind, Line};
use crate::outcome::RunResult;

/// The longest final message that is repeated, in characters.
const LONGEST: usize = 4000;
/// Changed files that are named.
const NAMED: usize = 5;

/// What people want to know at the end. The result has lost its secrets; its texts still are from outside.
pub(super) fn summary(result: &RunResult, shows_answer: bool, folder: Option<&str>) -> Vec<Line> {
    let mut lines = vec![match &result.error {
        None => Line::new(Kind::Success, "completed"),
        Some(error) => {
            let (code, detail) = (clean(&error.code), text::printable(&error.detail));
            Line::whole(Kind::Failure, format!("failed ({code}): {}", detail.trim()))
        }
    }];
    let message = result.message.as_deref().filter(|message| shows_answer && !message.trim().is_empty());
    if let Some(message) = message {
        lines.push(Line::whole(Kind::Plain, text::bounded(&text::printable(message), LONGEST)));
    }
    let warnings =
        result.warnings.iter().map(|warning| Line::whole(Kind::Warning, format!("warning: {}", clean(warning))));
    lines.extend(warnings);
    let mut fact = |name: &str, value: String| lines.push(Line::whole(Kind::Plain, format!("{name:<13} {value}")));
    if let Some(dollars) = result.cost.known() {
        fact("cost", format!("${dollars:.4}"));
    }
    if let Some(tokens) = &result.facts.tokens {
        fact("tokens", format!("{} in, {} out", tokens.prompt, tokens.completion));
    }
    if let Some(seconds) = result.facts.seconds {
        let stages = result.facts.stages.iter().map(|stage| format!("{} {:.1} s", stage.stage, stage.seconds));
        let stages = stages.collect::<Vec<_>>().join(", ");
        fact("time", if stages.is_empty() { format!("{seconds:.1} s") } else { format!("{seconds:.1} s ({stages})") });
    }
    for changes in &result.facts.changes {
        let count = changes.added + changes.updated + changes.deleted + changes.moved;
        let named: Vec<String> = changes.files.iter().take(NAMED).map(|file| clean(&file.path)).collect();
        let more = if changes.files.len() > NAMED { ", …" } else { "" };
        fact("changed files", format!("{count} in {}: {}{more}", clean(&changes.repository), named.join(", ")));
    }
    if let Some(id) = &result.conversation_id {
        fact("conversation", clean(id));
    }
    if let Some(folder) = folder {
        fact("run folder", clean(folder));
    }
    lines
}

fn clean(text: &str) -> String {
    text::one_line(text, 300)
}
