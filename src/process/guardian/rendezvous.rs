//! Where a new runner of a run meets the guardian of the one before.
//!
//! The place is a Unix socket in the abstract namespace, named after the run: no file, and gone with its owner. The name is the
//! lock of the run. It has no permissions, so both sides prove that they belong to the run:
//!
//! ```text
//! new runner                                 guardian
//!   │ Knock: a number                           │
//!   │ ────────────────────────────────────────► │
//!   │ Shown: another number, and the proof      │
//!   │ ◄──────────────────────────────────────── │
//!   │ Proof                                     │
//!   │ ────────────────────────────────────────► │ decides
//!   │ Answer                                    │
//!   │ ◄──────────────────────────────────────── │
//! ```

use std::io::{self, BufRead, BufReader, Read};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use uuid::Uuid;

use super::proof::{Drawn, RunKey, Side};
use super::protocol::{Answer, Knock, Proof, Reply, Shown, receive, send};
use crate::input::time_limits::GuardianLimits;

/// What a new runner finds.
#[derive(Debug)]
pub(crate) enum Found {
    /// No guardian of this run: the run is new, or it was reported.
    NoOne,
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

/// A run's id is free text, a name has 107 bytes.
fn name(run_id: &str) -> String {
    format!("openhands-runner/{}", Uuid::new_v5(&Uuid::NAMESPACE_OID, run_id.as_bytes()))
}

/// Whether the process at the other end has our user.
fn is_of_our_user(stream: &UnixStream) -> bool {
    rustix::net::sockopt::socket_peercred(stream).is_ok_and(|peer| peer.uid == rustix::process::geteuid())
}

/// Asks the guardian of an earlier runner of this run to leave the run to us. What has the run's name and does not prove in time
/// that it belongs to the run is no one.
#[must_use]
pub(crate) fn take_over(key: &RunKey, limits: &GuardianLimits) -> Found {
    let ask = || -> io::Result<Found> {
        let guardian = connect(key.run_id(), limits.answer)?;
        let mut answers = BufReader::new(Within::new(&guardian, limits.answer));
        if !is_of_our_user(&guardian) || !is_guardian(&guardian, &mut answers, key)? {
            return Ok(Found::NoOne);
        }
        let mut answer = receive(&mut answers);
        if let Ok(None) = answer {
            // It has reported the run at this moment.
            return Ok(Found::NoOne);
        }
        if let Ok(Some(Answer::Wait)) = answer {
            answers.get_mut().deadline = Instant::now() + limits.decision;
            answer = receive(&mut answers);
        }
        Ok(match answer {
            Ok(Some(Answer::Yours)) => Found::Yours(Offer(guardian)),
            // It has ended before it took the connection from its queue.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Found::NoOne,
            // It is there, and keeps the run, has reported it after all, or is too slow to say more.
            _ => Found::Busy,
        })
    };
    ask().unwrap_or(Found::NoOne)
}

/// Connects to what has the run's name. A full queue of one that never accepts must not hold us up, so the limit is set before.
fn connect(run_id: &str, limit: Duration) -> io::Result<UnixStream> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    for direction in [Timeout::Send, Timeout::Recv] {
        set_socket_timeout(&socket, direction, Some(limit))?;
    }
    rustix::net::connect(&socket, &SocketAddrUnix::new_abstract_name(name(run_id).as_bytes())?)?;
    Ok(UnixStream::from(socket))
}

/// Reads from a connection until a moment. One that sends byte after byte, each in time, is too slow too.
struct Within<'s> {
    stream: &'s UnixStream,
    deadline: Instant,
}

impl<'s> Within<'s> {
    fn new(stream: &'s UnixStream, limit: Duration) -> Self {
        Self { stream, deadline: Instant::now() + limit }
    }
}

impl Read for Within<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(bytes)
    }
}

/// The runner's side of the proof. Whether the other side has proved that it is a guardian of the run.
fn is_guardian(stream: &UnixStream, answers: &mut impl BufRead, key: &RunKey) -> io::Result<bool> {
    let runner = Uuid::new_v4();
    send(stream, &Knock { drawn: runner })?;
    let Some(Shown { drawn: guardian, proof }) = receive(answers)? else { return Ok(false) };
    let drawn = Drawn { runner, guardian };
    if !key.is_proof(&proof, Side::Guardian, drawn) {
        return Ok(false);
    }
    send(stream, &Proof { proof: key.prove(Side::Runner, drawn) })?;
    Ok(true)
}

/// The guardian's side of the proof. Whether the other side has proved that it is a runner of the run.
fn is_runner(stream: &UnixStream, key: &RunKey, limit: Duration) -> io::Result<bool> {
    let mut words = BufReader::new(Within::new(stream, limit));
    let Some(Knock { drawn: runner }) = receive(&mut words)? else { return Ok(false) };
    let drawn = Drawn { runner, guardian: Uuid::new_v4() };
    send(stream, &Shown { drawn: drawn.guardian, proof: key.prove(Side::Guardian, drawn) })?;
    let Some(Proof { proof }) = receive(&mut words)? else { return Ok(false) };
    Ok(key.is_proof(&proof, Side::Runner, drawn))
}

/// A guardian's side of the place.
#[derive(Debug)]
pub(super) struct Rendezvous {
    listener: UnixListener,
    key: RunKey,
}

impl Rendezvous {
    /// Opens the place; fails when another guardian of the run has it.
    pub(super) fn open(key: RunKey) -> io::Result<Self> {
        let address = SocketAddr::from_abstract_name(name(key.run_id()))?;
        Ok(Self { listener: UnixListener::bind_addr(&address)?, key })
    }

    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// The next one who asks; waits for it. `None` for a stranger: the abstract namespace has no permissions.
    pub(super) fn accept(&self) -> Option<Asker> {
        Asker::new(self.listener.accept().ok()?.0, &self.key)
    }

    /// The same in a tokio runtime. Cancel safe.
    pub(super) async fn asker(&self) -> Option<Asker> {
        let listener = || {
            self.listener.set_nonblocking(true)?;
            tokio::net::UnixListener::from_std(self.listener.try_clone()?)
        };
        match listener() {
            Ok(listener) => Asker::new(listener.accept().await.ok()?.0.into_std().ok()?, &self.key),
            // No one can be heard.
            Err(_) => std::future::pending().await,
        }
    }
}

/// A new runner that asks for the run.
#[derive(Debug)]
pub(super) struct Asker(UnixStream);

impl Asker {
    /// Waits a moment for the proof. What a process of our own user could hold up by its silence, it could also kill.
    fn new(stream: UnixStream, key: &RunKey) -> Option<Self> {
        let limit = GuardianLimits::default().answer;
        let is_runner = || -> io::Result<bool> {
            stream.set_nonblocking(false)?;
            stream.set_write_timeout(Some(limit))?;
            let is_runner = is_runner(&stream, key, limit)?;
            // One that sends half a line must not hold us up.
            stream.set_nonblocking(true)?;
            Ok(is_runner)
        };
        (is_of_our_user(&stream) && is_runner().unwrap_or(false)).then_some(Self(stream))
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
    use std::io::Write as _;
    use std::thread::{self, JoinHandle};

    use openhands_client::secret::Secret;
    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    fn key(run: &str, secret: &str) -> RunKey {
        RunKey::new(run, Some(&Secret::new(secret)))
    }

    fn new_run() -> RunKey {
        key(&Uuid::new_v4().to_string(), "key")
    }

    fn asking(key: &RunKey) -> JoinHandle<Found> {
        let key = key.clone();
        thread::spawn(move || take_over(&key, &GuardianLimits::default()))
    }

    #[test]
    fn nobody_is_there_for_a_new_run() {
        assert!(matches!(take_over(&new_run(), &GuardianLimits::default()), Found::NoOne));
    }

    #[test]
    fn a_guardian_keeps_the_run_or_leaves_it() {
        let run = new_run();
        let place = Rendezvous::open(run.clone()).unwrap();
        assert!(Rendezvous::open(run.clone()).is_err());
        let first = asking(&run);
        place.accept().unwrap().answer(Answer::Busy);
        assert!(matches!(first.join().unwrap(), Found::Busy));

        let second = asking(&run);
        let asker = place.accept().unwrap();
        drop(place);
        asker.answer(Answer::Yours);
        let Found::Yours(offer) = second.join().unwrap() else { panic!("the run was not left") };
        assert!(Rendezvous::open(run).is_ok());
        offer.accept();
        assert!(asker.has_taken());
    }

    #[test]
    fn a_guardian_that_ends_before_it_accepts_is_not_there() {
        let run = new_run();
        let place = Rendezvous::open(run.clone()).unwrap();
        let asking = asking(&run);
        let mut waits = [PollFd::new(place.listener(), PollFlags::IN)];
        poll(&mut waits, None).unwrap();
        drop(place);
        assert!(matches!(asking.join().unwrap(), Found::NoOne));
    }

    #[test]
    fn a_run_that_is_not_taken_stays() {
        let run = new_run();
        let place = Rendezvous::open(run.clone()).unwrap();
        let asking = asking(&run);
        let asker = place.accept().unwrap();
        asker.answer(Answer::Yours);
        drop(asking.join().unwrap());
        assert!(!asker.has_taken());
    }

    #[test]
    fn a_process_without_the_key_is_no_guardian_and_no_runner() {
        let run = new_run();
        let stranger = key(run.run_id(), "another key");
        let place = Rendezvous::open(stranger).unwrap();
        let asking = asking(&run);
        assert!(place.accept().is_none());
        assert!(matches!(asking.join().unwrap(), Found::NoOne));
    }

    #[test]
    fn one_that_sends_byte_after_byte_is_no_guardian() {
        let run = new_run();
        let limits = GuardianLimits { answer: Duration::from_millis(50), ..GuardianLimits::default() };
        let address = SocketAddr::from_abstract_name(name(run.run_id())).unwrap();
        let place = UnixListener::bind_addr(&address).unwrap();
        let slow = thread::spawn(move || {
            let (mut stream, _) = place.accept().unwrap();
            let sent = (0..1000).take_while(|_| {
                thread::sleep(Duration::from_millis(5));
                stream.write_all(b"x").is_ok()
            });
            sent.count()
        });
        assert!(matches!(take_over(&run, &limits), Found::NoOne));
        // No message is as long.
        assert!(slow.join().unwrap() < 256);
    }

    #[test]
    fn one_that_says_nothing_or_accepts_no_one_is_no_guardian() {
        let run = new_run();
        let limits = GuardianLimits { answer: Duration::from_millis(50), ..GuardianLimits::default() };
        let address = SocketAddr::from_abstract_name(name(run.run_id())).unwrap();
        let silent = UnixListener::bind_addr(&address).unwrap();
        rustix::net::listen(&silent, 0).unwrap();
        // The first of them fills its queue.
        for _ in 0..3 {
            assert!(matches!(take_over(&run, &limits), Found::NoOne));
        }
    }
}
