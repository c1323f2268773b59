//! The flags that name rows.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use crate::input::rows::{Selection, Selector};

/// The row of a run.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RowArgs {
    /// Take the row of this run from a file of rows, CSV or JSON Lines. Its columns are `{{ row.NAME }}` in the task. With --out, the
    /// run folder is DIR/rows/ID.
    #[arg(long, value_name = "FILE", requires = "row")]
    pub(crate) rows: Option<PathBuf>,

    /// Take this row, counted from 0; `auto` takes the number that Kubernetes, Slurm, AWS Batch, Cloud Run, Google Batch, GitLab or Buildkite
    /// gives this process.
    #[arg(long, value_name = "N|auto", requires = "rows")]
    pub(crate) row: Option<RowChoice>,

    /// The row of a batch, as `batch` uploads it.
    #[arg(long, hide = true, value_name = "FILE", conflicts_with = "rows")]
    pub(crate) row_file: Option<PathBuf>,
}

/// Which row of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowChoice {
    /// The one with this number, from 0.
    Number(usize),
    /// The one that an engine has this process for.
    Auto,
}

impl FromStr for RowChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            number => number.parse().map(Self::Number).map_err(|_| "give a number from 0, or `auto`".to_owned()),
        }
    }
}

/// Rows of a file.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RowsArgs {
    /// Read the rows from this file, CSV or JSON Lines. The columns are `{{ row.NAME }}` in the task.
    #[arg(long, value_name = "FILE")]
    pub(crate) rows: Option<PathBuf>,

    /// Take only these rows: numbers from 0 (`0-9,17`), ids, or COLUMN=VALUE. May be repeated; a row has to fit each.
    #[arg(long, value_name = "ROWS", requires = "rows", value_parser = selector)]
    pub(crate) select: Vec<Selector>,

    /// Take at most this many rows.
    #[arg(long, value_name = "N", requires = "rows")]
    pub(crate) limit: Option<usize>,
}

impl RowsArgs {
    /// Which rows are taken.
    #[must_use]
    pub(crate) fn selection(&self) -> Selection {
        Selection { selectors: self.select.clone(), limit: self.limit }
    }
}

fn selector(text: &str) -> Result<Selector, String> {
    Selector::parse(text).map_err(|mistake| format!("{}: {}", mistake.found, mistake.help))
}
