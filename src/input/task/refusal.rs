//! The message of a parser as a problem in the words of users: no types of the implementation, and no value that may be a key.

use crate::input::problem::{Problem, did_you_mean, shown};

/// How serde begins its message about an unknown field.
pub(super) const UNKNOWN_FIELD: &str = "unknown field ";

/// What to do where nothing better is known.
const HELP: &str = "see `openhands-runner schema` for what may stand there";

/// Turns a parser's message into our three parts. Both parsers end theirs with "at line L column C" and may begin with
/// the field's path, which the place says already.
pub(super) fn refusal(file: &str, line: Option<usize>, path: &str, message: &str) -> Problem {
    let line = line.filter(|line| *line > 0).map(|line| format!(":{line}")).unwrap_or_default();
    let field = if path == "." || path == "?" { String::new() } else { format!(": {}", shown_path(path)) };
    let place = format!("{file}{line}{field}");
    let message = without_place(message, path);

    if let Some(rest) = message.strip_prefix(UNKNOWN_FIELD) {
        let mut names = rest.split('`').skip(1).step_by(2);
        let written = names.next().unwrap_or_default();
        let known: Vec<&str> = names.collect();
        return Problem::new(place, format!("unknown field {}", shown(written)), did_you_mean(written, &known));
    }
    if let Some((found, expected)) = of_type(message) {
        return Problem::new(place, found, format!("expected {expected}"));
    }
    match message.split_once(", expected ") {
        Some((found, expected)) => Problem::new(place, found, format!("expected {expected}")),
        None => Problem::new(place, message, HELP),
    }
}

fn without_place<'m>(message: &'m str, path: &str) -> &'m str {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let parent = path.rsplit_once('.').map_or("", |(parent, _)| parent);
    [path, parent].into_iter().find_map(|prefix| message.strip_prefix(prefix)?.strip_prefix(": ")).unwrap_or(message)
}

/// The names of a path, each only if it can be no key: a user may have written one there.
pub(super) fn shown_path(path: &str) -> String {
    let name = |name: &str| if shown(name) == format!("`{name}`") { name.to_owned() } else { "…".to_owned() };
    path.split('.').map(name).collect::<Vec<_>>().join(".")
}

/// serde's messages about values: what was found, and what should be there.
fn of_type(message: &str) -> Option<(String, String)> {
    let kinds = ["invalid type: ", "invalid value: ", "invalid length "];
    if let Some(rest) = kinds.iter().find_map(|kind| message.strip_prefix(kind)) {
        let (found, expected) = rest.rsplit_once(", expected ")?;
        return Some((value(found), wanted(expected)));
    }
    let rest = message.strip_prefix("unknown variant `")?;
    let (found, expected) = rest.rsplit_once("`, expected ")?;
    Some((format!("unknown value {}", shown(found)), expected.to_owned()))
}

/// What serde calls a value, as users call it. The text of a value may be a key.
fn value(found: &str) -> String {
    match found.split_once(' ').unwrap_or((found, "")) {
        ("string", text) => format!("the text {}", shown(text.trim_matches('"'))),
        ("integer", number) => format!("the number {}", number.trim_matches('`')),
        ("floating", rest) => format!("the number {}", rest.trim_start_matches("point ").trim_matches('`')),
        ("boolean", value) => value.trim_matches('`').to_owned(),
        ("sequence", _) => "several values".to_owned(),
        ("map", _) => "fields with values".to_owned(),
        ("unit" | "null" | "Option", _) => "nothing".to_owned(),
        _ => "a value of another kind".to_owned(),
    }
}

fn wanted(expected: &str) -> String {
    match expected {
        "f64" | "f32" => "a number".to_owned(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number of 0 or more".to_owned(),
        "i32" | "i64" => "a whole number".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        "a string" | "a borrowed string" => "a text".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "fields with values".to_owned(),
        text if text.starts_with("struct ") => "fields with values".to_owned(),
        text => text.to_owned(),
    }
}
