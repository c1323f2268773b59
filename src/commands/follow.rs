//! Follows a command in a sandbox from its start to its end, or to the signal that ends it.

use std::io::{self, Read as _};

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use openhands_client::agent_server::AgentServer;
use openhands_client::sandbox::exec::{self, Command, ExecError, Exit, Output, Running, Started};
use openhands_client::text;
use tokio::io::{AsyncWrite, AsyncWriteExt as _, stderr, stdout};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::watch::Watch;
use crate::cli::ResultFormat;
use crate::outcome::{ExitCode, Failure};
use crate::process::signals::{Shutdown, Signal};

/// Passes on the output of a command until it ends. A signal first ends the command in the sandbox, within a time limit; a second
/// signal cuts that short.
pub(super) async fn follow(
    server: &AgentServer,
    command: &Command,
    shutdown: &mut Shutdown,
    begun: impl FnOnce(),
    each: impl AsyncFnMut(Output),
) -> Result<ExitCode, Failure> {
    let running = start(server, command, shutdown).await?;
    begun();
    follow_running(running, server.client.time_limits().tidy_up, shutdown, each).await
}

/// Does the same for a running command.
pub(super) async fn follow_running(
    mut running: Running<'_>,
    tidy_up: Duration,
    shutdown: &mut Shutdown,
    each: impl AsyncFnMut(Output),
) -> Result<ExitCode, Failure> {
    let followed = tokio::select! {
        exit = running.follow(each) => Ok(exit),
        signal = shutdown.requested() => Err(signal),
    };
    match followed {
        Ok(exit) => exit.map(exit_code).map_err(Failure::from),
        Err(signal) => {
            terminate(running, tidy_up, shutdown).await;
            Err(Failure::from(signal))
        }
    }
}

/// Starts a command. A signal undoes that, within a time limit; a second signal cuts that short.
pub(super) async fn start<'s>(
    server: &'s AgentServer,
    command: &Command,
    shutdown: &mut Shutdown,
) -> Result<Running<'s>, Failure> {
    let started = exec::start_unless(server, command, shutdown.requested()).await;
    started_or_undone(started, shutdown).await
}

/// Does the same with the standard input of this process. The command starts when the input has ended.
pub(super) async fn start_with_stdin<'s>(
    server: &'s AgentServer,
    command: &Command,
    shutdown: &mut Shutdown,
) -> Result<Running<'s>, Failure> {
    let started = exec::start_with_stdin_unless(server, command, standard_input(), shutdown.requested()).await;
    started_or_undone(started, shutdown).await
}

async fn started_or_undone<'s>(
    started: Result<Started<'s, Signal>, ExecError>,
    shutdown: &mut Shutdown,
) -> Result<Running<'s>, Failure> {
    match started {
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

/// The maximum number of pieces of standard input that wait for the connection.
const WAITING_PIECES: usize = 4;
/// The size of a piece, in bytes.
const PIECE: usize = 256 * 1024;

/// Returns the standard input of this process, read by a thread that does not delay the exit.
fn standard_input() -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (pieces, waiting) = mpsc::channel(WAITING_PIECES);
    let reader = std::thread::Builder::new().name("standard-input".to_owned()).spawn({
        let pieces = pieces.clone();
        move || {
            let mut buffer = vec![0; PIECE];
            loop {
                let piece = match io::stdin().lock().read(&mut buffer) {
                    Ok(0) => return,
                    Ok(length) => Ok(Bytes::copy_from_slice(&buffer[..length])),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let is_over = piece.is_err();
                if pieces.blocking_send(piece).is_err() || is_over {
                    return;
                }
            }
        }
    });
    if let Err(error) = reader {
        // There is room, because nothing has been sent yet.
        let _ = pieces.try_send(Err(error));
    }
    stream::unfold(waiting, async |mut waiting| waiting.recv().await.map(|piece| (piece, waiting)))
}

async fn terminate(running: Running<'_>, limit: Duration, shutdown: &mut Shutdown) {
    let folder = running.folder().to_owned();
    let ended = tokio::select! {
        ended = timeout(limit, running.terminate()) => ended,
        _ = shutdown.requested() => {
            return tracing::warn!(folder, "the command may still run in the sandbox");
        }
    };
    let error = match ended {
        Ok(Ok(())) => return,
        Ok(Err(error)) => text::chain(&error),
        Err(_) => format!("no response within {} s", limit.as_secs()),
    };
    tracing::warn!(error, folder, "the command may still run in the sandbox");
}

/// Returns the command's exit code as that of this process.
fn exit_code(exit: Exit) -> ExitCode {
    match exit {
        Exit::Code(code) => ExitCode(code),
        Exit::TimedOut => {
            tracing::error!("the command reached its time limit");
            ExitCode::TIMEOUT
        }
    }
}

/// Where the output of a command is written.
pub(super) struct PassOn {
    format: ResultFormat,
    watch: Watch,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl PassOn {
    pub(super) fn new(format: ResultFormat, watch: Watch) -> Self {
        Self { format, watch, stdout: Vec::new(), stderr: Vec::new() }
    }

    /// Writes output, and waits for a slow reader as long as necessary: further output is kept in the sandbox.
    pub(super) async fn take(&mut self, output: Output) {
        match (self.format, output) {
            (ResultFormat::Text, Output::Stdout(bytes)) => self.watch.aside(&bytes, write(stdout(), &bytes)).await,
            (ResultFormat::Text, Output::Stderr(bytes)) => self.watch.aside(&bytes, write(stderr(), &bytes)).await,
            (ResultFormat::Json, Output::Stdout(bytes)) => self.stdout.extend_from_slice(&bytes),
            (ResultFormat::Json, Output::Stderr(bytes)) => self.stderr.extend_from_slice(&bytes),
        }
    }
}

pub(super) async fn write(mut to: impl AsyncWrite + Unpin, bytes: &[u8]) {
    // A closed output does not end the command.
    if to.write_all(bytes).await.is_ok() {
        let _ = to.flush().await;
    }
}
