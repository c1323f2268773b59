//! The story as plain text, for a terminal of any width.

use std::fmt::Write as _;

use super::extract::Extract;
use super::page::seconds_for_people;
use super::story::{Step, StepKind, Story};
use super::unseen;
use crate::screen::cut;

/// The number of lines at the end of a failed step's output that are shown.
const OUTPUT_LINES: usize = 12;

/// The text, with lines of at most `width` columns where a line is ours. Texts from outside keep their lines.
pub(crate) fn plain(story: &Story, width: usize) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = write(&mut text, story, width.max(20));
    unseen::plain(&text)
}

fn write(out: &mut String, story: &Story, width: usize) -> std::fmt::Result {
    match &story.verdict {
        Some(verdict) => {
            let code = verdict.code.as_deref().map(|code| format!(": {code}")).unwrap_or_default();
            writeln!(out, "{}{code}", verdict.status)?;
            if let Some(detail) = &verdict.detail {
                writeln!(out, "{}", indented(&whole(detail)))?;
            }
            if let Some(help) = &verdict.help {
                writeln!(out, "help: {help}")?;
            }
        }
        None => writeln!(out, "No result: the run is still under way, or its process was killed.")?,
    }
    for warning in &story.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    if story.warnings_left_out > 0 {
        writeln!(out, "{} warnings are left out", story.warnings_left_out)?;
    }
    if !story.checks.is_empty() {
        writeln!(out, "\nChecks")?;
    }
    for check in &story.checks {
        writeln!(out, "  {:<8} {}", check.ending, check.name)?;
        for path in &check.changed {
            writeln!(out, "           changed since the start: {path}")?;
        }
    }
    if story.checks_left_out > 0 {
        writeln!(out, "  {} checks are left out", story.checks_left_out)?;
    }
    for message in &story.messages {
        writeln!(out, "\nTask\n{}", indented(&whole(message)))?;
    }
    if story.messages_left_out > 0 {
        writeln!(out, "  {} messages are left out", story.messages_left_out)?;
    }
    writeln!(out, "\nSteps")?;
    let mut before = 0;
    for step in &story.steps {
        if step.number != before + 1 {
            writeln!(out, "{:>5}  {} steps are left out", "", step.number - before - 1)?;
        }
        before = step.number;
        step_lines(out, step, width)?;
    }
    if let Some(limit) = &story.limit {
        writeln!(out, "       {}: {}", limit.name, seconds_for_people(limit.at))?;
    }
    if let Some(answer) = &story.answer {
        writeln!(out, "\nAnswer\n{}", indented(&whole(answer)))?;
    }
    writeln!(out, "\nFacts")?;
    let times = [("Time", story.seconds), ("LLM", story.llm_seconds), ("Tools", story.tool_seconds)];
    for (name, seconds) in times {
        writeln!(out, "  {name:<18} {}", seconds_for_people(seconds))?;
    }
    for (name, value) in &story.facts {
        writeln!(out, "  {name:<18} {value}")?;
    }
    Ok(())
}

fn step_lines(out: &mut String, step: &Step, width: usize) -> std::fmt::Result {
    let who = match step.kind {
        StepKind::Tool => step.tool.as_str(),
        StepKind::Agent => "agent",
        StepKind::User => "you",
        StepKind::Error => "error",
    };
    let mark = match (step.exit_code, step.failed) {
        (Some(code), _) => format!(" (exit {code})"),
        (None, true) => " (failed)".to_owned(),
        (None, false) => String::new(),
    };
    let line = unseen::plain(&format!("{:>5}  {who}: {}", step.number, step.title));
    let room = width.saturating_sub(mark.chars().count());
    writeln!(out, "{}{mark}", cut(&line, room))?;
    if step.failed
        && let Some(output) = &step.output
    {
        let output = whole(output);
        let lines: Vec<&str> = output.lines().collect();
        for line in lines.iter().skip(lines.len().saturating_sub(OUTPUT_LINES)) {
            writeln!(out, "       | {line}")?;
        }
    }
    Ok(())
}

fn whole(text: &Extract) -> String {
    match text.left_out {
        0 => text.head.clone(),
        count => format!("{}\n[{count} characters are left out]\n{}", text.head, text.tail),
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::reader::StoryReader;

    #[test]
    fn a_failed_run_is_told_from_its_verdict_to_its_facts() {
        let mut reader = StoryReader::default();
        for line in [
            json!({"kind": "runner.turn", "message": "Do it."}),
            json!({"kind": "ActionEvent", "id": "a", "timestamp": "2026-01-01T00:00:00", "tool_name": "terminal",
                "summary": "run all the tests of the whole project at once", "action": {"command": "make test"}}),
            json!({"kind": "ObservationEvent", "id": "o", "action_id": "a", "timestamp": "2026-01-01T00:01:05",
                "observation": {"exit_code": 2, "content": [{"text": "one\n\u{1b}[31mtwo"}]}}),
            json!({"kind": "runner.result", "status": "FAILED", "error": {"code": "AgentStuck", "detail": "It repeats itself.", "help": "Say more."}}),
        ] {
            reader.line(&line.to_string());
        }
        let text = plain(&reader.end().unwrap(), 40);
        assert_eq!(
            text,
            "FAILED: AgentStuck\n  It repeats itself.\nhelp: Say more.\n\nTask\n  Do it.\n\nSteps\n    \
             1  terminal: run all the t… (exit 2)\n       | one\n       | <␛>[31mtwo\n\nFacts\n  \
             Time               1 min 5 s\n  LLM                0.0 s\n  Tools              1 min 5 s\n"
        );
    }
}
