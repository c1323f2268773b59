//! Fields of other tools: the kind of file that they belong to, and their names here.

use crate::problem::Problem;

/// A kind of file that other tools read, and the fields that identify it.
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

/// Fields of other tools with their names here.
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
    ("attempts", "limits.attempts"),
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

/// Returns the name here for a field of another tool, if it is known.
pub(super) fn renamed(name: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(other, _)| *other == name).map(|(_, own)| *own)
}

/// Returns the kind of file that most of these fields belong to.
fn kind_of(names: &[&str]) -> Option<&'static str> {
    let count = |fields: &[&str]| names.iter().filter(|name| fields.contains(name)).count();
    let (kind, fields) = KINDS.iter().rev().max_by_key(|(_, fields)| count(fields))?;
    (count(fields) > 0).then_some(*kind)
}

/// Returns the problem that a file belongs to another tool, if its unknown fields show that.
pub(super) fn problem(file: &str, unknown: &[&str]) -> Option<Problem> {
    let kind = kind_of(unknown)?;
    let help = "rename or remove the fields that are unknown here (`openhands-runner schema` prints all fields), or send only the \
                text below the front matter with `--plain`";
    Some(Problem::new(file, format!("this looks like {kind}"), help))
}
