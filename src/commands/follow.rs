//! A command in a sandbox, from its start to its end or to the signal that ends it.

use tokio::io::{AsyncWrite, AsyncWriteExt as _, stderr, stdout};
use tokio::time::timeout;

use crate::cli::Format;
use crate::conversation::Server;
use crate::display;
use crate::outcome::{ExitCode, Failure};
use crate::runner::failures::{ended_by, not_executed};
use crate::sandbox::exec::{self, Command, Exit, Output, Running, Started};
use crate::shutdown::Shutdown;
use crate::timing;

/// Passes on the output of a command until it ends. A signal ends it in the sandbox first, in bounded time; a second one cuts that
/// short.
pub(super) async fn follow(
    server: &Server,
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
        Ok(exit) => exit.map(exit_code).map_err(|error| not_executed(&error)),
        Err(signal) => {
            terminate(running, shutdown).await;
            Err(ended_by(signal))
        }
    }
}

/// Starts a command. A signal undoes that, in bounded time; a second one cuts that short.
pub(super) async fn start<'s>(
    server: &'s Server,
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
            Err(ended_by(signal))
        }
        Err(error) => Err(not_executed(&error)),
    }
}

async fn terminate(running: Running<'_>, shutdown: &mut Shutdown) {
    let folder = running.folder().to_owned();
    let ended = tokio::select! {
        ended = timeout(timing::TIDY_UP, running.terminate()) => ended,
        _ = shutdown.requested() => {
            return tracing::warn!(folder, "the command may go on in the sandbox");
        }
    };
    let error = match ended {
        Ok(Ok(())) => return,
        Ok(Err(error)) => display::chain(&error),
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
    pub(super) format: Format,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl PassOn {
    pub(super) fn new(format: Format) -> Self {
        Self { format, stdout: Vec::new(), stderr: Vec::new() }
    }

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

pub(super) async fn write(mut to: impl AsyncWrite + Unpin, bytes: &[u8]) {
    // Output that nobody reads any more ends no command.
    if to.write_all(bytes).await.is_ok() {
        let _ = to.flush().await;
    }
}
