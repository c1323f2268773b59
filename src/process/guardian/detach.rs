//! The guardian's start: it is not a descendant of the runner, so that killing the runner's process tree leaves it alive.
//!
//! ```text
//! runner ── starts ──► openhands-guardian-start ── starts ──► openhands-guardian
//!                        writes the guardian's process id,      gets a new parent (PID 1)
//!                        and ends at once                       when its starter has ended
//! ```

use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::NAME;
use crate::process::own_program;

/// The name of the process between runner and guardian.
pub(crate) const STARTER: &str = "openhands-guardian-start";

/// A guardian that is on its way.
#[derive(Debug)]
pub(super) struct Starting(Child);

impl Starting {
    /// Starts a process that starts the guardian, with this end of the line as its standard input.
    pub(super) fn new(line: OwnedFd) -> io::Result<Self> {
        own_program::command(STARTER)
            .env_clear()
            .current_dir("/")
            .stdin(line)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // What ends the runner's group must not end the guardian before it has a session of its own.
            .process_group(0)
            .spawn()
            .map(Self)
    }

    /// The guardian's process id, if it comes within this time. The process between is reaped.
    pub(super) fn pid(mut self, limit: Duration) -> Option<u32> {
        let mut pipe = self.0.stdout.take()?;
        let deadline = Instant::now() + limit;
        let mut text = Vec::new();
        let mut bytes = [0; 32];
        loop {
            let left = Timespec::try_from(deadline.checked_duration_since(Instant::now())?).ok()?;
            if poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&left)).ok()? == 0 {
                return None;
            }
            match pipe.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) => text.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        let pid = std::str::from_utf8(&text).ok()?.parse().ok()?;
        if pid != self.0.id() {
            // It has ended, or does so now.
            let _ = self.0.wait();
        }
        Some(pid)
    }
}

/// Is the process between: to be called in a process that was started as [`STARTER`]. Whether this process has to be the
/// guardian itself, because no other one can be started.
#[must_use]
pub(crate) fn start() -> bool {
    let guardian =
        own_program::command(NAME).env_clear().current_dir("/").stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let pid = guardian.as_ref().map_or_else(|_| std::process::id(), Child::id);
    let _ = write!(io::stdout(), "{pid}").and_then(|()| io::stdout().flush());
    if guardian.is_ok() {
        return false;
    }
    // The runner waits for the end of its pipe.
    let _ = std::fs::File::options().write(true).open("/dev/null").map(rustix::stdio::dup2_stdout);
    true
}
