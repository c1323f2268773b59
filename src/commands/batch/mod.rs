//! `batch`: one task for each row of a file.

mod report;

use super::CommandContext;
use crate::cli::BatchCommand;
use crate::outcome::{ExitCode, Failure};
use crate::process::signals::Shutdown;

pub(super) async fn run(
    context: &CommandContext,
    command: BatchCommand,
    shutdown: &mut Shutdown,
) -> Result<ExitCode, Failure> {
    match command {
        BatchCommand::Report { folder } => report::run(context, folder, shutdown).await,
    }
}
