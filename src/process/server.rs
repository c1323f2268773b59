//! An agent-server that the runner starts itself, and ends afterwards.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openhands_client::secret::Secret;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::input::env;

/// The agent-server could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The command line cannot be split into words.
    #[error("the server command cannot be understood")]
    Words(#[source] shell_words::ParseError),
    /// There is no word in it.
    #[error("the server command is empty")]
    Empty,
    /// The log file cannot be written.
    #[error("the server's log file cannot be written")]
    Log(#[source] io::Error),
    /// The program cannot be started.
    #[error("the server command `{program}` cannot be started")]
    Spawn {
        /// Its first word.
        program: String,
        /// Why.
        source: io::Error,
    },
}

/// Lines of output that are kept to explain a death.
const KEPT_LINES: usize = 20;
/// Bytes of one line of output.
const LONGEST_LINE: u64 = 64 * 1024;

/// A child process that serves. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: Child,
    group: Option<rustix::process::Pid>,
    last_lines: Arc<Mutex<VecDeque<String>>>,
    output: JoinSet<()>,
    /// How long the last output of a dead server is waited for.
    patience: Duration,
}

impl ServerProcess {
    /// Starts `command`, split into words as a shell would, in a process group of its own. It gets our environment without
    /// our keys and the user parts of our addresses, and this session key. Its output goes to `log`, else to our log at level `debug`; after
    /// its end that is waited for as long as `patience`.
    ///
    /// # Errors
    /// [`StartError`].
    pub(crate) fn start(
        command: &str,
        session_key: &Secret,
        log: Option<&Path>,
        patience: Duration,
    ) -> Result<Self, StartError> {
        let words = shell_words::split(command).map_err(StartError::Words)?;
        let (program, arguments) = words.split_first().ok_or(StartError::Empty)?;
        let mut command = Command::new(program);
        for (name, rest) in env::withheld() {
            match rest {
                Some(rest) => {
                    let variable = name.to_string_lossy();
                    tracing::warn!(%variable, "the agent-server gets the address without its user part and query");
                    command.env(&name, rest);
                }
                None => {
                    command.env_remove(&name);
                }
            }
        }
        command.args(arguments).env("OH_SESSION_API_KEYS_0", session_key.expose()).stdin(Stdio::null());
        command.process_group(0).kill_on_drop(true);
        match log {
            Some(path) => {
                let file = File::options().create(true).append(true).open(path).map_err(StartError::Log)?;
                command.stdout(file.try_clone().map_err(StartError::Log)?).stderr(file);
            }
            None => {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
            }
        }
        let mut child = command.spawn().map_err(|source| StartError::Spawn { program: program.clone(), source })?;
        let last_lines = Arc::default();
        let mut output = JoinSet::new();
        if let Some(pipe) = child.stdout.take() {
            output.spawn(pass_on(pipe, Arc::clone(&last_lines)));
        }
        if let Some(pipe) = child.stderr.take() {
            output.spawn(pass_on(pipe, Arc::clone(&last_lines)));
        }
        let group = child.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Self { child, group, last_lines, output, patience })
    }

    /// Its process group.
    #[must_use]
    pub(crate) fn group(&self) -> Option<u32> {
        self.group.and_then(|group| u32::try_from(group.as_raw_nonzero().get()).ok())
    }

    /// Waits until it ends by itself; then how, with the last lines of its output. Cancel safe.
    pub(crate) async fn ended(&mut self) -> String {
        let how = match self.child.wait().await {
            Ok(status) => describe(status),
            Err(error) => format!("ended ({error})"),
        };
        // What it said last is still on its way; a child of its own may hold the pipe open.
        let _ = timeout(self.patience, async { while self.output.join_next().await.is_some() {} }).await;
        let lines = self.last_lines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = format!("the agent-server {how}");
        for line in lines.iter() {
            text.push('\n');
            text.push_str(line);
        }
        text
    }

    /// Ends it and everything that it started: first with SIGTERM, after `patience` with SIGKILL.
    pub(crate) async fn stop(mut self, budgets: Duration) {
        self.signal(rustix::process::Signal::TERM);
        if timeout(budgets, self.child.wait()).await.is_err() {
            tracing::warn!("the agent-server does not end by itself; killing it");
        }
        self.signal(rustix::process::Signal::KILL);
        // What is killed can be waited for.
        let _ = self.child.wait().await;
    }

    fn signal(&self, signal: rustix::process::Signal) {
        if let Some(group) = self.group {
            // No one is left in the group: then all is done.
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

async fn pass_on(pipe: impl AsyncRead + Unpin, last_lines: Arc<Mutex<VecDeque<String>>>) {
    let mut pipe = BufReader::new(pipe);
    let mut bytes = Vec::new();
    // To the end, whatever comes: a server whose output no one reads would be held up, or die of it.
    while (&mut pipe).take(LONGEST_LINE).read_until(b'\n', &mut bytes).await.is_ok_and(|count| count > 0) {
        let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        bytes.clear();
        tracing::debug!(target: "openhands_runner::server_output", "{line}");
        let mut last_lines = last_lines.lock().unwrap_or_else(PoisonError::into_inner);
        if last_lines.len() == KEPT_LINES {
            last_lines.pop_front();
        }
        last_lines.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn odd_lines_are_read_like_all_others() {
        let mut output = b"first\n\xff\xfe odd\n".to_vec();
        output.extend(vec![b'x'; 3 * 64 * 1024]);
        output.extend(b"\r\nlast");
        let last_lines = Arc::default();
        pass_on(output.as_slice(), Arc::clone(&last_lines)).await;
        let lines = last_lines.lock().unwrap().clone();
        assert_eq!((lines[0].as_str(), lines[1].as_str()), ("first", "\u{fffd}\u{fffd} odd"));
        assert_eq!((lines[2].len(), lines.back().unwrap().as_str()), (64 * 1024, "last"));
    }
}
