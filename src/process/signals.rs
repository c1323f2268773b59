//! Signals -> requests to end. What a run does about them is not known here.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use tokio::signal::unix::{self, SignalKind};

use crate::outcome::{Failure, FailureKind};

/// A signal that asks the process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGHUP: the terminal or the connection is gone.
    HangUp,
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGQUIT: Ctrl-\.
    Quit,
    /// SIGTERM: what supervisors send.
    Terminate,
    /// Another one, by its name, that would kill the process: schedulers announce the end of a job by it, or a limit is reached.
    Scheduler(&'static str),
}

/// The signals of this process, from the moment of [`Shutdown::install`].
#[derive(Debug)]
pub(crate) struct Shutdown {
    signals: Vec<(unix::Signal, Signal)>,
    received: u32,
}

impl Shutdown {
    /// Puts the handlers in place. Must be called in a tokio runtime, and before anything else happens: PID 1 ignores a
    /// signal without a handler, and others die of it.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn install() -> io::Result<Self> {
        // With a handler, a file that reaches the limit of its size (`ulimit -f`) is an error as on a full disk.
        let _ = unix::signal(SignalKind::from_raw(nix::libc::SIGXFSZ))?;
        let mut signals = Vec::new();
        for (number, signal) in [
            (nix::libc::SIGHUP, Signal::HangUp),
            (nix::libc::SIGINT, Signal::Interrupt),
            (nix::libc::SIGQUIT, Signal::Quit),
            (nix::libc::SIGTERM, Signal::Terminate),
            (nix::libc::SIGUSR1, Signal::Scheduler("SIGUSR1")),
            (nix::libc::SIGUSR2, Signal::Scheduler("SIGUSR2")),
            (nix::libc::SIGXCPU, Signal::Scheduler("SIGXCPU")),
            (nix::libc::SIGPWR, Signal::Scheduler("SIGPWR")),
            (nix::libc::SIGALRM, Signal::Scheduler("SIGALRM")),
        ] {
            signals.push((unix::signal(SignalKind::from_raw(number))?, signal));
        }
        Ok(Self { signals, received: 0 })
    }

    /// The next signal. Cancel safe.
    pub(crate) async fn requested(&mut self) -> Signal {
        let next = poll_fn(|context| {
            let mut streams = self.signals.iter_mut();
            let received = streams.find_map(|(stream, signal)| stream.poll_recv(context).is_ready().then_some(*signal));
            received.map_or(Poll::Pending, Poll::Ready)
        });
        let signal = next.await;
        self.received += 1;
        signal
    }

    /// How many [`Shutdown::requested`] has given.
    #[must_use]
    pub(crate) fn received(&self) -> u32 {
        self.received
    }
}

impl From<Signal> for Failure {
    fn from(signal: Signal) -> Self {
        let (kind, name) = match signal {
            Signal::HangUp => (FailureKind::HungUp, "SIGHUP"),
            Signal::Interrupt => (FailureKind::Interrupted, "SIGINT"),
            Signal::Quit => (FailureKind::Quit, "SIGQUIT"),
            Signal::Terminate => (FailureKind::Terminated, "SIGTERM"),
            Signal::Scheduler(name) => (FailureKind::Terminated, name),
        };
        Self::new(kind, format!("the runner was ended by {name}"))
    }
}
