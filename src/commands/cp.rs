//! `cp SRC DST`: copies files and folders into a sandbox and out of it.

use openhands_client::sandbox::copy;
use serde_json::json;

use super::{CommandContext, UsableSandbox, until_signal};
use crate::cli::{CopyPlace, CpArgs, NewSandboxArgs};
use crate::outcome::{ExitCode, Failure};
use crate::problem::Problem;
use crate::process::signals::Shutdown;
use crate::sinks::shown_line;

/// The longest pair of paths in the output, in characters.
const LONGEST: usize = 500;

pub(super) async fn run(context: &CommandContext, args: CpArgs, shutdown: &mut Shutdown) -> Result<ExitCode, Failure> {
    let sandbox = |id: &str| context.sandbox(args.provider, &NewSandboxArgs::existing(id));
    let what = shown_line(&format!("{} to {}", args.from, args.to), LONGEST, &context.environment.redactor);
    let copied = match (&args.from, &args.to) {
        (CopyPlace::Here(from), CopyPlace::Sandbox { id, path }) => {
            context
                .within(sandbox(id)?, shutdown, async |UsableSandbox { ready, .. }, shutdown| {
                    context.watch.begin_transfer("cp", &*what, &ready.server.client);
                    let copy = async { copy::upload(&ready.server, from, path).await.map_err(Failure::from) };
                    until_signal(shutdown, copy).await
                })
                .await?
        }
        (CopyPlace::Sandbox { id, path }, CopyPlace::Here(to)) => {
            context
                .within(sandbox(id)?, shutdown, async |UsableSandbox { ready, .. }, shutdown| {
                    context.watch.begin_transfer("cp", &*what, &ready.server.client);
                    let copy = async { copy::download(&ready.server, path, to).await.map_err(Failure::from) };
                    until_signal(shutdown, copy).await
                })
                .await?
        }
        (from, to) => return Err(Failure::usage(no_sandbox_or_two(from, to))),
    };
    tracing::info!(files = copied.files, bytes = copied.bytes, "copied");
    context.tell("", &json!(copied)).await;
    Ok(ExitCode::COMPLETED)
}

/// Returns the problem that not exactly one of the two places is in a sandbox.
fn no_sandbox_or_two(from: &CopyPlace, to: &CopyPlace) -> Problem {
    let found = match from {
        CopyPlace::Here(_) => "neither of the two paths is in a sandbox",
        CopyPlace::Sandbox { .. } => "both paths are in a sandbox",
    };
    let help = "`cp` copies between this machine and a sandbox: write one of the two as SANDBOX:/path, such as \
                `openhands-runner cp notes.md 6sNbqFvPx3:/workspace/notes.md`";
    Problem::new(format!("cp {from} {to}"), found, help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_paths_on_one_side_are_told_with_an_example() {
        let problem =
            |from: &str, to: &str| no_sandbox_or_two(&from.parse().unwrap(), &to.parse().unwrap()).to_string();
        assert_eq!(
            problem("a", "b"),
            "cp a b: neither of the two paths is in a sandbox; `cp` copies between this machine and a sandbox: write one of \
             the two as SANDBOX:/path, such as `openhands-runner cp notes.md 6sNbqFvPx3:/workspace/notes.md`"
        );
        assert!(problem("x:/a", "y:/b").starts_with("cp x:/a y:/b: both paths are in a sandbox"));
    }
}
