//! Fields of a task file that this program does not know: all of them at once, what kind of file has them, and what they are
//! called here.

use serde_json::Value;

use super::refusal::shown_path;
use crate::input::problem::{Problem, nearest};

/// An unknown field.
pub(super) struct Unknown {
    /// Where it is, as `limits.tmieout`.
    pub(super) path: String,
    /// The names that are known there.
    pub(super) known: Vec<String>,
}

/// A kind of file that other tools read, and fields that tell it.
const KINDS: &[(&str, &[&str])] = &[
    (
        "a GitHub agentic workflow",
        &["on", "engine", "safe-outputs", "permissions", "network", "timeout-minutes", "runs-on"],
    ),
    ("a slash command", &["allowed-tools", "argument-hint", "disable-model-invocation"]),
    ("an OpenHands skill", &["triggers", "type", "version"]),
    ("a goose recipe", &["parameters", "extensions", "instructions", "activities", "response"]),
    ("a prompt file of an editor", &["mode", "tools", "applyTo"]),
];

/// What fields of other tools are called here.
const RENAMED: &[(&str, &str)] = &[
    ("model", "llm.model"),
    ("temperature", "llm.temperature"),
    ("base_url", "llm.base_url"),
    ("profile", "llm.profile"),
    ("timeout", "limits.timeout"),
    ("timeout_minutes", "limits.timeout"),
    ("timeout-minutes", "limits.timeout"),
    ("max-turns", "limits.iterations"),
    ("max_turns", "limits.iterations"),
    ("max_iterations", "limits.iterations"),
    ("max_budget", "limits.cost"),
    ("max_cost", "limits.cost"),
    ("budget", "limits.cost"),
    ("title", "name"),
    ("parameters", "params"),
    ("arguments", "params"),
    ("instructions", "prompt"),
    ("extensions", "mcp"),
    ("mcpServers", "mcp"),
    ("mcp-servers", "mcp"),
    ("mcp_servers", "mcp"),
    ("repo", "repos"),
    ("repository", "repos"),
    ("repositories", "repos"),
    ("cwd", "working_dir"),
    ("working-directory", "working_dir"),
    ("working_directory", "working_dir"),
    ("workspace", "working_dir"),
];

/// What a field is called here, where another tool's name for it is known.
pub(super) fn renamed(name: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(other, _)| *other == name).map(|(_, own)| *own)
}

/// The kind of file that most of these fields belong to.
fn kind_of(names: &[&str]) -> Option<&'static str> {
    let count = |fields: &[&str]| names.iter().filter(|name| fields.contains(name)).count();
    let (kind, fields) = KINDS.iter().rev().max_by_key(|(_, fields)| count(fields))?;
    (count(fields) > 0).then_some(*kind)
}

/// One problem for all unknown fields of a file.
pub(super) fn problem(file: &str, text: &str, unknown: &[Unknown]) -> Problem {
    let told: Vec<String> = unknown.iter().map(|field| told(field, text)).collect();
    let found = format!("{} unknown fields: {}", unknown.len(), told.join(", "));
    let at_top: Vec<&str> =
        unknown.iter().map(|field| field.path.as_str()).filter(|path| !path.contains('.')).collect();
    let own = "`openhands-runner schema` prints all fields";
    match kind_of(&at_top) {
        Some(kind) => Problem::new(
            file,
            format!("{found}; this looks like {kind}"),
            format!("rename or remove them, or send the text below the front matter as it is with `--plain`; {own}"),
        ),
        None => Problem::new(file, found, own),
    }
}

fn told(Unknown { path, known }: &Unknown, text: &str) -> String {
    let name = path.rsplit('.').next().unwrap_or(path);
    let advice = match (renamed(name).filter(|_| !path.contains('.')), nearest(name, known.iter().map(String::as_str)))
    {
        (Some(own), _) => format!("here `{own}`"),
        (None, Some(near)) => format!("did you mean `{near}`?"),
        (None, None) => String::new(),
    };
    let line = line_of(name, text).map(|line| format!("line {line}"));
    let notes: Vec<String> = line.into_iter().chain(Some(advice).filter(|advice| !advice.is_empty())).collect();
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
    format!("`{}`{notes}", shown_path(path))
}

/// The line of the only place where a field of this name stands.
fn line_of(name: &str, text: &str) -> Option<usize> {
    let is_field = |line: &str| {
        line.match_indices(name).any(|(at, _)| {
            let before = line[..at].trim_end_matches(['"', '\'']).trim_end();
            let after = line[at + name.len()..].trim_start_matches(['"', '\'']).trim_start();
            after.starts_with(':') && (before.is_empty() || before.ends_with(['{', ',', '-']))
        })
    };
    let mut lines = text.lines().enumerate().filter(|(_, line)| is_field(line)).map(|(index, _)| index + 1);
    lines.next().filter(|_| lines.next().is_none())
}

/// Removes the field at this path.
pub(super) fn remove(value: &mut Value, path: &serde_path_to_error::Path) -> bool {
    use serde_path_to_error::Segment;
    let mut place = value;
    let mut segments = path.iter().peekable();
    while let Some(segment) = segments.next() {
        let next = match segment {
            Segment::Seq { index } => place.get_mut(index),
            Segment::Map { key } if segments.peek().is_none() => {
                return place.as_object_mut().is_some_and(|object| object.remove(key).is_some());
            }
            Segment::Map { key } => place.get_mut(key),
            Segment::Enum { .. } | Segment::Unknown => None,
        };
        let Some(next) = next else { return false };
        place = next;
    }
    false
}
