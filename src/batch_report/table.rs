//! A batch as CSV: a line for each row, with its result and its columns.

use std::borrow::Cow;
use std::io;

use serde_json::Value;

use crate::batch_folder::ReportedRow;

/// The columns of the results, before those of the rows.
const COLUMNS: &[&str] = &[
    "row",
    "id",
    "status",
    "class",
    "code",
    "detail",
    "attempts",
    "exit_code",
    "cost",
    "seconds",
    "prompt_tokens",
    "completion_tokens",
    "checks_passed",
    "checks",
    "run_id",
    "conversation",
    "sandbox",
    "report",
];

/// The table.
///
/// # Errors
/// None that is expected: it is written into memory.
pub(super) fn table(rows: &[ReportedRow]) -> io::Result<Vec<u8>> {
    let mut names: Vec<&str> = Vec::new();
    for name in rows.iter().flat_map(|row| row.fields.keys()) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    let own = COLUMNS.iter().map(|name| (*name).to_owned());
    writer.write_record(own.chain(names.iter().map(|name| format!("row.{name}"))))?;
    for row in rows {
        let values = names.iter().map(|name| row.fields.get(*name).map(text_of).unwrap_or_default());
        writer.write_record(results(row).into_iter().chain(values).map(|text| as_text(&text).into_owned()))?;
    }
    writer.into_inner().map_err(|error| io::Error::other(error.to_string()))
}

fn results(row: &ReportedRow) -> Vec<String> {
    let result = row.result.clone().unwrap_or_default();
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let tokens = |kind: &str| result.tokens.as_ref().and_then(|tokens| tokens[kind].as_u64());
    let whole = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
    let passed = result.checks.iter().filter(|check| check.status == "passed").count();
    let checks = |count: usize| if result.checks.is_empty() { String::new() } else { count.to_string() };
    vec![
        row.row.to_string(),
        row.key.clone(),
        result.status.clone(),
        result.class.map(|class| class.name().to_owned()).unwrap_or_default(),
        result.code.clone().unwrap_or_default(),
        result.detail.clone().unwrap_or_default(),
        result.attempt.to_string(),
        whole(result.exit_code),
        number(row.cost),
        number(result.seconds),
        whole(tokens("prompt")),
        whole(tokens("completion")),
        checks(passed),
        checks(result.checks.len()),
        result.run_id.clone().unwrap_or_default(),
        result.conversation.clone().unwrap_or_default(),
        result.sandbox.clone().unwrap_or_default(),
        row.report.clone().unwrap_or_default(),
    ]
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A value that a spreadsheet takes as text: one that begins as a formula could run a command there.
fn as_text(text: &str) -> Cow<'_, str> {
    let is_number = text.parse::<f64>().is_ok();
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch_report::tests::rows;

    #[test]
    fn a_line_has_the_result_and_the_columns_of_its_row() {
        let text = String::from_utf8(table(&rows()).unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("{},row.id,row.name", COLUMNS.join(",")));
        assert_eq!(lines[1], "0,a,COMPLETED,,,,1,0,0.5,61,1000,10,1,1,,,,rows/a/report.html,a,'=1+1");
        assert!(
            lines[2].starts_with("1,b,FAILED,checks,ChecksFailed,<script>alert(1)</script>,1,1,1.5,5,,,1,2,"),
            "{}",
            lines[2]
        );
        assert!(lines[4].starts_with("3,d,,,,,0,,"), "{}", lines[4]);
    }

    #[test]
    fn a_formula_is_a_text() {
        for (text, shown) in
            [("=cmd()", "'=cmd()"), ("@x", "'@x"), ("-1.5", "-1.5"), ("-x", "'-x"), ("a=b", "a=b"), ("", "")]
        {
            assert_eq!(as_text(text), shown);
        }
    }
}
