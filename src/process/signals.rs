//! Signals -> requests to end. What a run does about them is not known here.

use std::io;

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
}

/// The signals of this process, from the moment of [`Shutdown::install`].
#[derive(Debug)]
pub(crate) struct Shutdown {
    hang_up: unix::Signal,
    interrupt: unix::Signal,
    quit: unix::Signal,
    terminate: unix::Signal,
    received: u32,
}

impl Shutdown {
    /// Puts the handlers in place. Must be called in a tokio runtime, and before anything else happens: PID 1 ignores a
    /// signal without a handler, and others die of it.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self {
            hang_up: unix::signal(SignalKind::hangup())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            quit: unix::signal(SignalKind::quit())?,
            terminate: unix::signal(SignalKind::terminate())?,
            received: 0,
        })
    }

    /// The next signal. Cancel safe.
    pub(crate) async fn requested(&mut self) -> Signal {
        let signal = tokio::select! {
            _ = self.hang_up.recv() => Signal::HangUp,
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.quit.recv() => Signal::Quit,
            _ = self.terminate.recv() => Signal::Terminate,
        };
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
        };
        Self::new(kind, format!("the runner was ended by {name}"))
    }
}
