//! A command in a sandbox, from its start to its end or to the signal that ends it.

use std::time::Duration;

use openhands_client::agent_server::AgentServer;
use openhands_client::sandbox::exec::{self, Command, Exit, Output, Running, Started};
use openhands_client::text;
use tokio::io::{AsyncWrite, AsyncWriteExt as _, stderr, stdout};
use tokio::time::timeout;

use crate::cli::ResultFormat;
use crate::outcome::{ExitCode, Failure};
use crate::process::signals::Shutdown;

/// Passes on the output of a command until it ends. A signal ends it in the sandbox first, in bounded time; a second one cuts that
/// short.
pub(super) async fn follow(
    server: &AgentServer,
    command: &Command,
    shutdown: &mut Shutdown,
    begun: impl FnOnce(),
    each: impl AsyncFnMut(Output),
) -> Result<ExitCode, Failure> {
    let mut running = start(server, command, shutdown).await?;
    begun();
    let followed = tokio::select! {
        exit = running.follow(each) => Ok(exit),
        signal = shutdown.requested() => Err(signal),
    };
    match followed {
        Ok(exit) => exit.map(exit_code).map_err(Failure::from),
        Err(signal) => {
            terminate(running, server.client.time_limits().tidy_up, shutdown).await;
            Err(Failure::from(signal))
        }
    }
}

/// Starts a command. A signal undoes that, in bounded time; a second one cuts that short.
pub(super) async fn start<'s>(
    server: &'s AgentServer,
    command: &Command,
    shutdown: &mut Shutdown,
) -> Result<Running<'s>, Failure> {
    match exec::start_unless(server, command, shutdown.requested()).await {
        Ok(Started::Running(running)) => Ok(running),
        Ok(Started::Stopped(signal, mut prepared)) => {
            tokio::select! {
                () = prepared.undo() => {}
                _ = shutdown.requested() => prepared.left(),
            }
            Err(Failure::from(signal))
        }
        Err(error) => Err(Failure::from(error)),
    }
}

async fn terminate(running: Running<'_>, limit: Duration, shutdown: &mut Shutdown) {
    let folder = running.folder().to_owned();
    let ended = tokio::select! {
        ended = timeout(limit, running.terminate()) => ended,
        _ = shutdown.requested() => {
            return tracing::warn!(folder, "the command may go on in the sandbox");
        }
    };
    let error = match ended {
        Ok(Ok(())) => return,
        Ok(Err(error)) => text::chain(&error),
        Err(_) => "no answer in time".to_owned(),
    };
    tracing::warn!(error, folder, "the command may go on in the sandbox");
}

/// The command's exit code is ours.
fn exit_code(exit: Exit) -> ExitCode {
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
    pub(super) format: ResultFormat,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl PassOn {
    pub(super) fn new(format: ResultFormat) -> Self {
        Self { format, stdout: Vec::new(), stderr: Vec::new() }
    }

    /// Waits for a slow reader as long as that takes: what comes meanwhile is kept in the sandbox.
    pub(super) async fn take(&mut self, output: Output) {
        match (self.format, output) {
            (ResultFormat::Text, Output::Stdout(bytes)) => write(stdout(), &bytes).await,
            (ResultFormat::Text, Output::Stderr(bytes)) => write(stderr(), &bytes).await,
            (ResultFormat::Json, Output::Stdout(bytes)) => self.stdout.extend_from_slice(&bytes),
            (ResultFormat::Json, Output::Stderr(bytes)) => self.stderr.extend_from_slice(&bytes),
        }
    }
}

pub(super) async fn write(mut to: impl AsyncWrite + Unpin, bytes: &[u8]) {
    // Output that nobody reads any more ends no command.
    if to.write_all(bytes).await.is_ok() {
        let _ = to.flush().await;
    }
}
