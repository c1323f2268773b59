//! What a batch has done, made of the folders of its rows: a page, a table and a test report.

mod distribution;
mod junit;
mod page;
mod table;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::batch_folder::{self, FailureClass, ReportedRow};
use crate::files::replace;
use crate::run_folder::{JUNIT, REPORT};

/// All rows as a table for other programs.
const TABLE: &str = "results.csv";

/// How a batch stands.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct Summary {
    /// Rows that have begun.
    pub(crate) rows: usize,
    /// Rows that have completed.
    pub(crate) completed: usize,
    /// Rows whose last attempt has failed.
    pub(crate) failed: usize,
    /// Rows that have begun and not ended.
    pub(crate) unfinished: usize,
    /// US dollars of all attempts, as far as they are known.
    pub(crate) cost: f64,
    /// Failed rows of each class.
    pub(crate) classes: BTreeMap<FailureClass, usize>,
}

impl Summary {
    fn of(rows: &[ReportedRow]) -> Self {
        let mut summary = Self { rows: rows.len(), ..Self::default() };
        for row in rows {
            summary.cost += row.cost.unwrap_or_default();
            match &row.result {
                None => summary.unfinished += 1,
                Some(result) if result.has_completed() => summary.completed += 1,
                Some(result) => {
                    summary.failed += 1;
                    *summary.classes.entry(result.class.unwrap_or(FailureClass::Agent)).or_default() += 1;
                }
            }
        }
        summary
    }
}

/// How the batch in this folder stands. Blocks.
///
/// # Errors
/// The folder is none of a batch, or it cannot be read.
pub(crate) fn summary(folder: &Path) -> io::Result<Summary> {
    Ok(Summary::of(&batch_folder::rows(folder)?))
}

/// Writes the reports of the batch into its folder. The page, and how the batch stands.
///
/// # Errors
/// The folder is none of a batch, or it cannot be read or written.
pub(crate) fn write(folder: &Path) -> io::Result<(PathBuf, Summary)> {
    let rows = batch_folder::rows(folder)?;
    let summary = Summary::of(&rows);
    let page_file = folder.join(REPORT);
    replace(&page_file, page::page(folder, &rows, &summary).map_err(io::Error::other)?.as_bytes())?;
    replace(&folder.join(TABLE), &table::table(&rows)?)?;
    replace(&folder.join(JUNIT), junit::report(&rows).as_bytes())?;
    Ok((page_file, summary))
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;
    use crate::batch_folder::RowResult;

    /// A row that has ended in this way.
    pub(crate) fn row(number: usize, key: &str, result: Option<serde_json::Value>) -> ReportedRow {
        let result = result.map(|result| RowResult::of_run(number, key, 1, &result));
        let cost = result.as_ref().and_then(|result| result.cost);
        let fields = json!({"id": key, "name": "=1+1"}).as_object().unwrap().clone();
        ReportedRow {
            result,
            fields,
            row: number,
            key: key.to_owned(),
            cost,
            report: Some(format!("rows/{key}/report.html")),
        }
    }

    pub(crate) fn rows() -> Vec<ReportedRow> {
        vec![
            row(
                0,
                "a",
                Some(json!({"status": "COMPLETED", "exit_code": 0, "cost": 0.5, "seconds": 61.0,
                "tokens": {"prompt": 1000, "completion": 10},
                "checks": [{"name": "tests", "status": "passed"}]})),
            ),
            row(
                1,
                "b",
                Some(json!({"status": "FAILED", "exit_code": 1, "cost": 1.5, "seconds": 5.0,
                "error": {"code": "ChecksFailed", "detail": "<script>alert(1)</script>"},
                "checks": [{"name": "tests", "status": "failed"}, {"name": "style", "status": "passed"}]})),
            ),
            row(
                2,
                "c",
                Some(
                    json!({"status": "FAILED", "exit_code": 69, "error": {"code": "SandboxUnavailable", "detail": "gone"}}),
                ),
            ),
            row(3, "d", None),
        ]
    }

    #[test]
    fn a_batch_is_summed_up() {
        let summary = Summary::of(&rows());
        assert_eq!((summary.rows, summary.completed, summary.failed, summary.unfinished), (4, 1, 2, 1));
        assert!((summary.cost - 2.0).abs() < 1e-9);
        assert_eq!(summary.classes, [(FailureClass::Checks, 1), (FailureClass::Infrastructure, 1)].into());
    }

    #[test]
    fn the_reports_are_written_into_the_folder() {
        let home = tempfile::tempdir().unwrap();
        write(home.path()).unwrap_err();
        std::fs::write(home.path().join("batch.json"), "{}").unwrap();
        let (page, summary) = write(home.path()).unwrap();
        assert_eq!((page, summary.rows), (home.path().join(REPORT), 0));
        for name in [REPORT, TABLE, JUNIT] {
            assert!(home.path().join(name).exists(), "{name}");
        }
    }
}
