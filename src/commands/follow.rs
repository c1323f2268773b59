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

/// How following a command ended.
pub(super) struct Followed {
    pub(super) ended: Result<ExitCode, Failure>,
    /// Whether the sandbox did what it was asked last.
    pub(super) in_touch: bool,
}

/// Passes on the output of a command until it ends. A signal ends it in the sandbox first, in bounded time; a second one cuts that
/// short.
pub(super) async fn follow(
    server: &Server,
    command: &Command,
    shutdown: &mut Shutdown,
    begun: impl FnOnce(),
    each: impl AsyncFnMut(Output),
) -> Followed {
    let mut running = match start(server, command, shutdown).await {
        Ok(running) => running,
        Err(not_started) => return not_started,
    };
    begun();
    let followed = tokio::select! {
        exit = running.follow(each) => Ok(exit),
        signal = shutdown.requested() => Err(signal),
    };
    match followed {
        Ok(exit) => Followed { ended: exit.map(exit_code).map_err(|error| not_executed(&error)), in_touch: true },
        Err(signal) => Followed { ended: Err(ended_by(signal)), in_touch: terminate(running, shutdown).await },
    }
}

/// Starts a command. A signal undoes that, in bounded time; a second one cuts that short.
pub(super) async fn start<'s>(
    server: &'s Server,
    command: &Command,
    shutdown: &mut Shutdown,
) -> Result<Running<'s>, Followed> {
    match exec::start_unless(server, command, shutdown.requested()).await {
        Ok(Started::Running(running)) => Ok(running),
        Ok(Started::Stopped(signal, mut prepared)) => {
            let in_touch = tokio::select! {
                undone = prepared.undo() => undone,
                _ = shutdown.requested() => false,
            };
            prepared.handed_over();
            Err(Followed { ended: Err(ended_by(signal)), in_touch })
        }
        Err(error) => Err(Followed { ended: Err(not_executed(&error)), in_touch: true }),
    }
}

/// Whether the command has ended.
async fn terminate(running: Running<'_>, shutdown: &mut Shutdown) -> bool {
    let ended = tokio::select! {
        ended = timeout(timing::TIDY_UP, running.terminate()) => ended,
        _ = shutdown.requested() => return false,
    };
    let error = match ended {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => display::chain(&error),
        Err(_) => "no answer in time".to_owned(),
    };
    tracing::warn!(error, "the command may go on in the sandbox");
    false
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
