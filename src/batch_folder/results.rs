//! The results of a batch: one for each attempt of a row, from `results.jsonl` or from the run folders.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{BATCH, FailureClass, RESULTS, ROW, ROWS};
use crate::run_folder::{REPORT, RESULT};

/// How one attempt of a row ended. What is not known is left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RowResult {
    /// Which row of its file, from 0.
    pub(crate) row: usize,
    /// The row's name in the batch.
    pub(crate) key: String,
    /// Which attempt of the row, from 1.
    pub(crate) attempt: u32,
    /// The id of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run_id: Option<String>,
    /// COMPLETED or FAILED.
    pub(crate) status: String,
    /// Why it failed: the code of the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    /// What kind of failure it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) class: Option<FailureClass>,
    /// The reason for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
    /// The exit code of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exit_code: Option<u64>,
    /// US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cost: Option<f64>,
    /// Tokens, as the result of a run counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tokens: Option<Value>,
    /// How long the attempt took, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seconds: Option<f64>,
    /// When the attempt began, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) started_at: Option<String>,
    /// The checks of the task, and how each ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) checks: Vec<RowCheck>,
    /// The sandbox, also when it has been deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sandbox: Option<String>,
    /// The conversation, once there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) conversation: Option<String>,
    /// The run folder, from the folder of the batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) folder: Option<String>,
}

/// A check of the task.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct RowCheck {
    /// Its name.
    pub(crate) name: String,
    /// `passed`, `failed` or `timed_out`.
    pub(crate) status: String,
}

impl RowResult {
    /// What the result of a run says, as `result.json` has it.
    #[must_use]
    pub(crate) fn of_run(row: usize, key: &str, attempt: u32, result: &Value) -> Self {
        let text = |field: &str| result[field].as_str().map(str::to_owned);
        let error = |field: &str| result["error"][field].as_str().map(str::to_owned);
        let (code, exit_code) = (error("code"), result["exit_code"].as_u64());
        let checks = result["checks"].as_array().into_iter().flatten();
        Self {
            row,
            key: key.to_owned(),
            attempt,
            run_id: text("run_id"),
            status: text("status").unwrap_or_default(),
            class: code.as_deref().map(|code| FailureClass::of(code, exit_code.unwrap_or_default())),
            code,
            detail: error("detail"),
            exit_code,
            cost: result["cost"].as_f64(),
            tokens: result.get("tokens").cloned(),
            seconds: result["seconds"].as_f64(),
            started_at: text("started_at"),
            checks: checks.filter_map(|check| serde_json::from_value(check.clone()).ok()).collect(),
            sandbox: text("sandbox_id"),
            conversation: text("conversation_id"),
            folder: Some(format!("{ROWS}/{key}")),
        }
    }

    /// Whether the row is done.
    #[must_use]
    pub(crate) fn has_completed(&self) -> bool {
        self.status == "COMPLETED"
    }
}

/// A row of a batch, read from its files.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct ReportedRow {
    /// Its last attempt; nothing of a row that has begun and not ended.
    pub(crate) result: Option<RowResult>,
    /// Its columns, where its folder has them.
    pub(crate) fields: Map<String, Value>,
    /// Which row of its file, from 0.
    pub(crate) row: usize,
    /// Its name in the batch.
    pub(crate) key: String,
    /// US dollars of all its attempts.
    pub(crate) cost: Option<f64>,
    /// The report of its run, from the folder of the batch.
    pub(crate) report: Option<String>,
}

/// What [`super::ROW`] has of a row.
#[derive(Deserialize)]
struct KeptRow {
    number: usize,
    key: String,
    #[serde(default)]
    fields: Map<String, Value>,
}

/// All rows that have begun, in their order. Blocks.
///
/// # Errors
/// The folder cannot be read, or is none of a batch.
pub(crate) fn rows(folder: &Path) -> io::Result<Vec<ReportedRow>> {
    if !folder.join(BATCH).exists() && !folder.join(RESULTS).exists() {
        let what = format!("{} has no {BATCH}: it is not a folder of a batch", folder.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, what));
    }
    let mut rows: BTreeMap<(usize, String), ReportedRow> = BTreeMap::new();
    for result in lines::<RowResult>(&folder.join(RESULTS))? {
        let row = rows.entry((result.row, result.key.clone())).or_default();
        row.cost = result.cost.map(|cost| row.cost.unwrap_or_default() + cost).or(row.cost);
        (row.row, row.key) = (result.row, result.key.clone());
        row.result = Some(result);
    }
    for (kept, path) in of_folders(&folder.join(ROWS))? {
        let row = rows.entry((kept.number, kept.key.clone())).or_default();
        if row.result.is_none() {
            let read = fs::read(path.join(RESULT)).ok().and_then(|text| serde_json::from_slice(&text).ok());
            row.result = read.map(|result: Value| RowResult::of_run(kept.number, &kept.key, 1, &result));
            row.cost = row.result.as_ref().and_then(|result| result.cost);
        }
        (row.row, row.key, row.fields) = (kept.number, kept.key, kept.fields);
    }
    let mut rows: Vec<ReportedRow> = rows.into_values().collect();
    for row in &mut rows {
        let of_row = row.result.as_ref().and_then(|result| result.folder.clone());
        let of_row = format!("{}/{REPORT}", of_row.unwrap_or_else(|| format!("{ROWS}/{}", row.key)));
        row.report = folder.join(&of_row).exists().then_some(of_row);
    }
    Ok(rows)
}

/// The lines of a file of JSON Lines; nothing where there is no file. A line that is cut is left out. Blocks.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn lines<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<Vec<T>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut results = Vec::new();
    for line in BufReader::new(file).split(b'\n') {
        results.extend(serde_json::from_slice(&line?).ok());
    }
    Ok(results)
}

fn of_folders(path: &Path) -> io::Result<Vec<(KeptRow, std::path::PathBuf)>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut rows = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let kept = fs::read(path.join(ROW)).ok().and_then(|text| serde_json::from_slice(&text).ok());
        rows.extend(kept.map(|kept| (kept, path)));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Puts a row with its result into the folder of a batch.
    fn put(folder: &Path, number: usize, key: &str, result: Option<Value>) {
        let path = folder.join(ROWS).join(key);
        fs::create_dir_all(&path).unwrap();
        let row = json!({"number": number, "key": key, "place": "rows.csv:2", "fields": {"name": key}});
        fs::write(path.join(ROW), row.to_string()).unwrap();
        if let Some(result) = result {
            fs::write(path.join(RESULT), result.to_string()).unwrap();
        }
    }

    #[test]
    fn folders_and_lines_are_joined_in_the_order_of_the_rows() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(BATCH), "{}").unwrap();
        put(
            home.path(),
            10,
            "c",
            Some(json!({"status": "COMPLETED", "cost": 0.5, "seconds": 2.5, "exit_code": 0,
            "checks": [{"name": "tests", "status": "passed", "output": ""}]})),
        );
        put(
            home.path(),
            2,
            "b",
            Some(json!({"status": "FAILED", "error": {"code": "Timeout", "detail": "late"}, "exit_code": 124})),
        );
        put(home.path(), 3, "d", None);
        fs::write(home.path().join("rows/c").join(REPORT), "x").unwrap();
        let line = |attempt: u32, status: &str| {
            let result = RowResult {
                row: 0,
                key: "a".to_owned(),
                attempt,
                status: status.to_owned(),
                cost: Some(1.0),
                ..RowResult::default()
            };
            serde_json::to_string(&result).unwrap()
        };
        let lines = format!("{}\n{}\n{{\"row\": 0, \"ke", line(1, "FAILED"), line(2, "COMPLETED"));
        fs::write(home.path().join(RESULTS), lines).unwrap();

        let rows = rows(home.path()).unwrap();
        assert_eq!(rows.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["a", "b", "d", "c"]);
        let [a, b, d, c] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((a.result.as_ref().unwrap().attempt, a.cost), (2, Some(2.0)));
        let late = b.result.as_ref().unwrap();
        assert_eq!((late.class, late.detail.as_deref()), (Some(FailureClass::Limit), Some("late")));
        assert_eq!((&d.result, &d.fields["name"]), (&None, &json!("d")));
        let done = c.result.as_ref().unwrap();
        assert!(done.has_completed() && done.checks[0].status == "passed" && done.attempt == 1);
        assert_eq!((c.report.as_deref(), b.report.as_deref()), (Some("rows/c/report.html"), None));
    }

    #[test]
    fn a_folder_of_no_batch_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let error = rows(home.path()).unwrap_err().to_string();
        assert!(error.contains("has no batch.json"), "{error}");
    }
}
