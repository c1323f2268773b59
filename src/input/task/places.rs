//! Line and column of the parts of a text.

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::fmt;

use super::tolerant::{Part, Step};

/// A line and a column. Both start at 1, and a column is a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The line.
    pub(crate) line: usize,
    /// The column in the line.
    pub(crate) column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Place {
    /// Returns the place of this byte of a text.
    pub(crate) fn of_byte(text: &str, byte: usize) -> Self {
        let before = &text[..text.floor_char_boundary(byte)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }

    /// Returns the place of an error of the YAML parser.
    pub(super) fn of_yaml(error: &yaml_serde::Error) -> Option<Self> {
        error.location().map(|place| Self { line: place.line(), column: place.column() })
    }
}

/// The place of a text in a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TextPlace {
    /// The beginning, if it is known.
    pub(crate) start: Option<Place>,
    /// The beginning of each line; `None` for a line that has another form in the file.
    pub(crate) lines: Vec<Option<Place>>,
}

impl TextPlace {
    /// Returns the place of a text that is the rest of a file from this place on.
    pub(super) fn of_rest(start: Place, text: &str) -> Self {
        let line = |index| Place { line: start.line + index, column: if index == 0 { start.column } else { 1 } };
        Self { start: Some(start), lines: (0..text.lines().count()).map(|index| Some(line(index))).collect() }
    }

    /// Returns the place of a value in a file, from the place where the value begins.
    pub(super) fn of_value(file: &str, start: Place, text: &str) -> Self {
        let rows: Vec<&str> = file.lines().collect();
        let begin = |row: usize| match rows.get(row) {
            Some(whole) if row + 1 == start.line => {
                whole.char_indices().nth(start.column - 1).map_or(whole.len(), |(byte, _)| byte)
            }
            _ => 0,
        };
        let own_row = start.line - 1;
        // A block after a `|` in YAML begins on the next line.
        let is_block = rows.get(own_row).is_some_and(|whole| whole[begin(own_row)..].starts_with(['|', '>']));
        let place = |(index, line): (usize, &str)| {
            let row = own_row + index + usize::from(is_block);
            let whole = rows.get(row)?;
            let byte = begin(row) + whole[begin(row)..].find(line)?;
            Some(Place { line: row + 1, column: whole[..byte].chars().count() + 1 })
        };
        Self { start: Some(start), lines: text.lines().enumerate().map(place).collect() }
    }
}

/// Returns the place of a part of a JSON text. The JSON parser only knows where a value ends.
pub(super) fn in_json(text: &str, part: &Part) -> Option<Place> {
    let mut value = text.trim_start();
    for (index, step) in part.path.iter().enumerate() {
        let is_last = index + 1 == part.path.len();
        value = match step {
            Step::Item(item) => serde_json::from_str::<Vec<&RawValue>>(value).ok()?.get(*item)?.get(),
            Step::Field(name) => {
                let fields: Fields<'_> = serde_json::from_str(value).ok()?;
                let is_it = |key: &&RawValue| serde_json::from_str::<String>(key.get()).is_ok_and(|key| key == *name);
                let (key, field) = fields.0.into_iter().find(|(key, _)| is_it(key))?;
                if is_last && part.is_name { key.get() } else { field.get() }
            }
        };
    }
    // Each value is a slice of the text.
    let byte = value.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
    (byte <= text.len()).then(|| Place::of_byte(text, byte))
}

/// The fields of an object, in their order.
struct Fields<'t>(Vec<(&'t RawValue, &'t RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(All)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_value_are_found_in_its_file() {
        let lines = |file: &str, line, column, text: &str| {
            let place = TextPlace::of_value(file, Place { line, column }, text);
            place.lines.iter().map(|line| line.map(|line| line.to_string())).collect::<Vec<_>>()
        };
        let some = |place: &str| Some(place.to_owned());
        assert_eq!(lines("a: 1\nb: |\n  x\n\n  y z\n", 2, 4, "x\n\ny z\n"), [some("3:3"), some("4:1"), some("5:3")]);
        assert_eq!(lines("x: 'x y'\n", 1, 4, "x y"), [some("1:5")]);
        assert_eq!(lines("{\"prompt\": \"a\\nb\"}", 1, 12, "a\nb"), [some("1:13"), None]);
        assert_eq!(lines("x: \"a \\\" b\"\n", 1, 4, "a \" b"), [None]);
    }

    #[test]
    fn a_part_of_a_json_text_is_found() {
        let text = "{\n  \"a\": [1, {\"ä\": 2, \"b\": 3}],\n  \"c\" : {} }";
        let field = |name: &str| Step::Field(name.to_owned());
        for (path, is_name, expected) in [
            (vec![], false, Some("1:1")),
            (vec![field("a")], false, Some("2:8")),
            (vec![field("a"), Step::Item(1), field("b")], false, Some("2:26")),
            (vec![field("a"), Step::Item(1), field("b")], true, Some("2:21")),
            (vec![field("c")], true, Some("3:3")),
            (vec![field("d")], false, None),
        ] {
            let place = in_json(text, &Part { path, is_name });
            assert_eq!(place.map(|place| place.to_string()).as_deref(), expected);
        }
    }
}
