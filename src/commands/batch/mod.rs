//! `batch`: runs one task for each row of a file.

mod claim;
mod drive;
mod follow;
mod plan;
mod provider;
mod report;
mod row;
mod standing;
mod start;

use super::CommandContext;
use crate::cli::{BatchArgs, BatchCommand};
use crate::outcome::{ExitCode, Failure};
use crate::process::signals::Shutdown;

pub(super) async fn run(
    context: &CommandContext,
    args: BatchArgs,
    shutdown: &mut Shutdown,
) -> Result<ExitCode, Failure> {
    let BatchArgs { command, start, common } = args;
    match command {
        None => start::run(context, start, &common, shutdown).await,
        Some(BatchCommand::Status { folder }) => report::status(context, folder, shutdown).await,
        Some(BatchCommand::Report { folder }) => report::run(context, folder, shutdown).await,
    }
}
