//! `cp SRC DST`: files and folders into a sandbox and out of it.

use openhands_client::sandbox::copy;
use serde_json::json;

use super::{CommandContext, until_signal};
use crate::cli::{CopyPlace, CpArgs, NewSandboxArgs};
use crate::outcome::{ExitCode, Failure, FailureKind};
use crate::process::signals::Shutdown;

pub(super) async fn run(context: &CommandContext, args: CpArgs, shutdown: &mut Shutdown) -> Result<ExitCode, Failure> {
    let sandbox = |id: &str| context.sandbox(&NewSandboxArgs { id: Some(id.to_owned()), ..NewSandboxArgs::default() });
    let copied = match (&args.from, &args.to) {
        (CopyPlace::Here(from), CopyPlace::Sandbox { id, path }) => {
            context
                .within(sandbox(id)?, shutdown, async |_, ready, shutdown| {
                    let copy = async { copy::upload(&ready.server, from, path).await.map_err(Failure::from) };
                    until_signal(shutdown, copy).await
                })
                .await?
        }
        (CopyPlace::Sandbox { id, path }, CopyPlace::Here(to)) => {
            context
                .within(sandbox(id)?, shutdown, async |_, ready, shutdown| {
                    let copy = async { copy::download(&ready.server, path, to).await.map_err(Failure::from) };
                    until_signal(shutdown, copy).await
                })
                .await?
        }
        _ => {
            let detail = "one of the two is in a sandbox, written SANDBOX:/path, and the other is not";
            return Err(Failure::new(FailureKind::Usage, detail));
        }
    };
    tracing::info!(files = copied.files, bytes = copied.bytes, "copied");
    context.tell("", &json!(copied)).await;
    Ok(ExitCode::COMPLETED)
}
