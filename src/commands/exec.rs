//! `exec -- COMMAND`: runs a command in a sandbox, with its output here and its exit code as that of this process.

use std::io::{self, IsTerminal as _};

use openhands_client::sandbox::exec::Command;
use serde_json::json;
use tokio::io::stdout;

use super::follow::{PassOn, follow_running, start, start_with_stdin, write};
use super::watch::Watch;
use super::{CommandContext, UsableSandbox};
use crate::cli::{ExecArgs, ResultFormat};
use crate::outcome::{ExitCode, Failure};
use crate::process::signals::Shutdown;
use crate::sinks::shown_line;

/// The longest command in the output, in characters.
const LONGEST: usize = 500;

pub(super) async fn run(
    context: &CommandContext,
    args: ExecArgs,
    shutdown: &mut Shutdown,
) -> Result<ExitCode, Failure> {
    let mut command = match args.command.as_slice() {
        [line] => Command::shell(line),
        words => Command::program(words),
    };
    if let Some(directory) = args.cwd {
        command = command.directory(directory);
    }
    if let Some(limit) = args.timeout {
        command = command.limit(limit);
    }
    for (name, value) in args.environment {
        context.environment.redactor.learn(&value);
        command = command.env(name, value);
    }
    let sandbox = context.sandbox(args.provider, &args.sandbox)?;
    context
        .within(sandbox, shutdown, async |UsableSandbox { id, ready, .. }, shutdown| {
            let watch = watch(context, args.stdin).await;
            let mut pass_on = PassOn::new(context.format, watch.clone());
            let each = async |output| pass_on.take(output).await;
            watch.begin(
                "exec",
                shown_line(&args.command.join(" "), LONGEST, &context.environment.redactor),
                args.timeout,
            );
            let running = if args.stdin {
                start_with_stdin(&ready.server, &command, shutdown).await?
            } else {
                start(&ready.server, &command, shutdown).await?
            };
            let exit = follow_running(running, ready.server.client.time_limits().tidy_up, shutdown, each).await?;
            if context.format == ResultFormat::Json {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let object = json!({
                    "sandbox_id": id.as_str(),
                    "exit_code": exit.0,
                    "stdout": text(&pass_on.stdout),
                    "stderr": text(&pass_on.stderr),
                });
                let object = format!("{object:#}\n");
                watch.end().await;
                tokio::select! {
                    () = write(stdout(), object.as_bytes()) => {}
                    signal = shutdown.requested() => {
                        // An error object must not be written into the middle of the result.
                        let failure = Failure::from(signal);
                        tracing::error!(code = failure.code(), "{}", failure.detail);
                        return Ok(failure.kind.exit_code());
                    }
                }
            }
            Ok(exit)
        })
        .await
}

/// Returns a live line only if it disturbs no one: a pager or an editor that reads the output uses the terminal itself, and so
/// does a user who types the command's input.
async fn watch(context: &CommandContext, reads_stdin: bool) -> Watch {
    let is_free = io::stdout().is_terminal() && !(reads_stdin && io::stdin().is_terminal());
    if is_free {
        return context.watch.clone();
    }
    context.watch.end().await;
    Watch::default()
}
