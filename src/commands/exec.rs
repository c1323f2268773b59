//! `exec -- COMMAND`: a command in a sandbox, with its output here and its exit code as ours.

use openhands_client::sandbox::exec::Command;
use serde_json::json;
use tokio::io::stdout;

use super::follow::{PassOn, follow_running, start, start_with_stdin, write};
use super::{CommandContext, UsableSandbox};
use crate::cli::{ExecArgs, ResultFormat};
use crate::outcome::{ExitCode, Failure};
use crate::process::signals::Shutdown;

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
            let mut pass_on = PassOn::new(context.format);
            let each = async |output| pass_on.take(output).await;
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
                tokio::select! {
                    () = write(stdout(), object.as_bytes()) => {}
                    signal = shutdown.requested() => {
                        // No error object into the middle of the result.
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
