//! The messages between PID 1 and the program that it runs. A run may have several lives: PID 1 starts a program that was
//! killed again.
//!
//! The keys of the run, and addresses with a user part, go from life to life over a socket. They never stand in the environment of the program, where any
//! process of the same user could read them before the program has hidden itself. Each side checks the process id of the
//! other, which the kernel vouches for:
//!
//! ```text
//! PID 1                                    program
//!   │ starts it, with the socket's name       │
//!   │ ──────────────────────────────────────► │ hides itself
//!   │        connects: is this my child?      │ connects: is this PID 1?
//!   │ ◄────────────────────────────────────── │
//!   │ Inheritance: keys, time, server's key   │
//!   │ ──────────────────────────────────────► │ runs
//!   │ News: its guardian; outcome is known    │
//!   │ ◄────────────────────────────────────── │
//! ```

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use nix::unistd::{Pid, getppid};
use openhands_client::secret::Secret;
use rustix::net::sockopt::socket_peercred;
use serde::{Deserialize, Serialize};

use crate::input::env::RawEnv;

/// The variable that names the socket.
pub(super) const NAME: &str = "OPENHANDS_RUNNER_LIFE";

/// PID 1 answers at once; its child waits no longer for it.
const INHERITANCE: Duration = Duration::from_secs(5);

/// From PID 1 to a life, once.
#[derive(Serialize, Deserialize)]
struct Inheritance {
    elapsed: Duration,
    server_key: String,
    /// Names and values. A value need not be text.
    variables: Vec<(String, Vec<u8>)>,
}

/// From a life to PID 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum News {
    /// The run has this guardian, which works on for at most so long after the program.
    Guardian(i32, Duration),
    /// From now on another life would only do harm.
    OutcomeIsKnown,
}

fn address(name: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("openhands-runner/life/{name}"))
}

/// The process at the other end of a connection.
fn peer(stream: &UnixStream) -> Option<Pid> {
    let peer = socket_peercred(stream).ok()?;
    (peer.uid == rustix::process::geteuid()).then(|| Pid::from_raw(peer.pid.as_raw_nonzero().get()))
}

/// PID 1's side.
pub(super) struct Lives {
    /// Random. It is not a secret.
    pub(super) name: String,
    listener: UnixListener,
    line: Option<UnixStream>,
    unread: Vec<u8>,
    server_key: String,
    variables: Vec<(String, Vec<u8>)>,
}

impl Lives {
    /// A place where lives get these variables.
    pub(super) fn new(variables: Vec<(OsString, OsString)>) -> io::Result<Self> {
        let name = uuid::Uuid::new_v4().to_string();
        let listener = UnixListener::bind_addr(&address(&name)?)?;
        listener.set_nonblocking(true)?;
        let text = |(name, value): (OsString, OsString)| (name.to_string_lossy().into_owned(), value.into_vec());
        Ok(Self {
            name,
            listener,
            line: None,
            unread: Vec::new(),
            // The key of an agent-server of the run's own: that encrypts with it what the next one reads.
            server_key: uuid::Uuid::new_v4().to_string(),
            variables: variables.into_iter().map(text).collect(),
        })
    }

    /// What becomes readable when there is something to do.
    pub(super) fn sources(&self) -> impl Iterator<Item = std::os::fd::BorrowedFd<'_>> {
        use std::os::fd::AsFd as _;
        std::iter::once(self.listener.as_fd()).chain(self.line.as_ref().map(|line| line.as_fd()))
    }

    /// Gives what there is to a child that asks for it. No one else gets anything.
    pub(super) fn admit(&mut self, child: Pid, elapsed: Duration) {
        while let Ok((stream, _)) = self.listener.accept() {
            if peer(&stream) != Some(child) {
                continue;
            }
            let inheritance =
                Inheritance { elapsed, server_key: self.server_key.clone(), variables: self.variables.clone() };
            let Ok(mut text) = serde_json::to_vec(&inheritance) else { continue };
            text.push(b'\n');
            let given = stream
                .set_nonblocking(false)
                .and_then(|()| stream.set_write_timeout(Some(INHERITANCE)))
                .and_then(|()| (&stream).write_all(&text))
                .and_then(|()| stream.set_nonblocking(true));
            if given.is_ok() {
                self.unread.clear();
                self.line = Some(stream);
            }
        }
    }

    /// What the life has said since the last call.
    pub(super) fn news(&mut self) -> Vec<News> {
        let Some(line) = &mut self.line else { return Vec::new() };
        let mut bytes = [0; 1024];
        loop {
            match line.read(&mut bytes) {
                Ok(0) => {
                    self.line = None;
                    break;
                }
                Ok(count) => self.unread.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.line = None;
                    break;
                }
            }
        }
        let complete = self.unread.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = self.unread.drain(..complete).collect();
        lines.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}

/// What a life has of those before it, and its line to PID 1.
#[derive(Debug)]
pub(crate) struct RestartState {
    /// How long ago the first life began, 0 in the first one itself: limits of the run count from there.
    pub(crate) elapsed: Duration,
    /// The session key of an agent-server of the run's own.
    pub(crate) server_key: Secret,
    line: UnixStream,
}

impl RestartState {
    /// What PID 1 has for this process, and the variables that it has kept out of the environment; nothing where PID 1 is
    /// another program. To be called by a process that has hidden itself.
    #[must_use]
    pub(crate) fn inherit(raw: &RawEnv) -> Option<(Self, Vec<(OsString, OsString)>)> {
        // A variable that some other process has left means nothing.
        let name = raw.openhands_runner_life.as_deref().filter(|_| getppid() == Pid::from_raw(1))?;
        let line = UnixStream::connect_addr(&address(name).ok()?).ok()?;
        if peer(&line) != Some(Pid::from_raw(1)) {
            return None;
        }
        line.set_read_timeout(Some(INHERITANCE)).ok()?;
        let mut text = Vec::new();
        BufReader::new(&line).read_until(b'\n', &mut text).ok()?;
        let Inheritance { elapsed, server_key, variables } = serde_json::from_slice(&text).ok()?;
        let variable = |(name, value): (String, Vec<u8>)| (name.into(), std::ffi::OsStr::from_bytes(&value).to_owned());
        let variables = variables.into_iter().map(variable).collect();
        Some((Self { elapsed, server_key: Secret::new(server_key), line }, variables))
    }

    /// Tells PID 1 which process to wait for after the run, and for how long at most.
    pub(crate) fn has_guardian(&self, pid: u32, budget: Duration) {
        if let Ok(pid) = i32::try_from(pid) {
            self.tell(News::Guardian(pid, budget));
        }
    }

    /// Tells PID 1 that there is nothing left that another life could do.
    pub(crate) fn outcome_is_known(&self) {
        self.tell(News::OutcomeIsKnown);
    }

    fn tell(&self, news: News) {
        if let Ok(mut text) = serde_json::to_vec(&news) {
            text.push(b'\n');
            // PID 1 reads all the time; without it there is no container.
            let _ = (&self.line).write_all(&text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_child_gets_the_keys() {
        let mut lives = Lives::new(vec![("KEY".into(), "sk-1".into())]).unwrap();
        let connect = |lives: &Lives| UnixStream::connect_addr(&address(&lives.name).unwrap()).unwrap();
        let mut stranger = connect(&lives);
        lives.admit(Pid::from_raw(i32::MAX), Duration::ZERO);
        let mut heard = Vec::new();
        stranger.read_to_end(&mut heard).unwrap();
        assert!(heard.is_empty());

        let child = connect(&lives);
        // The process that asks is this one.
        lives.admit(Pid::this(), Duration::from_secs(7));
        let mut text = Vec::new();
        BufReader::new(&child).read_until(b'\n', &mut text).unwrap();
        let inheritance: Inheritance = serde_json::from_slice(&text).unwrap();
        assert_eq!(inheritance.variables, [("KEY".to_owned(), b"sk-1".to_vec())]);
        assert_eq!(inheritance.elapsed, Duration::from_secs(7));

        let life = RestartState { elapsed: Duration::ZERO, server_key: Secret::new("x"), line: child };
        life.has_guardian(7, Duration::from_secs(1));
        life.outcome_is_known();
        assert_eq!(lives.news(), [News::Guardian(7, Duration::from_secs(1)), News::OutcomeIsKnown]);
        assert_eq!(lives.news(), []);
    }

    #[test]
    fn a_process_that_is_no_child_of_pid_1_inherits_nothing() {
        let raw = RawEnv { openhands_runner_life: Some("x".to_owned()), ..RawEnv::default() };
        assert!(RestartState::inherit(&raw).is_none());
        assert!(RestartState::inherit(&RawEnv::default()).is_none());
    }
}
