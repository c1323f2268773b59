//! The selection of rows for a batch: `--select` and `--limit`.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::{Row, Rows};
use crate::problem::{Mistake, Problem, Problems, did_you_mean, shown};

/// A `--select` option: rows by number (`0-9,17`), by `id`, or by the value of a column (`language=rust`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selector {
    /// The original text, for errors.
    text: String,
    /// A row has to match one of these.
    kinds: Vec<Kind>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Numbers(RangeInclusive<usize>),
    Key(String),
    Column { name: String, value: String },
}

impl Selector {
    /// Parses a selector.
    ///
    /// # Errors
    /// What is wrong with it, and how to write one.
    pub(crate) fn parse(text: &str) -> Result<Self, Mistake> {
        const HELP: &str = "write numbers from 0 and ranges such as `0-9,17`, ids, or `COLUMN=VALUE`";
        let kinds = if let Some((name, value)) = text.split_once('=') {
            vec![Kind::Column { name: name.trim().to_owned(), value: value.to_owned() }]
        } else {
            text.split(',').map(|part| kind(part.trim(), HELP)).collect::<Result<_, _>>()?
        };
        Ok(Self { text: text.to_owned(), kinds })
    }

    fn takes(&self, row: &Row) -> bool {
        self.kinds.iter().any(|kind| match kind {
            Kind::Numbers(numbers) => numbers.contains(&row.number),
            Kind::Key(key) => row.key == *key || row.fields.get("id").is_some_and(|id| text_of(id) == *key),
            Kind::Column { name, value } => row.fields.get(name).is_some_and(|found| text_of(found) == *value),
        })
    }
}

fn kind(part: &str, help: &str) -> Result<Kind, Mistake> {
    let is_number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let number =
        |text: &str| text.parse::<usize>().map_err(|_| Mistake::new(format!("{} is too large", shown(text)), help));
    match part.split_once('-') {
        _ if part.is_empty() => Err(Mistake::new("nothing is selected", help)),
        _ if is_number(part) => number(part).map(|number| Kind::Numbers(number..=number)),
        Some((from, to)) if is_number(from) && is_number(to) => {
            let (from, to) = (number(from)?, number(to)?);
            if from > to {
                return Err(Mistake::new(format!("the range {} ends before it begins", shown(part)), help));
            }
            Ok(Kind::Numbers(from..=to))
        }
        _ => Ok(Kind::Key(part.to_owned())),
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The selection: the rows that match all selectors, up to the limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// `--select`.
    pub(crate) selectors: Vec<Selector>,
    /// `--limit`.
    pub(crate) limit: Option<usize>,
}

impl Selection {
    /// Returns the selected rows, in the order of the file.
    ///
    /// # Errors
    /// A selector that matches no row, or selectors that together match none.
    pub(crate) fn of(&self, rows: Rows) -> Result<Vec<Row>, Problems> {
        let file = rows.file().to_owned();
        let alone = self.selectors.iter().filter(|selector| !rows.iter().any(|row| selector.takes(row)));
        let problems: Vec<Problem> = alone.map(|selector| takes_none(selector, &rows)).collect();
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        let is_taken = |row: &Row| self.selectors.iter().all(|selector| selector.takes(row));
        let taken: Vec<Row> = rows.into_iter().filter(is_taken).take(self.limit.unwrap_or(usize::MAX)).collect();
        if taken.is_empty() {
            let help = "a row has to fit each of them: leave one out";
            return Err(Problem::new(file, "no row fits all of `--select`", help).into());
        }
        Ok(taken)
    }
}

fn takes_none(selector: &Selector, rows: &Rows) -> Problem {
    let place = format!("--select {}", selector.text);
    if let [Kind::Column { name, .. }] = selector.kinds.as_slice() {
        let mut known: Vec<&str> = Vec::new();
        for column in rows.iter().take(100).flat_map(|row| row.fields.keys()) {
            if !known.contains(&column.as_str()) {
                known.push(column);
            }
        }
        if !rows.iter().any(|row| row.fields.contains_key(name)) {
            return Problem::new(place, format!("no column is named {}", shown(name)), did_you_mean(name, &known));
        }
        return Problem::new(
            place,
            "no row has this value",
            format!("look at the column {} in {}", shown(name), rows.file()),
        );
    }
    let last = rows.len() - 1;
    Problem::new(place, "no row has this number or `id`", format!("{} has rows 0 to {last}", rows.file()))
}

#[cfg(test)]
mod tests {
    use super::super::RowsFormat;
    use super::*;

    fn chosen(select: &[&str], limit: Option<usize>) -> Result<Vec<String>, String> {
        let text = "id,lang\na,rust\nb,go\nc,rust\nd/1,rust\n";
        let rows = Rows::parse(text, RowsFormat::Table(b','), "rows.csv").unwrap();
        let selectors = select.iter().map(|text| Selector::parse(text).unwrap()).collect();
        let taken = Selection { selectors, limit }.of(rows).map_err(|problems| problems.to_string())?;
        Ok(taken.into_iter().map(|row| row.key).collect())
    }

    #[test]
    fn rows_are_taken_by_number_id_and_value() {
        for (select, limit, expected) in [
            (&[][..], None, &["a", "b", "c", "d-1"][..]),
            (&[], Some(2), &["a", "b"]),
            (&["1-2,0"], None, &["a", "b", "c"]),
            (&["3-99"], None, &["d-1"]),
            (&["d/1,b"], None, &["b", "d-1"]),
            (&["lang=rust"], None, &["a", "c", "d-1"]),
            (&["lang=rust", "1-2"], None, &["c"]),
            (&["lang=rust"], Some(1), &["a"]),
        ] {
            assert_eq!(chosen(select, limit).unwrap(), expected, "{select:?}");
        }
    }

    #[test]
    fn a_selector_that_takes_nothing_says_what_there_is() {
        for (select, expected) in [
            (&["7"][..], "--select 7: no row has this number or `id`; rows.csv has rows 0 to 3"),
            (
                &["lnag=go"],
                "--select lnag=go: no column is named `lnag`; did you mean `lang`? Known are `id` and `lang`",
            ),
            (&["lang=c"], "--select lang=c: no row has this value; look at the column `lang` in rows.csv"),
            (
                &["lang=go", "0"],
                "rows.csv: no row fits all of `--select`; a row has to fit each of them: leave one out",
            ),
        ] {
            assert_eq!(chosen(select, None).unwrap_err(), expected);
        }
        for text in ["", "1,,2", "9-3", "99999999999999999999999"] {
            Selector::parse(text).unwrap_err();
        }
    }
}
