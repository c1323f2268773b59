//! Shell commands in a sandbox: streamed output, exit code, time limit, working directory, environment.
//!
//! The agent-server returns a command's output only at its end or in steps of 1 MiB, and as text. So the command writes its
//! output to files in the sandbox, and each reading continues where the previous one ended; this also keeps the exact bytes. A
//! small script contains the environment. Only its owner can read it, and it is removed before the command begins, so the
//! environment appears in no command line and in no event.

mod command;
mod executed;

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::time::{Instant, sleep};

use super::command_cleanup::end;
use super::shell::{housekeeping, with_argument};
use crate::agent_server::{AgentServer, CONTAINER_WORKSPACE};
use crate::http::{HttpError, Upload};
use crate::retry::{Policy, retry};

pub use super::command_cleanup::Prepared;
pub use super::shell::ExecError;
pub use command::Command;
pub use executed::{Executed, Exit, Output};

/// The script that becomes the command with the folder `$1`.
const START: &str = include_str!("../scripts/start_command.sh");
/// The time limit of commands without one.
const NO_LIMIT: Duration = Duration::from_secs(30 * 24 * 3600);
/// The maximum number of bytes of output to read at once.
const PIECE: u64 = 4 * 1024 * 1024;
/// The longest time between two checks of a running command.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// A running command. Dropping this value does not end the command; [`Running::terminate`] does.
#[derive(Debug)]
pub struct Running<'s> {
    server: &'s AgentServer,
    id: String,
    folder: String,
    read: [u64; 2],
    is_limited: bool,
}

/// Starts a command.
///
/// # Errors
/// [`ExecError`].
pub async fn start<'s>(server: &'s AgentServer, command: &Command) -> Result<Running<'s>, ExecError> {
    match start_unless(server, command, std::future::pending::<Infallible>()).await? {
        Started::Running(running) => Ok(running),
        Started::Stopped(never, _) => match never {},
    }
}

/// Whether a command was started.
#[derive(Debug)]
pub enum Started<'s, S> {
    /// The command is running.
    Running(Running<'s>),
    /// `stop` came first. What exists of the command has to be undone.
    Stopped(S, Prepared<'s>),
}

/// Starts a command, unless `stop` completes first. The standard input of the command is empty.
///
/// # Errors
/// [`ExecError`].
pub async fn start_unless<'s, S>(
    server: &'s AgentServer,
    command: &Command,
    stop: impl Future<Output = S>,
) -> Result<Started<'s, S>, ExecError> {
    start_with(server, command, None, stop).await
}

/// Starts a command with this standard input, unless `stop` completes first. The input is stored in the sandbox while it arrives;
/// the command starts when the input has ended. Only the sandbox's disk limits its size.
///
/// # Errors
/// [`ExecError`].
pub async fn start_with_stdin_unless<'s, S>(
    server: &'s AgentServer,
    command: &Command,
    stdin: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    stop: impl Future<Output = S>,
) -> Result<Started<'s, S>, ExecError> {
    start_with(server, command, Some(Upload::new(None, stdin)), stop).await
}

/// Starts a command with this folder ([`new_folder`]). **The caller must end it** with [`end_in`], even if this fails or is
/// dropped.
///
/// # Errors
/// [`ExecError`].
pub async fn start_in<'s>(server: &'s AgentServer, command: &Command, folder: &str) -> Result<Running<'s>, ExecError> {
    command.check()?;
    let id = begin(server, command, None, folder).await?;
    Ok(Running::new(server, id, folder.to_owned(), command))
}

/// Finds the command that was started in this folder ([`new_folder`]), if it is among the last ones that the agent-server lists.
///
/// # Errors
/// [`ExecError`].
pub async fn find_in<'s>(server: &'s AgentServer, folder: &str) -> Result<Option<Running<'s>>, ExecError> {
    let commands =
        retry("looking for the command", Policy::setup(server.client.time_limits()), || server.client.bash_commands());
    let commands = commands.await.map_err(ExecError::request("looking for the command"))?;
    let ours = commands.items.into_iter().find(|command| {
        // The folder is the argument of the script that starts the command.
        command.command.as_deref().is_some_and(|line| line.starts_with(&with_argument("", folder)))
    });
    Ok(ours.map(|command| Running::started(server, command.id, folder.to_owned())))
}

/// Ends the command with this folder and everything it has started, if it was started at all, and removes the folder.
///
/// # Errors
/// [`ExecError`].
pub async fn end_in(server: &AgentServer, folder: &str) -> Result<(), ExecError> {
    housekeeping(server, "ending the command", &end(folder)).await
}

async fn start_with<'s, S>(
    server: &'s AgentServer,
    command: &Command,
    stdin: Option<Upload>,
    stop: impl Future<Output = S>,
) -> Result<Started<'s, S>, ExecError> {
    command.check()?;
    let folder = new_folder_on(server);
    let mut prepared = Prepared::new(server, &folder);
    let begun = async {
        let begun = begin(server, command, stdin, &folder).await;
        if begun.is_err() {
            prepared.undo().await;
        }
        begun
    };
    let begun = tokio::select! {
        begun = begun => begun,
        stopped = stop => return Ok(Started::Stopped(stopped, prepared)),
    };
    let id = begun?;
    prepared.handed_over();
    Ok(Started::Running(Running::new(server, id, folder, command)))
}

async fn begin(
    server: &AgentServer,
    command: &Command,
    stdin: Option<Upload>,
    folder: &str,
) -> Result<String, ExecError> {
    let script = format!("{folder}/script");
    let input = if stdin.is_some() { " && : >stdin" } else { "" };
    // In the agent's workspace, the folder must not count as the agent's work.
    let ignored = if server.client.is_in_container() { " && echo '*' >.gitignore" } else { "" };
    // The files are created before anything is written to them, and only their owner may read them.
    let prepare =
        format!("umask 077 && mkdir {folder} && cd {folder} && : >script && : >stdout && : >stderr{input}{ignored}");
    housekeeping(server, "preparing the command", &prepare).await?;
    if let Some(stdin) = stdin {
        // No retry: what was read from a stream cannot be sent a second time.
        let sent = server.client.upload(&format!("{folder}/stdin"), stdin, server.capabilities).await;
        sent.map_err(ExecError::request("sending standard input"))?;
    }
    put(server, &script, command.script()).await?;
    let line = with_argument(START, folder);
    let limit = command.limit.unwrap_or(NO_LIMIT);
    server.client.start_command(&line, limit).await.map_err(ExecError::request("starting the command"))
}

/// Returns a new folder for one command. Its name does not contain ours, because a runner in the sandbox finds its own command by
/// that name.
#[must_use]
pub fn new_folder() -> String {
    format!("/tmp/sandbox-command-{}", uuid::Uuid::new_v4().simple())
}

/// Returns a new folder on this server. In a container, only files in the agent's workspace can be read.
#[must_use]
pub fn new_folder_on(server: &AgentServer) -> String {
    let folder = new_folder();
    if server.client.is_in_container() {
        folder.replacen("/tmp/", &format!("{CONTAINER_WORKSPACE}/."), 1)
    } else {
        folder
    }
}

/// Runs a command to its end, and collects its output.
///
/// # Errors
/// [`ExecError`].
pub async fn execute(server: &AgentServer, command: &Command) -> Result<Executed, ExecError> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let exit = start(server, command)
        .await?
        .follow(async |output| match output {
            Output::Stdout(bytes) => stdout.extend_from_slice(&bytes),
            Output::Stderr(bytes) => stderr.extend_from_slice(&bytes),
        })
        .await?;
    Ok(Executed { exit, stdout, stderr })
}

impl<'s> Running<'s> {
    fn new(server: &'s AgentServer, id: String, folder: String, command: &Command) -> Self {
        Self { server, id, folder, read: [0; 2], is_limited: command.limit.is_some() }
    }

    /// Returns a command without a time limit that was started earlier, by its id and its folder.
    #[doc(hidden)]
    #[must_use]
    pub fn started(server: &'s AgentServer, id: String, folder: String) -> Self {
        Self { server, id, folder, read: [0; 2], is_limited: false }
    }

    /// Returns the agent-server's id of the command.
    #[doc(hidden)]
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Checks once, with one request, whether the command has ended. Does not read its output.
    ///
    /// # Errors
    /// [`ExecError`]; the command may continue.
    #[doc(hidden)]
    pub async fn exit(&self) -> Result<Option<u8>, ExecError> {
        let code = self.server.client.bash_exit_code(&self.id).await;
        let code = code.map_err(ExecError::request("looking at the command"))?;
        Ok(code.map(|code| u8::try_from(code).unwrap_or_else(|_| by_signal(code))))
    }

    /// Passes on the output as it arrives, and returns how the command ended. Cancel safe, except for output that was just being
    /// passed on.
    ///
    /// # Errors
    /// [`ExecError`]; the command may still be running.
    pub async fn follow(&mut self, mut each: impl AsyncFnMut(Output)) -> Result<Exit, ExecError> {
        let mut pause = SHORTEST_PAUSE;
        let started = Instant::now();
        loop {
            // The exit code is read before the output, so that all output from before the end is available.
            let ended = self.exit_code().await?;
            let news = self.pass_on(&mut each).await?;
            if let Some(code) = ended {
                // For a command without a limit, this is the exit code of SIGHUP.
                let timed_out = self.is_limited && code == TIMED_OUT;
                self.tidy_up(timed_out).await;
                let code = || Exit::Code(u8::try_from(code).unwrap_or_else(|_| by_signal(code)));
                return Ok(if timed_out { Exit::TimedOut } else { code() });
            }
            pause = if news { SHORTEST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            // A new command usually ends soon.
            let young = started.elapsed() < LONGEST_PAUSE;
            sleep(if young { pause.min(SHORTEST_PAUSE * 2) } else { pause }).await;
        }
    }

    /// Returns the folder with the output (`stdout`, `stderr`). It is removed when the command has been followed to its end.
    #[must_use]
    pub fn folder(&self) -> &str {
        &self.folder
    }

    async fn exit_code(&self) -> Result<Option<i64>, ExecError> {
        let client = &self.server.client;
        retry("reading the state of the command", Policy::setup(self.server.client.time_limits()), || {
            client.bash_exit_code(&self.id)
        })
        .await
        .map_err(ExecError::request("reading the state of the command"))
    }

    /// Passes on all new output, and returns whether there was any.
    async fn pass_on(&mut self, each: &mut impl AsyncFnMut(Output)) -> Result<bool, ExecError> {
        let mut news = false;
        for (stream, name) in ["stdout", "stderr"].into_iter().enumerate() {
            while let Some(bytes) = self.piece(stream, name).await? {
                self.read[stream] += bytes.len() as u64;
                news = true;
                each(if stream == 0 { Output::Stdout(bytes) } else { Output::Stderr(bytes) }).await;
            }
        }
        Ok(news)
    }

    async fn piece(&self, stream: usize, name: &str) -> Result<Option<Bytes>, ExecError> {
        let AgentServer { client, capabilities } = self.server;
        let path = format!("{}/{name}", self.folder);
        let read = async || -> Result<Option<Bytes>, HttpError> {
            let Some(mut download) = client.read_from(&path, self.read[stream], PIECE, *capabilities).await? else {
                return Ok(None);
            };
            // A server may respond with more than the requested range; the rest is not read.
            let longest = usize::try_from(PIECE).unwrap_or(usize::MAX);
            let mut bytes = Vec::new();
            while bytes.len() < longest
                && let Some(piece) = download.piece().await?
            {
                bytes.extend_from_slice(&piece[..piece.len().min(longest - bytes.len())]);
            }
            Ok(Some(bytes.into()).filter(|bytes: &Bytes| !bytes.is_empty()))
        };
        retry("reading the command's output", Policy::setup(self.server.client.time_limits()), read)
            .await
            .map_err(ExecError::request("reading the command's output"))
    }

    /// Ends the command and everything it has started.
    ///
    /// # Errors
    /// [`ExecError`].
    pub async fn terminate(self) -> Result<(), ExecError> {
        end_in(self.server, &self.folder).await
    }

    /// Cleans up: when a command reaches its time limit, older agent-servers end only its first process.
    async fn tidy_up(&self, timed_out: bool) {
        let line = if timed_out { end(&self.folder) } else { format!("rm -rf {}", self.folder) };
        if let Err(error) = housekeeping(self.server, "tidying up", &line).await {
            tracing::debug!(error = %crate::text::chain(&error), folder = self.folder, "left behind in the sandbox");
        }
    }
}

/// The exit code that the server returns for a command that it ended at the time limit.
const TIMED_OUT: i64 = -1;

/// Converts the negative code of a signal, as Python has it, into the code of a shell: 128 plus the signal.
fn by_signal(code: i64) -> u8 {
    u8::try_from(128 - code).unwrap_or(u8::MAX)
}

/// Writes a small file.
///
/// # Errors
/// [`ExecError`].
pub async fn put(server: &AgentServer, path: &str, content: impl Into<Bytes>) -> Result<(), ExecError> {
    let AgentServer { client, capabilities } = server;
    let content: Bytes = content.into();
    let write = async || {
        let piece = content.clone();
        let upload = Upload::new(Some(piece.len() as u64), stream::once(async { Ok(piece) }));
        client.upload(path, upload, *capabilities).await
    };
    retry("writing a file", Policy::setup(client.time_limits()), write)
        .await
        .map_err(ExecError::request("writing a file"))
}
