//! Arguments of `batch`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::examples::BATCH_REPORT_EXAMPLES;
use super::outside::CommonArgs;

/// Arguments of `batch`.
#[derive(Debug, Args)]
pub(crate) struct BatchArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: BatchCommand,

    /// Output and log.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// What to do with a batch.
#[derive(Debug, Subcommand)]
pub(crate) enum BatchCommand {
    /// Join the results of all rows: write report.html, results.csv and junit.xml into the folder of the batch.
    #[command(after_help = BATCH_REPORT_EXAMPLES)]
    Report {
        /// The folder of the batch: what `--out` was for its rows.
        folder: PathBuf,
    },
}
