//! Where a new runner of a run meets the guardian of the one before.
//!
//! The place is a Unix socket in the abstract namespace, named after the run: no file, and gone with its owner.

use std::io::{self, BufReader};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use uuid::Uuid;

use super::protocol::{Answer, Reply, receive, send};
use crate::input::time_limits::GuardianLimits;

/// What a new runner finds.
#[derive(Debug)]
pub(crate) enum Found {
    /// No guardian of this run: the run is new, or it was reported.
    Nobody,
    /// The runner before is dead and nothing was reported.
    Yours(Offer),
    /// The runner before is alive and at work.
    Busy,
}

/// A run that a guardian offers. Dropped without [`Offer::accept`], the run stays with the guardian that it has.
#[derive(Debug)]
pub(crate) struct Offer(UnixStream);

impl Offer {
    /// The run has a new guardian; the old one ends without a word.
    pub(crate) fn accept(self) {
        // If that fails, it reports what it would have reported without us.
        let _ = send(&self.0, &Reply::Taken);
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
        let guardian = UnixStream::connect_addr(&address(run_id)?)?;
        guardian.set_read_timeout(Some(limits.answer))?;
        let mut answers = BufReader::new(&guardian);
        let mut answer = receive(&mut answers);
        if let Ok(None) = answer {
            // It has reported the run at this moment.
            return Ok(Found::Nobody);
        }
        if let Ok(Some(Answer::Wait)) = answer {
            guardian.set_read_timeout(Some(limits.decision))?;
            answer = receive(&mut answers);
        }
        Ok(match answer {
            Ok(Some(Answer::Yours)) => Found::Yours(Offer(guardian)),
            // It has ended before it took the connection from its queue.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Found::Nobody,
            // It is there, and keeps the run, has reported it after all, or is too slow to say more.
            _ => Found::Busy,
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

    /// The next one who asks; waits for it. `None` for a stranger: the abstract namespace has no permissions.
    pub(super) fn accept(&self) -> Option<Asker> {
        Asker::new(self.0.accept().ok()?.0)
    }

    /// The same in a tokio runtime. Cancel safe.
    pub(super) async fn asker(&self) -> Option<Asker> {
        let listener = || {
            self.0.set_nonblocking(true)?;
            tokio::net::UnixListener::from_std(self.0.try_clone()?)
        };
        match listener() {
            Ok(listener) => Asker::new(listener.accept().await.ok()?.0.into_std().ok()?),
            // No one can be heard.
            Err(_) => std::future::pending().await,
        }
    }
}

/// A new runner that asks for the run.
#[derive(Debug)]
pub(super) struct Asker(UnixStream);

impl Asker {
    fn new(stream: UnixStream) -> Option<Self> {
        let peer = rustix::net::sockopt::socket_peercred(&stream).ok()?;
        // One that sends half a line must not hold us up.
        stream.set_nonblocking(true).ok()?;
        (peer.uid == rustix::process::geteuid()).then_some(Self(stream))
    }

    /// Answers it. One that is gone is noticed when it is read from.
    pub(super) fn answer(&self, answer: Answer) {
        let _ = send(&self.0, &answer);
    }

    /// Until it has something to say, or has ended; in a tokio runtime. Cancel safe.
    pub(super) async fn spoken(&self) {
        if let Ok(Ok(stream)) = self.0.try_clone().map(tokio::net::UnixStream::from_std) {
            let _ = stream.readable().await;
        }
    }

    /// Whether it has taken the run; what it has to say is there.
    pub(super) fn has_taken(&self) -> bool {
        matches!(receive(&mut BufReader::new(&self.0)), Ok(Some(Reply::Taken)))
    }

    /// The connection, to wait for what it has to say.
    pub(super) fn stream(&self) -> &UnixStream {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};

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
        place.accept().unwrap().answer(Answer::Busy);
        assert!(matches!(first.join().unwrap(), Found::Busy));

        let second = asking(run.clone());
        let asker = place.accept().unwrap();
        drop(place);
        asker.answer(Answer::Yours);
        let Found::Yours(offer) = second.join().unwrap() else { panic!("the run was not left") };
        assert!(Rendezvous::open(&run).is_ok());
        offer.accept();
        assert!(asker.has_taken());
    }

    #[test]
    fn a_guardian_that_ends_before_it_accepts_is_not_there() {
        let run = Uuid::new_v4().to_string();
        let place = Rendezvous::open(&run).unwrap();
        let asking = std::thread::spawn(move || take_over(&run, &GuardianLimits::default()));
        let mut waits = [PollFd::new(place.listener(), PollFlags::IN)];
        poll(&mut waits, None).unwrap();
        drop(place);
        assert!(matches!(asking.join().unwrap(), Found::Nobody));
    }

    #[test]
    fn a_run_that_is_not_taken_stays() {
        let run = Uuid::new_v4().to_string();
        let place = Rendezvous::open(&run).unwrap();
        let asking = {
            let run = run.clone();
            std::thread::spawn(move || drop(take_over(&run, &GuardianLimits::default())))
        };
        let asker = place.accept().unwrap();
        asker.answer(Answer::Yours);
        assert!(!asker.has_taken());
        asking.join().unwrap();
    }
}
