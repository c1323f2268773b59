//! The rows of a batch: one task with one run for each row. The task refers to the columns of a row as `{{ row.NAME }}`.
//!
//! [`Rows`] reads a file of JSON Lines or CSV, [`Selection`] selects some of its rows, and [`engine`] finds the row of this
//! process. This module does not know the task.

pub(crate) mod engine;
mod json_lines;
mod selection;
mod table;

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) use self::selection::{Selection, Selector};
use crate::problem::{Problem, Problems, shown};

/// The maximum size of a file of rows, in bytes.
const LARGEST: u64 = 256 << 20;

/// The column with the name of the row. Without it, the number of the row is its name.
const ID: &str = "id";

/// The maximum length of a key, in characters. The key is also the name of a folder.
const LONGEST_KEY: usize = 100;

/// The maximum number of errors that are reported for a file.
const MOST: usize = 20;

/// A row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The number of the row in its file, starting at 0.
    pub(crate) number: usize,
    /// The name of the row in its batch: the column `id`, or else the number. It is valid as the name of a folder.
    pub(crate) key: String,
    /// File and line, for errors.
    pub(crate) place: String,
    /// The columns and their values. Values from CSV are texts.
    pub(crate) fields: Map<String, Value>,
}

/// All rows of a file, in their order. There is at least one, and all keys are different.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rows {
    /// The name of the file, for errors.
    file: String,
    rows: Vec<Row>,
}

/// A row in a file: its line number and its columns.
struct Line {
    line: u64,
    fields: Map<String, Value>,
}

/// The format of a file of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowsFormat {
    /// A JSON object on each line.
    JsonLines,
    /// A table with a header and this byte between the columns.
    Table(u8),
}

impl RowsFormat {
    /// Returns the format that the file name implies, or else that of the text.
    fn of(path: &Path, text: &str) -> Self {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("csv") => Self::Table(b','),
            Some("tsv" | "tab") => Self::Table(b'\t'),
            Some("jsonl" | "ndjson" | "json") => Self::JsonLines,
            _ if text.trim_start().starts_with(['{', '[']) => Self::JsonLines,
            _ => Self::Table(b','),
        }
    }
}

impl Rows {
    /// Reads a file. Blocks.
    ///
    /// # Errors
    /// [`Problems`]: all errors in the file, each with file, line and column.
    pub(crate) fn read(path: &Path) -> Result<Self, Problems> {
        let shown = path.display().to_string();
        let unreadable = |error: std::io::Error| {
            Problem::new(
                &*shown,
                format!("cannot be read ({error})"),
                "name a readable file of rows: CSV or JSON Lines",
            )
        };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > LARGEST {
            let help = "split it, and run a batch for each part";
            return Err(Problem::new(shown, "a file of rows of more than 256 MiB", help).into());
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
            let line = valid.matches('\n').count() + 1;
            Problem::new(format!("{shown}:{line}"), "bytes that are not UTF-8", "save the file as UTF-8")
        })?;
        Self::parse(&text, RowsFormat::of(path, &text), &shown)
    }

    fn parse(text: &str, format: RowsFormat, file: &str) -> Result<Self, Problems> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = match format {
            RowsFormat::JsonLines => json_lines::parse(text, file)?,
            RowsFormat::Table(delimiter) => table::parse(text, delimiter, file)?,
        };
        let rows = named(lines, file)?;
        if rows.is_empty() {
            return Err(Problem::new(file, "no rows", "write one row for each run").into());
        }
        Ok(Self { file: file.to_owned(), rows })
    }

    /// Returns the name of the file, for errors.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// Returns the number of rows.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns all rows in their order.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Row> {
        self.rows.iter()
    }

    /// Returns the row with this number, starting at 0.
    ///
    /// # Errors
    /// The file has fewer rows.
    pub(crate) fn get(&self, number: usize) -> Result<&Row, Problem> {
        self.rows.get(number).ok_or_else(|| {
            let help = match self.len() {
                1 => "the file has one row, number 0".to_owned(),
                rows => format!("the file has {rows} rows, numbers 0 to {}", rows - 1),
            };
            Problem::new(&*self.file, format!("there is no row {number}"), help)
        })
    }

    /// Returns an iterator that owns the rows.
    pub(crate) fn into_iter(self) -> std::vec::IntoIter<Row> {
        self.rows.into_iter()
    }
}

/// Assigns each row its key.
fn named(lines: Vec<Line>, file: &str) -> Result<Vec<Row>, Problems> {
    let has_ids = lines.iter().any(|line| line.fields.contains_key(ID));
    let mut problems = Vec::new();
    let mut seen: HashMap<String, u64> = HashMap::new();
    let mut rows = Vec::with_capacity(lines.len());
    for (number, Line { line, fields }) in lines.into_iter().enumerate() {
        let place = format!("{file}:{line}");
        let key = if has_ids { key_of(fields.get(ID)) } else { Some(number.to_string()) };
        let Some(key) = key else {
            let help = "give each row an `id` of its own with a letter or a digit, or remove the column";
            problems.push(Problem::new(place, "a row without an `id`", help));
            continue;
        };
        if let Some(first) = seen.insert(key.clone(), line) {
            let help = "give each row an `id` of its own; in the names of folders, `-` replaces all characters except letters, digits, `.`, `_` and `-`";
            problems.push(Problem::new(place, format!("the `id` {} is already in line {first}", shown(&key)), help));
            continue;
        }
        rows.push(Row { number, key, place, fields });
    }
    if problems.is_empty() {
        return Ok(rows);
    }
    problems.truncate(MOST);
    Err(Problems(problems))
}

/// Converts an id into the name of a folder.
fn key_of(id: Option<&Value>) -> Option<String> {
    let id = match id? {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let key: String = id.chars().take(LONGEST_KEY).map(safe).collect();
    let key = key.trim_matches(['-', '.']);
    key.contains(|c: char| c.is_ascii_alphanumeric()).then(|| key.to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// Creates a row like one from a file.
    pub(crate) fn row(fields: Value) -> Row {
        let Value::Object(fields) = fields else { panic!("no object: {fields}") };
        Row { number: 3, key: "3".to_owned(), place: "rows.csv:5".to_owned(), fields }
    }

    fn csv(text: &str) -> Result<Rows, String> {
        Rows::parse(text, RowsFormat::Table(b','), "rows.csv").map_err(|problems| problems.to_string())
    }

    fn jsonl(text: &str) -> Result<Rows, String> {
        Rows::parse(text, RowsFormat::JsonLines, "rows.jsonl").map_err(|problems| problems.to_string())
    }

    #[test]
    fn rows_of_csv_and_json_lines_are_the_same() {
        let table =
            csv("\u{feff}id,repo,note\r\na/1,octo/x,\"two\nlines, \"\"quoted\"\"\"\r\n\r\nb,octo/y,\r\n").unwrap();
        let lines = jsonl(
            "{\"id\":\"a/1\",\"repo\":\"octo/x\",\"note\":\"two\\nlines, \\\"quoted\\\"\"}\n\n{\"id\":\"b\",\"repo\":\"octo/y\",\"note\":\"\"}",
        )
        .unwrap();
        for (one, other) in table.iter().zip(lines.iter()) {
            assert_eq!((&one.key, &one.fields, one.number), (&other.key, &other.fields, other.number));
        }
        let places: Vec<_> = table.iter().map(|row| (row.key.as_str(), row.place.as_str())).collect();
        assert_eq!(places, [("a-1", "rows.csv:2"), ("b", "rows.csv:5")]);
        assert_eq!(lines.get(1).unwrap().place, "rows.jsonl:3");
    }

    #[test]
    fn values_of_json_lines_keep_their_types_and_rows_without_an_id_have_numbers() {
        let rows = jsonl("{\"cost\": 2.50, \"repos\": [\"octo/x\"]}\n{\"cost\": 1}").unwrap();
        assert_eq!(rows.get(0).unwrap().fields["repos"], json!(["octo/x"]));
        assert_eq!(rows.get(0).unwrap().fields["cost"].to_string(), "2.50");
        assert_eq!(rows.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["0", "1"]);
        let problem = rows.get(2).unwrap_err().to_string();
        assert_eq!(problem, "rows.jsonl: there is no row 2; the file has 2 rows, numbers 0 to 1");
    }

    #[test]
    fn a_mistake_in_a_file_is_told_with_its_place() {
        for (text, expected) in [
            ("", "rows.csv: no header; write the names of the columns on the first line"),
            ("id,repo\n", "rows.csv: no rows; write one row for each run"),
            ("id,,x\n1,2,3\n", "rows.csv:1: column 2 has no name; name each column"),
            ("a,b,a\n1,2,3\n", "rows.csv:1: the column `a` appears twice; give each column a name of its own"),
            (
                "a,b\n1,2\n3\n",
                "rows.csv:3: 1 column, and the header has 2; give each row as many columns as the header, and put a text with a comma in quotes",
            ),
            (
                "a,b\n1,2,3\n",
                "rows.csv:2: 3 columns, and the header has 2; give each row as many columns as the header, and put a text with a comma in quotes",
            ),
            (
                "a,b\n1,\"two\n3,4\n",
                "rows.csv:2:3: a text in quotes that does not end; put a quote at its end, and write a quote inside of it twice",
            ),
            ("a;b\n1;2\n", "rows.csv:1: a `;` between the columns; put a comma between the columns"),
            (
                "id,x\n1,a\n ,b\n",
                "rows.csv:3: a row without an `id`; give each row an `id` of its own with a letter or a digit, or remove the column",
            ),
        ] {
            assert_eq!(csv(text).unwrap_err(), expected, "{text:?}");
        }
        let again = csv("id\na/b\na b\n").unwrap_err();
        assert!(again.starts_with("rows.csv:3: the `id` `a-b` is already in line 2; give each row"), "{again}");
        for (text, expected) in [
            ("{\"a\": 1}\n{\"a\": }\n", "rows.jsonl:2:7: text that is not JSON (expected value); "),
            ("{\"a\": 1}\n[1]\n", "rows.jsonl:2: a row that is not a JSON object; "),
            (
                "[\n  {\"a\": 1}\n]\n",
                "rows.jsonl:1: a JSON array; write one object on each line: `jq -c '.[]' FILE >rows.jsonl`",
            ),
            ("\n\n", "rows.jsonl: no rows; "),
        ] {
            let problem = jsonl(text).unwrap_err();
            assert!(problem.starts_with(expected), "{text:?}: {problem}");
        }
    }

    #[test]
    fn all_mistakes_are_told_together_and_not_without_end() {
        let text = format!("a,b\n{}", "1\n".repeat(100));
        assert_eq!(csv(&text).unwrap_err().matches("1 column, and the header has 2").count(), MOST);
        let problem = csv("a,b\n1\n1,2\n1,2,3\n").unwrap_err();
        assert!(problem.contains("rows.csv:2: 1 column,") && problem.contains("rows.csv:4: 3 columns,"), "{problem}");
    }

    #[test]
    fn the_name_tells_the_format_and_else_the_text() {
        for (name, text, format) in [
            ("rows.csv", "{", RowsFormat::Table(b',')),
            ("ROWS.TSV", "", RowsFormat::Table(b'\t')),
            ("rows.ndjson", "a,b", RowsFormat::JsonLines),
            ("rows", "\n {\"a\": 1}", RowsFormat::JsonLines),
            ("rows.txt", "a,b\n1,2", RowsFormat::Table(b',')),
        ] {
            assert_eq!(RowsFormat::of(Path::new(name), text), format, "{name}");
        }
    }

    #[test]
    fn a_file_that_is_not_utf_8_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        std::fs::write(&path, b"a\nb\n\xff\n").unwrap();
        let problem = Rows::read(&path).unwrap_err().to_string();
        assert!(problem.contains("rows.csv:3: bytes that are not UTF-8"), "{problem}");
        let missing = Rows::read(&folder.path().join("none.csv")).unwrap_err().to_string();
        assert!(missing.contains("none.csv: cannot be read"), "{missing}");
    }
}
