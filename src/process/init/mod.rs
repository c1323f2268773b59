//! PID 1 of a container: runs the program as a child, forwards signals to it, reaps orphans, passes on its exit code.
//!
//! The kernel gives PID 1 duties that the program should not have: every orphan of the container becomes its child, and
//! when it ends everything else is killed, a guardian at work included. So the process that is started as PID 1 only does
//! these duties, without a runtime. The messages between it and the program are in [`life`].

mod life;

use std::ffi::OsString;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::life::{Lives, News};
use crate::cli;
use crate::input::env::{self, Parted, RawEnv};
use crate::input::reporting::Reporting;
use crate::input::time_limits::InitLimits;
use crate::outcome::ExitCode;
use crate::process::own_program;
use crate::process::scrub::scrub;

pub(crate) use life::RestartState;

/// A program that is killed again and again is not helped by another start.
const MOST_STARTS: u8 = 3;
/// SIGKILL.
const KILL: u8 = 9;

/// Whether this process has the duties of PID 1.
#[must_use]
pub(crate) fn is_due() -> bool {
    std::process::id() == 1
}

/// Runs this program once more as a child, with the same arguments and environment, and does the duties of PID 1 until the
/// child has ended and no guardian is at work any more. A run whose program was killed alone is started again.
///
/// `None` if no child can be started: then this process itself has to be the program.
#[must_use]
pub(crate) fn run() -> Option<ExitCode> {
    // From here on every signal waits until it is asked for, but for realtime signals, which mean nothing to PID 1.
    let signals: SigSet = Signal::iterator().collect();
    signals.thread_block().ok()?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::all()).ok()?;
    let hidden = env::withheld();
    let mut init = Init::start(signals)?;
    // No one needs to see ours any more.
    scrub(&hidden.iter().filter_map(|(name, _)| name.to_str()).collect::<Vec<_>>());
    let exit_code = init.watch_program();
    init.watch_guardians();
    Some(exit_code)
}

/// PID 1 at work.
struct Init {
    signals: SignalFd,
    /// What is passed from life to life of a run; nothing for other commands.
    lives: Option<Lives>,
    /// The variables that the program gets by its environment.
    environment: Vec<(OsString, OsString)>,
    child: Pid,
    starts: u8,
    began: Instant,
    /// Whether another life could finish what this one has begun.
    can_be_resumed: bool,
    asked_to_end: Option<Instant>,
    /// Guardians that were announced and have not been reaped, and how long they may take after the program.
    guardians: Vec<(Pid, Duration)>,
}

impl Init {
    fn start(signals: SignalFd) -> Option<Self> {
        let environment = env::whole();
        let is_run = cli::means_a_run(std::env::args_os().nth(1).as_deref());
        // Only a run with a guardian is handed over, and what is left of its agent-server ended.
        let reporting = Reporting::from_env(&RawEnv::of_process().0).0;
        let Parted { open, hidden } = env::part(environment.clone());
        let lives = is_run.then(|| Lives::new(hidden).ok()).flatten();
        let mut init = Self {
            signals,
            // Where they cannot be passed on otherwise, the environment has to do.
            environment: if lives.is_some() { open } else { environment },
            can_be_resumed: lives.is_some() && reporting.run_id.is_some() && reporting.callback_url.is_some(),
            lives,
            child: Pid::from_raw(0),
            starts: 0,
            began: Instant::now(),
            asked_to_end: None,
            guardians: Vec::new(),
        };
        init.start_life().then_some(init)
    }

    /// Whether there is a new life.
    fn start_life(&mut self) -> bool {
        let name = std::env::args_os().next().unwrap_or_default();
        let mut command = own_program::command(&name.to_string_lossy());
        command.args(std::env::args_os().skip(1)).env_clear();
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(lives) = &self.lives {
            command.env(life::NAME, &lives.name);
        }
        // A group of its own: Ctrl-C in a terminal reaches us alone, and the child once, from us.
        let child = command.process_group(0).spawn().ok().and_then(|child| i32::try_from(child.id()).ok());
        self.starts += 1;
        self.child = child.map_or(self.child, Pid::from_raw);
        child.is_some()
    }

    /// Until the program has ended for good; then how.
    fn watch_program(&mut self) -> ExitCode {
        loop {
            let Some(end) = self.next_end(None) else { continue };
            if let End::Exited(exit_code) = end {
                return exit_code;
            }
            // Only the kernel kills it alone, for want of memory. The next life continues where this one was.
            if !self.may_be_resumed() {
                return ExitCode::ended_by(KILL);
            }
            if !self.start_life() {
                return ExitCode::INTERNAL;
            }
        }
    }

    /// Whether a program that was killed is started again.
    fn may_be_resumed(&self) -> bool {
        self.can_be_resumed && self.asked_to_end.is_none() && self.starts < MOST_STARTS
    }

    /// Until no guardian is left, or it is time to leave.
    fn watch_guardians(&mut self) {
        let (ended, limits) = (Instant::now(), InitLimits::default());
        while let Some(budget) = self.guardians.iter().map(|(_, budget)| *budget).max() {
            let left = time_left(budget, ended.elapsed(), self.asked_to_end.map(|asked| asked.elapsed()), &limits);
            if left.is_zero() {
                return;
            }
            let _ = self.next_end(Some(left));
            // One that was reaped before it was announced.
            self.guardians.retain(|(pid, _)| kill(*pid, None) != Err(Errno::ESRCH));
        }
    }

    /// Waits for what happens next, and deals with it; the end of the program, if it is that.
    fn next_end(&mut self, limit: Option<Duration>) -> Option<End> {
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let sources = std::iter::once(self.signals.as_fd()).chain(self.lives.iter().flat_map(Lives::sources));
        let mut sources: Vec<PollFd<'_>> =
            sources.map(|source| PollFd::from_borrowed_fd(source, PollFlags::IN)).collect();
        let _ = poll(&mut sources, limit.as_ref());
        // What the program has said comes before its end.
        self.hear();
        match self.next_signal()? {
            Signal::SIGCHLD => self.reap(),
            signal => {
                if asks_to_end(signal) {
                    self.asked_to_end.get_or_insert_with(Instant::now);
                }
                // It may have ended at this moment; then its SIGCHLD comes next.
                let _ = kill(self.child, signal);
                None
            }
        }
    }

    fn hear(&mut self) {
        let Some(lives) = &mut self.lives else { return };
        let elapsed = if self.starts == 1 { Duration::ZERO } else { self.began.elapsed() };
        // A life that was killed may have said something before the next one has asked.
        let mut news = lives.news();
        lives.admit(self.child, elapsed);
        news.extend(lives.news());
        for news in news {
            match news {
                News::Guardian(pid, budget) => self.guardians.push((Pid::from_raw(pid), budget)),
                News::OutcomeIsKnown => self.can_be_resumed = false,
            }
        }
    }

    fn next_signal(&mut self) -> Option<Signal> {
        let signal = self.signals.read_signal().ok().flatten()?;
        Signal::try_from(i32::try_from(signal.ssi_signo).ok()?).ok()
    }

    /// Reaps every child that has ended; the end of the program, when it is among them.
    fn reap(&mut self) -> Option<End> {
        let mut end = None;
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == self.child => {
                    end = Some(End::Exited(ExitCode(u8::try_from(code).unwrap_or(ExitCode::INTERNAL.0))));
                }
                Ok(WaitStatus::Signaled(pid, Signal::SIGKILL, _)) if pid == self.child => end = Some(End::Killed),
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == self.child => {
                    end = Some(End::Exited(ExitCode::ended_by(u8::try_from(signal as i32).unwrap_or_default())));
                }
                Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => {
                    self.guardians.retain(|(guardian, _)| *guardian != pid);
                }
                // EINVAL: reaped, but it died of a realtime signal, which has no name.
                Err(Errno::EINTR | Errno::EINVAL) => {}
                Ok(_) | Err(_) => break,
            }
        }
        let is_gone = || kill(self.child, None) == Err(Errno::ESRCH);
        end.or_else(|| is_gone().then_some(End::Exited(ExitCode::INTERNAL)))
    }
}

/// How long PID 1 still waits for a guardian with this budget, when the program has ended and a signal has asked for the end this
/// long ago.
fn time_left(budget: Duration, since_end: Duration, since_signal: Option<Duration>, limits: &InitLimits) -> Duration {
    let of_guardian = budget.saturating_add(limits.beyond_budget).saturating_sub(since_end);
    let of_signal = since_signal.map(|since| limits.after_signal.saturating_sub(since));
    of_signal.map_or(of_guardian, |left| left.min(of_guardian))
}

fn asks_to_end(signal: Signal) -> bool {
    matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT | Signal::SIGHUP)
}

/// How the program ended.
enum End {
    Exited(ExitCode),
    Killed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pid_1_waits_as_long_as_the_user_lets_the_guardian_try() {
        let (limits, minutes) = (InitLimits::default(), |minutes: u64| Duration::from_secs(60 * minutes));
        let left = |since_end, since_signal| time_left(minutes(240), since_end, since_signal, &limits);
        assert!(left(minutes(90), None) >= minutes(150));
        assert_eq!(left(minutes(300), None), Duration::ZERO);
        // Then comes SIGKILL.
        assert_eq!(left(minutes(90), Some(Duration::from_secs(1))), Duration::from_secs(7));
        assert_eq!(left(minutes(90), Some(minutes(1))), Duration::ZERO);
    }
}
