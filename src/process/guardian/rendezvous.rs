//! Where a new runner of a run meets the guardian of the one before.
//!
//! The place is a Unix socket in the abstract namespace, named after the run: no file, and gone with its owner.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use uuid::Uuid;

use crate::input::time_limits::GuardianLimits;

const YOURS: u8 = b'y';
const BUSY: u8 = b'b';
const WAIT: u8 = b'w';
const TAKEN: &[u8] = b"taken";

/// What a new runner finds.
#[derive(Debug)]
pub(crate) enum Found {
    /// No guardian of this run: the run is new, or it was reported.
    Nobody,
    /// The runner before is dead and nothing was reported.
    Yours(Handover),
    /// The runner before is alive and at work.
    Busy,
}

/// A run that is being handed over. Dropped without [`Handover::taken`], the run stays with the guardian that it had.
#[derive(Debug)]
pub(crate) struct Handover(UnixStream);

impl Handover {
    /// The run has a new guardian; the old one ends without a word.
    pub(crate) fn taken(mut self) {
        // It reports what it would have reported without us.
        let _ = self.0.write_all(TAKEN);
    }
}

fn address(run_id: &str) -> io::Result<SocketAddr> {
    // A run's id is free text, a name has 107 bytes.
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, run_id.as_bytes());
    SocketAddr::from_abstract_name(format!("openhands-runner/{id}"))
}

/// Asks the guardian of an earlier runner of this run to leave the run to us.
#[must_use]
pub(crate) fn take_over(run_id: &str, limits: &GuardianLimits) -> Found {
    let ask = || -> io::Result<Found> {
        let mut guardian = UnixStream::connect_addr(&address(run_id)?)?;
        guardian.set_read_timeout(Some(limits.answer))?;
        let mut answer = [0];
        let mut waited = false;
        loop {
            match guardian.read(&mut answer) {
                Ok(1) if answer == [WAIT] => {
                    waited = true;
                    guardian.set_read_timeout(Some(limits.decision))?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(1) if answer == [YOURS] => return Ok(Found::Yours(Handover(guardian))),
                // It has reported the run at this moment.
                Ok(0) if !waited => return Ok(Found::Nobody),
                // It is there, and keeps the run, has reported it after all, or is too slow to say more.
                Ok(_) | Err(_) => return Ok(Found::Busy),
            }
        }
    };
    ask().unwrap_or(Found::Nobody)
}

/// A guardian's side of the place.
#[derive(Debug)]
pub(super) struct Rendezvous(UnixListener);

impl Rendezvous {
    /// Opens the place; fails when another guardian of the run has it.
    pub(super) fn open(run_id: &str) -> io::Result<Self> {
        UnixListener::bind_addr(&address(run_id)?).map(Self)
    }

    pub(super) fn listener(&self) -> &UnixListener {
        &self.0
    }

    /// The next one who asks, unless it is a stranger: the abstract namespace has no permissions.
    pub(super) fn accept(&self) -> Option<Asker> {
        let (stream, _) = self.0.accept().ok()?;
        let peer = rustix::net::sockopt::socket_peercred(&stream).ok()?;
        (peer.uid == rustix::process::geteuid()).then_some(Asker(stream))
    }
}

/// A new runner that asks for the run.
#[derive(Debug)]
pub(super) struct Asker(UnixStream);

impl Asker {
    /// Leaves the run to it. The place is closed first, because the asker's own guardian opens it next. Whether the run
    /// was taken: an asker that dies before leaves it with us.
    pub(super) fn yours(mut self, place: Rendezvous, patience: Duration) -> bool {
        drop(place);
        let mut answer = [0; TAKEN.len()];
        let asked = self.0.set_read_timeout(Some(patience)).and_then(|()| self.0.write_all(&[YOURS]));
        asked.and_then(|()| self.0.read_exact(&mut answer)).is_ok() && answer == TAKEN
    }

    /// Keeps the run.
    pub(super) fn busy(mut self) {
        let _ = self.0.write_all(&[BUSY]);
    }

    /// Has it wait for one of the two.
    pub(super) fn wait(&mut self) {
        let _ = self.0.write_all(&[WAIT]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_there_for_a_new_run() {
        assert!(matches!(take_over(&Uuid::new_v4().to_string(), &GuardianLimits::default()), Found::Nobody));
    }

    #[test]
    fn a_guardian_keeps_the_run_or_leaves_it() {
        let run = Uuid::new_v4().to_string();
        let place = Rendezvous::open(&run).unwrap();
        assert!(Rendezvous::open(&run).is_err());
        let asking = |run: String| std::thread::spawn(move || take_over(&run, &GuardianLimits::default()));
        let first = asking(run.clone());
        place.accept().unwrap().busy();
        assert!(matches!(first.join().unwrap(), Found::Busy));

        let second = asking(run.clone());
        let asker = place.accept().unwrap();
        let leaving = std::thread::spawn(move || asker.yours(place, GuardianLimits::default().taking));
        let Found::Yours(handover) = second.join().unwrap() else { panic!("the run was not left") };
        assert!(Rendezvous::open(&run).is_ok());
        handover.taken();
        assert!(leaving.join().unwrap());
    }

    #[test]
    fn a_run_that_is_not_taken_stays() {
        let run = Uuid::new_v4().to_string();
        let place = Rendezvous::open(&run).unwrap();
        let asking = {
            let run = run.clone();
            std::thread::spawn(move || drop(take_over(&run, &GuardianLimits::default())))
        };
        assert!(!place.accept().unwrap().yours(place, GuardianLimits::default().taking));
        asking.join().unwrap();
    }
}
