//! The commands that tell what happened in a run.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `report`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReportArgs {
    /// A run folder, or a file with the output of `run --format jsonl`.
    pub(crate) path: PathBuf,

    /// Write the page into this file, or `-` for standard output. Default: report.html in the run folder, else the file's name with
    /// `.html`.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// Arguments of `show`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ShowArgs {
    /// A run folder, or a file with the output of `run --format jsonl`.
    pub(crate) path: PathBuf,
}
