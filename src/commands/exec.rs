//! `exec -- COMMAND`: a command in a sandbox, with its output here and its exit code as ours.

use serde_json::json;
use tokio::io::{AsyncWrite, AsyncWriteExt as _, stderr, stdout};

use super::{Desk, until_signal};
use crate::cli::{ExecArgs, Format};
use crate::conversation::Server;
use crate::outcome::{ExitCode, Failure};
use crate::runner::failures::{ended_by, not_executed};
use crate::sandbox::exec::{self, Command, Exit, Output};
use crate::shutdown::{Shutdown, Signal};

pub(super) async fn run(desk: &Desk, args: ExecArgs, shutdown: &mut Shutdown) -> Result<ExitCode, Failure> {
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
        desk.environment.redactor.learn(&value);
        command = command.env(name, value);
    }
    let sandbox = desk.sandbox(&args.sandbox)?;
    desk.within(sandbox, shutdown, async |id, ready, shutdown| {
        let mut pass_on = PassOn { format: desk.format, stdout: Vec::new(), stderr: Vec::new() };
        let exit = follow(&ready.server, &command, shutdown, &mut pass_on).await?;
        if desk.format == Format::Json {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let object = json!({
                "sandbox_id": id.as_str(),
                "exit_code": exit.0,
                "stdout": text(&pass_on.stdout),
                "stderr": text(&pass_on.stderr),
            });
            let told = async {
                write(stdout(), format!("{object:#}\n").as_bytes()).await;
                Ok(())
            };
            until_signal(shutdown, told).await?;
        }
        Ok(exit)
    })
    .await
}

/// Passes on the output of a command until it ends; a signal ends it in the sandbox first.
pub(super) async fn follow(
    server: &Server,
    command: &Command,
    shutdown: &mut Shutdown,
    pass_on: &mut PassOn,
) -> Result<ExitCode, Failure> {
    let mut running = exec::start(server, command).await.map_err(|error| not_executed(&error))?;
    let followed: Result<_, Signal> = tokio::select! {
        exit = running.follow(async |output| pass_on.take(output).await) => Ok(exit),
        signal = shutdown.requested() => Err(signal),
    };
    match followed {
        Ok(exit) => Ok(exit_code(exit.map_err(|error| not_executed(&error))?)),
        Err(signal) => {
            if let Err(error) = running.terminate().await {
                tracing::warn!(error = %crate::display::chain(&error), "the command may go on in the sandbox");
            }
            Err(ended_by(signal))
        }
    }
}

/// The command's exit code is ours.
pub(super) fn exit_code(exit: Exit) -> ExitCode {
    match exit {
        Exit::Code(code) => ExitCode(code),
        Exit::TimedOut => {
            tracing::error!("the command reached its time limit");
            ExitCode::TIMEOUT
        }
    }
}

/// Where the output of a command goes.
pub(super) struct PassOn {
    pub(super) format: Format,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl PassOn {
    /// Waits for a slow reader as long as that takes: what comes meanwhile is kept in the sandbox.
    pub(super) async fn take(&mut self, output: Output) {
        match (self.format, output) {
            (Format::Text, Output::Stdout(bytes)) => write(stdout(), &bytes).await,
            (Format::Text, Output::Stderr(bytes)) => write(stderr(), &bytes).await,
            (Format::Json, Output::Stdout(bytes)) => self.stdout.extend_from_slice(&bytes),
            (Format::Json, Output::Stderr(bytes)) => self.stderr.extend_from_slice(&bytes),
        }
    }
}

async fn write(mut to: impl AsyncWrite + Unpin, bytes: &[u8]) {
    // Output that nobody reads any more ends no command.
    if to.write_all(bytes).await.is_ok() {
        let _ = to.flush().await;
    }
}
