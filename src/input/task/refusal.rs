//! The message of a parser in the words of users: no types of the implementation, and no value that may be a key.

use super::tolerant::{Part, Step};
use crate::problem::{Mistake, did_you_mean, nearest, shown};

/// How serde begins its message about an unknown field.
const UNKNOWN_FIELD: &str = "unknown field ";

/// The largest number of names that are listed where none is near.
const FEW_NAMES: usize = 8;

/// What belongs into a field, where its type does not say it.
const EXPECTED: &[(&str, &str)] = &[
    ("limits.cost", "a number of US dollars, such as 2.50"),
    ("limits.iterations", "a whole number of 1 or more, such as 200"),
    ("limits.timeout", "a time with its unit, such as `30m`"),
    ("name", "a text"),
    ("prompt", "a text"),
    ("secrets", "a list of names, such as `[GITHUB_TOKEN]`"),
    ("then", "a list of messages, such as `[\"Now write the tests.\"]`"),
    ("repos", "a list of repositories, such as `[https://github.com/octo/app]`"),
];

/// The names that are known where an unknown field stands; nothing for any other message.
pub(super) fn known_names(message: &str) -> Option<Vec<&str>> {
    let (_, names) = message.rsplit_once(UNKNOWN_FIELD)?;
    Some(names.split('`').skip(1).step_by(2).skip(1).collect())
}

/// What is wrong with a part, by a parser's message. Both parsers end theirs with "at line L column C", and may begin with the path.
pub(super) fn mistake(part: &Part, message: &str) -> Mistake {
    let path = part.to_string();
    let message = without_place(message, &path);
    let name = if path.is_empty() { "the whole".to_owned() } else { format!("`{}`", shown_path(&path)) };
    if let Some(known) = known_names(message) {
        let written = match part.path.last() {
            Some(Step::Field(written)) => written.as_str(),
            _ => "",
        };
        let help = match nearest(written, known.iter().copied()) {
            _ if known.len() <= FEW_NAMES => did_you_mean(written, &known),
            Some(near) => format!("did you mean `{near}`?"),
            None => "remove it; `openhands-runner schema` prints all fields".to_owned(),
        };
        return Mistake::new(format!("unknown field {name}"), help);
    }
    if let Some(missing) = quoted(message, "missing field `") {
        let above = if path.is_empty() { String::new() } else { format!(" in {name}") };
        return Mistake::new(format!("`{missing}` is missing{above}"), format!("add `{missing}`"));
    }
    if message.starts_with("duplicate ") {
        return Mistake::new(format!("{name} is given twice"), "remove one of the two");
    }
    if let Some((found, expected)) = of_type(message) {
        let own = EXPECTED.iter().find(|(field, _)| *field == path).map(|(_, expected)| (*expected).to_owned());
        let found = match found.strip_prefix('`') {
            Some(_) => format!("invalid value {found} for {name}"),
            None => format!("invalid value for {name}: {found}"),
        };
        return Mistake::new(found, format!("expected {}", own.unwrap_or(expected)));
    }
    match Mistake::of_text(message) {
        Some(Mistake { found, help }) => Mistake::new(format!("{name}: {found}"), help),
        None => Mistake::new(format!("{name}: {message}"), "correct it; `openhands-runner schema` prints all fields"),
    }
}

fn quoted<'m>(message: &'m str, before: &str) -> Option<&'m str> {
    message.strip_prefix(before)?.split('`').next()
}

fn without_place<'m>(message: &'m str, path: &str) -> &'m str {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    match message.split_once(": ") {
        Some((above, rest)) if path.starts_with(above) => rest,
        _ => message,
    }
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
    Some((shown(found), expected.to_owned()))
}

/// What serde calls a value, as users call it. The text of a value may be a key.
fn value(found: &str) -> String {
    match found.split_once(' ').unwrap_or((found, "")) {
        ("string", text) => shown(text.trim_matches('"')),
        ("integer" | "boolean", value) => format!("`{}`", value.trim_matches('`')),
        ("floating", rest) => format!("`{}`", rest.trim_start_matches("point ").trim_matches('`')),
        ("number", _) => "a number".to_owned(),
        ("sequence", _) => "a list".to_owned(),
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
        "a map" => "fields with values, such as `name: value`".to_owned(),
        text if text.starts_with("struct ") => "fields with values, such as `name: value`".to_owned(),
        text => text.to_owned(),
    }
}
