//! Converts a parser's message for users: without types of the implementation, and without values that may be a key.

use super::tolerant::{Part, Step};
use crate::problem::{Mistake, did_you_mean, nearest, shown};

/// The beginning of serde's message about an unknown field.
const UNKNOWN_FIELD: &str = "unknown field ";

/// The maximum number of names to list if none is similar.
const FEW_NAMES: usize = 8;

/// What a field expects, if its type does not say it. Each list has a row with an example in brackets.
const EXPECTED: &[(&str, &str)] = &[
    ("agent.sub_agents", "a list of agents, such as `[{name: tester, description: Runs the tests}]`"),
    ("agent.sub_agents[].tools", TOOLS),
    ("agent.tools", TOOLS),
    ("checks", COMMANDS),
    ("collect", "a list of patterns, such as `[\"report/**\"]`"),
    ("experiment.variants", "a list of variants, such as `[{name: a, weight: 1}]`"),
    ("experiment.variants[].plugins", PLUGINS),
    ("limits.cost", "a number of US dollars, such as 2.50"),
    ("limits.iterations", "a whole number of 1 or more, such as 200"),
    ("limits.timeout", "a time with its unit, such as `30m`"),
    ("name", "a text"),
    ("notify", "a list of addresses, such as `[{url: \"https://hooks.example.com/x\"}]`"),
    ("notify[]", "fields such as `{url: \"https://hooks.example.com/x\"}`"),
    ("plugins", PLUGINS),
    ("prompt", "a text"),
    ("repos", "a list of repositories, such as `[https://github.com/octo/app]`"),
    ("secrets", "a list of names, such as `[GITHUB_TOKEN]`"),
    ("setup", COMMANDS),
    ("skills", "`true`, `false`, or fields such as `{public: false}`"),
    ("then", "a list of messages, such as `[\"Now write the tests.\"]`"),
];
const COMMANDS: &str = "a list of commands, such as `[\"make test\"]`";
const PLUGINS: &str = "a list of plugins, such as `[{source: \"github:octo/plugin\"}]`";
const TOOLS: &str = "a list of names, such as `[terminal, file_editor]`";

/// Returns what the field at a path expects, if its type does not say it.
fn expected_at(path: &str) -> Option<&'static str> {
    let mut of_any_item = path.to_owned();
    of_any_item.retain(|char| !char.is_ascii_digit());
    EXPECTED.iter().find(|(field, _)| *field == of_any_item).map(|(_, expected)| *expected)
}

/// Returns the known names in the message about an unknown field; `None` for any other message.
pub(super) fn known_names(message: &str) -> Option<Vec<&str>> {
    let (_, names) = message.rsplit_once(UNKNOWN_FIELD)?;
    Some(names.split('`').skip(1).step_by(2).skip(1).collect())
}

/// Returns the mistake in a part, from a parser's message. Messages of both parsers end with "at line L column C" and may begin
/// with the path.
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
        let own = expected_at(&path).map(str::to_owned);
        let found = match found.strip_prefix('`') {
            // The URL of a webhook is a key, whatever it looks like.
            Some(_) if path.starts_with("notify") => format!("invalid value for {name}"),
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

/// Returns the names of a path, but only those that cannot be a key: a user may have written one there by mistake.
pub(super) fn shown_path(path: &str) -> String {
    let name = |name: &str| {
        // The index of an item is not part of the name.
        let field = name.split('[').next().unwrap_or_default();
        if shown(field) == format!("`{field}`") { name.to_owned() } else { "…".to_owned() }
    };
    path.split('.').map(name).collect::<Vec<_>>().join(".")
}

/// Parses serde's messages about values: what was found, and what was expected.
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

/// Converts serde's word for a value to the user's word. The text of a value may be a key.
fn value(found: &str) -> String {
    match found.split_once(' ').unwrap_or((found, "")) {
        ("string", "\"\"") => "an empty text".to_owned(),
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::input::task::Task;
    use crate::input::task::parse::{TaskFormat, parse};

    /// Collects the paths of all lists in a schema, each with its types.
    fn lists(schema: &Value, whole: &Value, path: &str, found: &mut Vec<String>) {
        if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
            let definition = whole.pointer(name.trim_start_matches('#')).unwrap();
            return lists(definition, whole, path, found);
        }
        let holds_array =
            |kind: &Value| kind == "array" || kind.as_array().is_some_and(|all| all.contains(&"array".into()));
        if schema.get("type").is_some_and(holds_array) {
            found.push(path.to_owned());
        }
        if let Some(item) = schema.get("items") {
            lists(item, whole, &format!("{path}[]"), found);
        }
        for form in ["anyOf", "oneOf"].iter().filter_map(|forms| schema.get(forms)?.as_array()).flatten() {
            lists(form, whole, path, found);
        }
        for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            lists(field, whole, &path, found);
        }
    }

    #[test]
    fn one_value_in_the_place_of_a_list_is_refused_with_a_list_to_write() {
        let schema = schemars::schema_for!(Task).to_value();
        let mut paths = Vec::new();
        lists(&schema, &schema, "", &mut paths);
        assert!(paths.len() >= 13 && paths.contains(&"checks".to_owned()), "{paths:?}");
        for path in paths {
            // The parent fields, as YAML writes them.
            let (above, field) = path.rsplit_once('.').unwrap_or(("", &path));
            let (mut before, mut after) = (String::new(), String::new());
            for step in above.split('.').filter(|step| !step.is_empty()) {
                match step.strip_suffix("[]") {
                    Some(list) => (before, after) = (format!("{before}{list}: [{{"), format!("}}]{after}")),
                    None => (before, after) = (format!("{before}{step}: {{"), format!("}}{after}")),
                }
            }
            for (value, found) in [
                ("\"\"", "an empty text"),
                ("x", "`x`"),
                ("7", "`7`"),
                ("true", "`true`"),
                ("{a: b}", "fields with values"),
            ] {
                let text = format!("{before}{field}: {value}{after}\nprompt: x\n");
                let error = parse(&text, TaskFormat::Yaml, "t").unwrap_err().to_string();
                let shown = path.replace("[]", "[0]");
                let line =
                    error.lines().find(|line| line.contains(&format!("for `{shown}`")) && line.contains("such as"));
                let line = line.unwrap_or_else(|| panic!("{text}: {error}"));
                let found = if path == "notify" { "" } else { found };
                assert!(line.contains(found) && line.contains("expected a list of ") && line.contains("`["), "{line}");
            }
        }
        let error = parse("skills: x\nprompt: x\n", TaskFormat::Yaml, "t").unwrap_err().to_string();
        assert!(
            error.ends_with("`x` for `skills`; expected `true`, `false`, or fields such as `{public: false}`"),
            "{error}"
        );
    }

    #[test]
    fn the_example_of_each_list_can_be_read() {
        for (path, expected) in
            EXPECTED.iter().filter(|(path, expected)| expected.starts_with("a list") && !path.contains('.'))
        {
            let example = expected.split('`').nth(1).unwrap();
            let text = format!("{path}: {example}\nprompt: x\n");
            assert!(parse(&text, TaskFormat::Yaml, "t").is_ok(), "{text}");
        }
    }
}
