//! Where a new runner of a run meets the guardian of the one before.
//!
//! The place is a Unix socket in the abstract namespace, named after the run: no file, and gone with its owner.

use std::io::{self, Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use uuid::Uuid;

/// A guardian that is there answers within milliseconds.
const ANSWER: Duration = Duration::from_secs(2);

const YOURS: &[u8] = b"yours";
const BUSY: &[u8] = b"busy";

/// What a new runner finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// No guardian of this run: the run is new, or it was reported.
    Nobody,
    /// The runner before is dead and nothing was reported. Its guardian has ended without a word.
    Yours,
    /// The runner before is alive and at work.
    Busy,
}

fn address(run_id: &str) -> io::Result<SocketAddr> {
    // A run's id is free text, a name has 107 bytes.
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, run_id.as_bytes());
    SocketAddr::from_abstract_name(format!("openhands-runner/{id}"))
}

/// Asks the guardian of an earlier runner of this run to leave the run to us.
#[must_use]
pub fn take_over(run_id: &str) -> Found {
    let ask = || -> io::Result<Found> {
        let mut guardian = UnixStream::connect_addr(&address(run_id)?)?;
        guardian.set_read_timeout(Some(ANSWER))?;
        let mut answer = Vec::new();
        guardian.read_to_end(&mut answer)?;
        Ok(match answer.as_slice() {
            YOURS => Found::Yours,
            BUSY => Found::Busy,
            _ => Found::Nobody,
        })
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
    /// Leaves the run to it. The place is closed first, because the asker's own guardian opens it next.
    pub(super) fn yours(mut self, place: Rendezvous) {
        drop(place);
        let _ = self.0.write_all(YOURS);
    }

    /// Keeps the run.
    pub(super) fn busy(mut self) {
        let _ = self.0.write_all(BUSY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_there_for_a_new_run() {
        assert_eq!(take_over(&Uuid::new_v4().to_string()), Found::Nobody);
    }

    #[test]
    fn a_guardian_leaves_the_run_or_keeps_it() {
        let run = Uuid::new_v4().to_string();
        let place = Rendezvous::open(&run).unwrap();
        assert!(Rendezvous::open(&run).is_err());
        let asking = |run: String| std::thread::spawn(move || take_over(&run));
        let first = asking(run.clone());
        place.accept().unwrap().busy();
        assert_eq!(first.join().unwrap(), Found::Busy);
        let second = asking(run.clone());
        place.accept().unwrap().yours(place);
        assert_eq!(second.join().unwrap(), Found::Yours);
        assert!(Rendezvous::open(&run).is_ok());
    }
}
