//! What people want to know of a run that has ended, beside how it ended and what the agent said.

use openhands_client::text;

use crate::outcome::RunResult;

/// Changed files that are named.
const NAMED: usize = 5;

/// Names and values, without what is not known. The result has lost its secrets; each value is one line.
pub(super) fn facts(result: &RunResult, folder: Option<&str>) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(dollars) = result.cost.known() {
        facts.push(("cost", format!("${dollars:.4}")));
    }
    if let Some(tokens) = &result.facts.tokens {
        facts.push(("tokens", format!("{} in, {} out", tokens.prompt, tokens.completion)));
    }
    if let Some(seconds) = result.facts.seconds {
        let stages = result.facts.stages.iter().map(|stage| format!("{} {:.1} s", stage.stage, stage.seconds));
        let stages = stages.collect::<Vec<_>>().join(", ");
        let all = if stages.is_empty() { String::new() } else { format!(" ({stages})") };
        facts.push(("time", format!("{seconds:.1} s{all}")));
    }
    let salvage = &result.facts.salvage;
    for changes in &salvage.changes {
        let named: Vec<String> = changes.files.iter().take(NAMED).map(|file| clean(&file.path)).collect();
        let more = if changes.files.len() > NAMED { ", …" } else { "" };
        let size = format!("{} (+{} -{})", changes.count(), changes.insertions, changes.deletions);
        facts.push(("changed files", format!("{size} in {}: {}{more}", clean(&changes.repository), named.join(", "))));
    }
    if salvage.patch.is_some_and(|patch| patch.files == 0) {
        facts.push(("changed files", "none".to_owned()));
    }
    if let Some(collected) = &salvage.collected {
        let left_out =
            if collected.left_out > 0 { format!(", {} left out", collected.left_out) } else { String::new() };
        facts.push(("collected files", format!("{}{left_out}", collected.files)));
    }
    if let Some(id) = &result.conversation_id {
        facts.push(("conversation", clean(id)));
    }
    if let Some(folder) = folder {
        facts.push(("run folder", clean(folder)));
    }
    facts
}

/// Text from outside in a line of ours.
pub(super) fn clean(text: &str) -> String {
    text::one_line(text, 300)
}
