//! The guardian: a small process of our own that delivers the completion callback when the runner cannot.
//!
//! The runner starts it before its first request and keeps it informed over a socket pair ([`Guardian`]). It lives in a
//! session of its own, without standard input and output, so that what ends the runner and its process group leaves it
//! alive. It knows how to deliver a report, and nothing of conversations:
//!
//! - the runner says that the outcome is settled: it ends;
//! - the runner ends having named its outcome: it delivers that;
//! - the runner ends without a word: it waits a moment for a new runner of the same run ([`rendezvous`]), then delivers the
//!   report that the runner left for this case. Until that is accepted, a new runner may still take the run;
//! - with a report it ends the run folder, if there is one and the runner has not ended it;
//! - the runner lives, and is still silent some time after its deadline: it is frozen, and the guardian reports the time-out.
//!
//! The rules are a state machine without input and output ([`handover`]); [`process`] drives it.

mod detach;
mod handover;
mod line;
mod process;
pub(crate) mod proof;
mod protocol;
pub(crate) mod rendezvous;

use std::io::{self, BufReader, ErrorKind, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use detach::{STARTER, start as start_detached};
pub(crate) use process::guard;
pub(crate) use protocol::{GuardianConfig, LastWill};

use self::detach::Starting;
use self::protocol::{Answer, Message, receive};
use crate::input::time_limits::GuardianLimits;

/// The guardian's name in `ps`, so that no one takes it for a leftover of the run. The kernel keeps 15 characters of it.
pub(crate) const NAME: &str = "openhands-guardian";

/// Its name once its runner has ended: what it does then must be waited for. `launch` looks for it.
pub(crate) const DELIVERER: &str = "openhands-deliverer";

/// Shows in the process's name that its runner has ended.
fn show_end_of_runner() {
    let _ = nix::sys::prctl::set_name(c"openhands-deliverer");
}

/// The runner's end of the line to its guardian.
#[derive(Debug)]
pub(crate) struct Guardian {
    line: UnixStream,
    /// What a guardian that is slow to read has not taken yet.
    unsent: Vec<u8>,
    /// Its process id, if it arrived in time.
    pid: Option<u32>,
}

/// What became of the start of a guardian.
#[derive(Debug)]
pub(crate) enum Started {
    /// It guards the run. Its run's name is its own until it ends, or has not answered in time.
    Armed(Guardian),
    /// Something else has the name of the run, so there is no guardian.
    Occupied,
}

impl Guardian {
    /// Starts a guardian, and waits a moment until it is armed. `if_silent` is what to deliver if the runner ends without a
    /// word. Its name is the lock of the run: only one guardian can have it.
    ///
    /// # Errors
    /// The operating system's. The run can continue without a guardian.
    pub(crate) fn start(config: GuardianConfig, limits: &GuardianLimits, if_silent: &LastWill) -> io::Result<Started> {
        let (line, other_end) = UnixStream::pair()?;
        line.set_write_timeout(Some(limits.sending))?;
        line.set_read_timeout(Some(limits.arming))?;
        let mut guardian = Self { line, unsent: Vec::new(), pid: None };
        // Before there is a process: whatever becomes of us from now on, it knows what to do.
        guardian.send(&Message::GuardianConfig(Box::new(config), if_silent.clone()))?;
        let starting = Starting::new(OwnedFd::from(other_end))?;
        guardian.pid = starting.pid(limits.arming);
        match receive(&mut BufReader::new(&guardian.line)) {
            Ok(Some(Answer::Armed)) => Ok(Started::Armed(guardian)),
            Ok(Some(Answer::Occupied)) => guardian.settled().map(|()| Started::Occupied),
            Ok(_) => Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if is_slow(&error) => {
                tracing::warn!("the guardian is slow to start; the run continues meanwhile");
                Ok(Started::Armed(guardian))
            }
            Err(error) => Err(error),
        }
    }

    /// The guardian's process id, if it is known.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// News for the report that is delivered if the runner ends without a word.
    ///
    /// # Errors
    /// The guardian is gone.
    pub(crate) fn if_silent(&mut self, report: &LastWill) -> io::Result<()> {
        if self.unsent.is_empty() { self.send(&Message::IfSilent(report.clone())) } else { self.flush() }
    }

    /// What to deliver if the runner lives and has named no outcome some time after `left`.
    ///
    /// # Errors
    /// The guardian is gone.
    pub(crate) fn if_frozen(&mut self, left: Duration, report: &LastWill) -> io::Result<()> {
        if self.unsent.is_empty() { self.send(&Message::IfFrozen(left, report.clone())) } else { self.flush() }
    }

    /// What to deliver in any case, unless [`Guardian::settled`] follows.
    ///
    /// # Errors
    /// The guardian is gone.
    pub(crate) fn outcome(&mut self, report: &LastWill) -> io::Result<()> {
        self.send(&Message::Outcome(report.clone()))
    }

    /// The run folder that is to be ended with the outcome.
    ///
    /// # Errors
    /// The guardian is gone.
    pub(crate) fn folder(&mut self, folder: PathBuf) -> io::Result<()> {
        self.send(&Message::Folder(folder))
    }

    /// A process group that must not outlive the runner.
    ///
    /// # Errors
    /// The guardian is gone.
    pub(crate) fn end_with_us(&mut self, process_group: u32) -> io::Result<()> {
        self.send(&Message::EndWithRunner(process_group))
    }

    /// The outcome is delivered; nothing is left but to end with the runner.
    ///
    /// # Errors
    /// The guardian is gone already.
    pub(crate) fn settled(&mut self) -> io::Result<()> {
        self.send(&Message::Settled)
    }

    fn send(&mut self, message: &Message) -> io::Result<()> {
        serde_json::to_writer(&mut self.unsent, message)?;
        self.unsent.push(b'\n');
        self.flush()
    }

    /// Sends what the guardian takes without making us wait; the rest is sent with what follows.
    fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.line.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_slow(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn is_slow(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn nothing_is_lost_on_a_guardian_that_is_slow_to_read() {
        let (line, mut other_end) = UnixStream::pair().unwrap();
        line.set_write_timeout(Some(Duration::from_millis(5))).unwrap();
        let mut guardian = Guardian { line, unsent: Vec::new(), pid: None };
        let mut sent = 0;
        while guardian.unsent.is_empty() {
            guardian.end_with_us(7).unwrap();
            sent += 1;
        }
        let reading = std::thread::spawn(move || {
            let mut all = String::new();
            other_end.read_to_string(&mut all).unwrap();
            all
        });
        while !guardian.unsent.is_empty() {
            guardian.flush().unwrap();
        }
        guardian.settled().unwrap();
        drop(guardian);
        let all = reading.join().unwrap();
        assert_eq!(all.lines().count(), sent + 1);
        assert!(all.lines().all(|line| serde_json::from_str::<Message>(line).is_ok()));
    }
}
