//! Converts the syntax errors of the YAML and JSON parsers for users.

use super::places::Place;

/// A syntax error in a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SyntaxMistake {
    pub(super) place: Place,
    pub(super) found: String,
    pub(super) help: String,
}

/// The words of the parser; whether the error is where the current element began (`true`) or where the parser stopped; what was
/// found; what to do.
type Row = (&'static str, bool, &'static str, &'static str);

const IN_YAML: &[Row] = &[
    ("a flow sequence", true, "a list that is not closed", "put a `,` between its items and a `]` at its end"),
    (
        "a flow mapping",
        true,
        "fields in `{` that are not closed",
        "put a `,` between the fields and a `}` at their end",
    ),
    ("a flow node", false, "a list or fields that are not closed", "put a `]` or a `}` at their end"),
    ("unknown escape", false, "an unknown escape in a text in double quotes", "write `\\\\` for a backslash"),
    ("a quoted scalar", true, "a text in quotes that does not end", "put the same quote at its end"),
    (
        "a simple key",
        true,
        "a line without a `:`",
        "write `name: value`, or indent the line to continue the text above it",
    ),
    (
        "cannot start any token",
        false,
        "a character that cannot start a value",
        "indent with spaces, and put such a text in quotes",
    ),
    (
        "mapping values",
        false,
        "a `:` that cannot stand here",
        "check the indentation, and put a text with `: ` in it in quotes",
    ),
    ("expected key", false, "a line whose indentation fits no line above it", "indent all fields of one level alike"),
    (
        "'-' indicator",
        false,
        "a line that is not an item of the list above it",
        "start each item with `- `, or check the indentation",
    ),
    ("unknown anchor", false, "a `*` with a name that is not defined", "put a text that starts with `*` in quotes"),
    ("control characters", false, "a control character", "remove it"),
];

const IN_JSON: &[Row] = &[
    ("EOF while parsing a list", false, "the text ends inside a list", "close it with `]`"),
    ("EOF while parsing an object", false, "the text ends inside an object", "close it with `}`"),
    ("EOF while parsing a string", false, "the text ends inside a string", "close it with `\"`"),
    ("EOF", false, "no JSON", "write a JSON object with `prompt`"),
    (
        "key must be a string",
        false,
        "no name of a field in double quotes",
        "write `\"name\": value`, and no `,` after the last",
    ),
    ("trailing characters", false, "trailing characters after the end of the JSON", "remove them"),
    ("trailing comma", false, "a `,` after the last item", "remove it"),
    ("control character", false, "a line break or a control character in a string", "write `\\n` for a line break"),
    ("invalid escape", false, "an unknown escape in a string", "write `\\\\` for a backslash"),
];

/// Returns the syntax error of a text that is not valid YAML.
pub(super) fn in_yaml(error: &yaml_serde::Error) -> SyntaxMistake {
    let message = error.to_string();
    let stopped = Place::of_yaml(error);
    if message.contains("more than one document") {
        let (found, help) = ("more than one YAML document", "keep one, and remove the line `---` between them");
        return mistake(stopped.unwrap_or(START), found, help);
    }
    // The parser leaves out this place if it is the start of the text.
    let began = || message.rsplit_once(", while ").map_or(START, |(_, context)| place_in(context).unwrap_or(START));
    match IN_YAML.iter().find(|(words, ..)| message.contains(words)) {
        Some((_, is_at_start, found, help)) => {
            mistake(if *is_at_start { began() } else { stopped.unwrap_or(START) }, found, help)
        }
        None => {
            let message = message.split(" at line ").next().unwrap_or(&message);
            let help = "check the indentation and the quotes there";
            mistake(stopped.unwrap_or(START), &format!("text that is not YAML ({message})"), help)
        }
    }
}

/// Returns the syntax error of a text that is not valid JSON.
pub(super) fn in_json(error: &serde_json::Error) -> SyntaxMistake {
    let message = error.to_string();
    let place = Place { line: error.line().max(1), column: error.column().max(1) };
    match IN_JSON.iter().find(|(words, ..)| message.contains(words)) {
        Some((_, _, found, help)) => mistake(place, found, help),
        None => {
            let message = message.split(" at line ").next().unwrap_or(&message);
            mistake(place, &format!("text that is not JSON ({message})"), "correct it there")
        }
    }
}

const START: Place = Place { line: 1, column: 1 };

fn mistake(place: Place, found: &str, help: &str) -> SyntaxMistake {
    SyntaxMistake { place, found: found.to_owned(), help: help.to_owned() }
}

/// Parses `… at line 3 column 6`.
fn place_in(message: &str) -> Option<Place> {
    let (line, column) = message.rsplit_once(" at line ")?.1.split_once(" column ")?;
    Some(Place { line: line.parse().ok()?, column: column.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;
    use serde::de::IgnoredAny;
    use serde_json::value::RawValue;

    use super::*;

    fn told(SyntaxMistake { place, found, .. }: SyntaxMistake) -> String {
        format!("{place} {found}")
    }

    #[test]
    fn a_mistake_in_yaml_is_told_where_it_begins() {
        for (text, expected) in [
            ("limits: [1", "1:9 a list that is not closed"),
            ("a: 1\nlimits:\n  x: [1, 2\nfoo: bar\n", "3:6 a list that is not closed"),
            ("a: {b: 1\n", "1:4 fields in `{` that are not closed"),
            ("{a: 1, b", "1:1 fields in `{` that are not closed"),
            ("name: [\n", "2:1 a list or fields that are not closed"),
            ("a: \"x\nb: 1\n", "1:4 a text in quotes that does not end"),
            ("a: \"\\q\"\n", "1:5 an unknown escape in a text in double quotes"),
            ("a: b: c\n", "1:5 a `:` that cannot stand here"),
            ("a: @x\n", "1:4 a character that cannot start a value"),
            ("a:\n  b: 1\n c: 2\n", "3:2 a line whose indentation fits no line above it"),
            ("- a\nb: 1\n", "2:1 a line that is not an item of the list above it"),
            ("a: 1\nkey value\nb: x\n", "2:1 a line without a `:`"),
            ("a: *x\n", "1:4 a `*` with a name that is not defined"),
            ("--- a\n--- b\n", "1:1 more than one YAML document"),
            ("a: }\n", "1:4 text that is not YAML (did not find expected node content)"),
        ] {
            let error = IgnoredAny::deserialize(yaml_serde::Deserializer::from_str(text)).unwrap_err();
            assert_eq!(told(in_yaml(&error)), expected, "{text:?}");
        }
    }

    #[test]
    fn a_mistake_in_json_is_told_at_its_place() {
        for (text, expected) in [
            ("{", "1:1 the text ends inside an object"),
            ("{\"a\": 1,}", "1:9 no name of a field in double quotes"),
            ("{\"a\": [1,2}", "1:11 text that is not JSON (expected `,` or `]`)"),
            ("{\"a\":\n\"x", "2:2 the text ends inside a string"),
            ("{\"a\": 1} x", "1:10 trailing characters after the end of the JSON"),
            ("", "1:1 no JSON"),
        ] {
            let error = serde_json::from_str::<&RawValue>(text).unwrap_err();
            assert_eq!(told(in_json(&error)), expected, "{text:?}");
        }
    }
}
