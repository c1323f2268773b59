//! The guardian: a small process of our own that delivers the completion callback when the runner cannot.
//!
//! The runner starts it before its first request and keeps it informed over a socket pair ([`Guardian`]). It lives in a
//! session of its own, without standard input and output, so that what ends the runner and its process group leaves it
//! alive. It knows how to deliver a report, and nothing of conversations:
//!
//! - the runner says that the outcome is settled: it ends;
//! - the runner ends having named its outcome: it delivers that;
//! - the runner ends without a word: it waits a moment for a new runner of the same run ([`rendezvous`]), then delivers the
//!   report that the runner left for this case.

mod footprint;
mod process;
mod protocol;
pub mod rendezvous;

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

pub use process::guard;
pub use protocol::Charge;

use self::protocol::{ARMED, Message};
use crate::outcome::Report;

/// The guardian's name in `ps`, so that nobody takes it for a leftover of the run. The kernel keeps 15 characters of it.
pub const NAME: &str = "openhands-guardian";

/// A guardian should be armed within milliseconds; a machine that is this slow goes on without waiting.
const ARMING: Duration = Duration::from_secs(2);
/// The guardian reads all the time; if it does not, the runner must not wait for it.
const SENDING: Duration = Duration::from_millis(100);

/// The runner's end of the line to its guardian.
#[derive(Debug)]
pub struct Guardian {
    line: UnixStream,
}

impl Guardian {
    /// Starts a guardian, and waits until it is armed. `if_silent` is what to deliver if the runner ends without a word.
    ///
    /// # Errors
    /// The operating system's. The run can go on without a guardian.
    pub fn start(charge: Charge, if_silent: &Report) -> io::Result<Self> {
        let (line, other_end) = UnixStream::pair()?;
        // Its own file may be gone by the time it is needed; a running program is not.
        Command::new("/proc/self/exe")
            .arg0(NAME)
            .env_clear()
            .current_dir("/")
            .stdin(OwnedFd::from(other_end))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        line.set_write_timeout(Some(SENDING))?;
        line.set_read_timeout(Some(ARMING))?;
        let mut guardian = Self { line };
        guardian.send(&Message::Charge(Box::new(charge), if_silent.clone()))?;
        let mut answer = String::new();
        BufReader::new(&guardian.line).read_line(&mut answer)?;
        if answer != ARMED {
            return Err(io::Error::other("the guardian did not arm"));
        }
        Ok(guardian)
    }

    /// News for the report that is delivered if the runner ends without a word.
    ///
    /// # Errors
    /// The guardian is gone.
    pub fn if_silent(&mut self, report: &Report) -> io::Result<()> {
        self.send(&Message::IfSilent(report.clone()))
    }

    /// What to deliver in any case, unless [`Guardian::settled`] follows.
    ///
    /// # Errors
    /// The guardian is gone.
    pub fn outcome(&mut self, report: &Report) -> io::Result<()> {
        self.send(&Message::Outcome(report.clone()))
    }

    /// A process group that must not outlive the runner.
    ///
    /// # Errors
    /// The guardian is gone.
    pub fn end_with_us(&mut self, process_group: u32) -> io::Result<()> {
        self.send(&Message::EndWithRunner(process_group))
    }

    /// The outcome is delivered; the guardian ends.
    ///
    /// # Errors
    /// The guardian is gone already.
    pub fn settled(mut self) -> io::Result<()> {
        self.send(&Message::Settled)
    }

    fn send(&mut self, message: &Message) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.line.write_all(&line)
    }
}
