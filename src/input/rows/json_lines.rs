//! Rows as JSON Lines: one object on each line. Blank lines are skipped.

use serde_json::Value;

use super::{Line, MOST};
use crate::problem::{Problem, Problems};

const OBJECT_HELP: &str = "write an object on each line, such as {\"repository\": \"octo/app\", \"cost\": 2.5}";

pub(super) fn parse(text: &str, file: &str) -> Result<Vec<Line>, Problems> {
    if text.trim_start().starts_with('[') {
        let help = "write one object on each line: `jq -c '.[]' FILE >rows.jsonl`";
        return Err(Problem::new(format!("{file}:1"), "a JSON array", help).into());
    }
    let (mut lines, mut problems) = (Vec::new(), Vec::new());
    for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => lines.push(Line { line, fields }),
            Ok(_) => {
                problems.push(Problem::new(format!("{file}:{line}"), "a row that is not a JSON object", OBJECT_HELP));
            }
            Err(error) => {
                let words = error.to_string();
                let words = words.split(" at line ").next().unwrap_or_default();
                let place = format!("{file}:{line}:{}", error.column());
                problems.push(Problem::new(place, format!("text that is not JSON ({words})"), OBJECT_HELP));
            }
        }
        if problems.len() == MOST {
            break;
        }
    }
    if problems.is_empty() { Ok(lines) } else { Err(Problems(problems)) }
}
