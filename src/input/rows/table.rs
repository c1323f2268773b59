//! Rows as CSV: a header with the names of the columns, and then the rows. All values are texts.

use std::collections::HashSet;

use csv::{ErrorKind, Position, ReaderBuilder, StringRecord};
use serde_json::Value;

use super::{Line, MOST};
use crate::problem::{Problem, Problems, shown};

pub(super) fn parse(text: &str, delimiter: u8, file: &str) -> Result<Vec<Line>, Problems> {
    if let Some((line, column)) = unclosed_quote(text, delimiter) {
        let help = "put a quote at its end, and write a quote inside of it twice";
        return Err(Problem::new(format!("{file}:{line}:{column}"), "a text in quotes that does not end", help).into());
    }
    let mut reader = ReaderBuilder::new().delimiter(delimiter).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| other(&error, file))?.clone();
    check_header(&header, delimiter, file)?;
    let (mut lines, mut problems) = (Vec::new(), Vec::new());
    let mut counted = LineCount { text, byte: 0, line: 1 };
    for record in reader.records() {
        match record {
            Ok(record) => {
                let line = counted.line_at(record.position());
                let fields = header.iter().zip(&record);
                let fields = fields.map(|(name, value)| (name.trim().to_owned(), Value::from(value))).collect();
                lines.push(Line { line, fields });
            }
            Err(error) => problems.push(match error.kind() {
                ErrorKind::UnequalLengths { pos, expected_len, len } => {
                    let line = counted.line_at(pos.as_ref());
                    let columns = if *len == 1 { "column" } else { "columns" };
                    let help = "give each row as many columns as the header, and put a text with a comma in quotes";
                    let found = format!("{len} {columns}, and the header has {expected_len}");
                    Problem::new(format!("{file}:{line}"), found, help)
                }
                _ => other(&error, file),
            }),
        }
        if problems.len() == MOST {
            break;
        }
    }
    if problems.is_empty() { Ok(lines) } else { Err(Problems(problems)) }
}

fn check_header(header: &StringRecord, delimiter: u8, file: &str) -> Result<(), Problem> {
    if header.iter().all(|name| name.trim().is_empty()) {
        return Err(Problem::new(file, "no header", "write the names of the columns on the first line"));
    }
    let wrong = |found: String, help| Err(Problem::new(format!("{file}:1"), found, help));
    if delimiter == b',' && header.len() == 1 && header[0].contains(';') {
        return wrong("a `;` between the columns".to_owned(), "put a comma between the columns");
    }
    let mut seen = HashSet::new();
    for (index, name) in header.iter().map(str::trim).enumerate() {
        if name.is_empty() {
            return wrong(format!("column {} has no name", index + 1), "name each column");
        }
        if !seen.insert(name) {
            return wrong(format!("the column {} appears twice", shown(name)), "give each column a name of its own");
        }
    }
    Ok(())
}

fn other(error: &csv::Error, file: &str) -> Problem {
    Problem::new(file, format!("rows that cannot be read ({error})"), "write them as CSV with a header")
}

/// Counts lines while the rows are read. The parser's own count is wrong after blank lines and CRLF.
struct LineCount<'t> {
    text: &'t str,
    byte: usize,
    line: u64,
}

impl LineCount<'_> {
    /// Returns the line of the row that begins here, possibly after blank lines.
    fn line_at(&mut self, position: Option<&Position>) -> u64 {
        let byte = position.and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or(self.byte);
        let rest = self.text.get(byte..).unwrap_or_default();
        let start = byte + (rest.len() - rest.trim_start_matches(['\r', '\n']).len());
        self.line += self.text.get(self.byte..start).unwrap_or_default().matches('\n').count() as u64;
        self.byte = start;
        self.line
    }
}

/// Returns the position of a quoted field without an end, which makes the parser take the rest of the file as its value.
fn unclosed_quote(text: &str, delimiter: u8) -> Option<(usize, usize)> {
    let (mut line, mut column) = (1, 0);
    let mut open = None;
    let mut at_start = true;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        column += 1;
        match (char, open) {
            ('"', Some(_)) if chars.peek() == Some(&'"') => {
                chars.next();
                column += 1;
            }
            ('"', Some(_)) => open = None,
            ('"', None) if at_start => open = Some((line, column)),
            _ => {}
        }
        at_start = open.is_none() && (char == '\n' || char == char::from(delimiter));
        if char == '\n' {
            (line, column) = (line + 1, 0);
        }
    }
    open
}
