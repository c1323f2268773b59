//! PID 1 of a container: runs the program as a child, forwards signals to it, reaps orphans, passes on its exit code.
//!
//! The kernel gives PID 1 duties that the program should not have: every orphan of the container becomes its child, and
//! when it ends everything else is killed, a guardian at work included. So the process that is started as PID 1 only does
//! these duties, without a runtime.

mod life;

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use openhands_client::secret::Secret;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::input::env::{self, RawEnv, SECRET_NAMES};
use crate::input::reporting::Reporting;
use crate::input::time_limits::InitLimits;
use crate::outcome::ExitCode;
use crate::process::guardian;
use crate::process::scrub::scrub;

pub(crate) use life::RestartState;

/// The kernel keeps 15 bytes of a process's name.
const KEPT_OF_A_NAME: usize = 15;
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
/// child has ended and no guardian is at work any more. A child that was killed alone is started again.
#[must_use]
pub(crate) fn run() -> ExitCode {
    // From here on every signal waits until it is asked for, but for realtime signals, which mean nothing to PID 1.
    let signals: SigSet = Signal::iterator().collect();
    let Ok(signals) = signals.thread_block().and_then(|()| SignalFd::with_flags(&signals, SfdFlags::all())) else {
        return ExitCode::INTERNAL;
    };
    let environment = env::whole();
    // Only a run with a guardian is handed over, and what is left of its agent-server ended.
    let reporting = Reporting::from_env(&RawEnv::of_process().0).0;
    let mut can_go_on = reporting.run_id.is_some() && reporting.callback_url.is_some();
    let (began, server_key) = (Instant::now(), Secret::new(uuid::Uuid::new_v4().to_string()));
    let start_life = |elapsed| start(&environment, &RestartState::text(elapsed, &server_key));
    let Some(mut child) = start_life(Duration::ZERO) else { return ExitCode::INTERNAL };
    // No one needs to see ours any more.
    scrub(SECRET_NAMES);

    let mut asked_to_end = None;
    let mut starts = 1;
    let exit_code = loop {
        let end = match next_signal(&signals, None) {
            Some((Signal::SIGCHLD, _)) => reap(child),
            Some((life::OUTCOME_IS_KNOWN, sender)) if sender == child => {
                can_go_on = false;
                None
            }
            Some((signal, _)) => {
                if asks_to_end(signal) {
                    asked_to_end.get_or_insert_with(Instant::now);
                }
                // It may have ended at this moment; then its SIGCHLD comes next.
                let _ = kill(child, signal);
                None
            }
            None => None,
        };
        match end {
            None => {}
            Some(End::Exited(exit_code)) => break exit_code,
            // No one kills it alone but the kernel, for want of memory. It goes on where it was.
            Some(End::Killed) if can_go_on && asked_to_end.is_none() && starts < MOST_STARTS => {
                starts += 1;
                let Some(again) = start_life(began.elapsed()) else { break ExitCode::INTERNAL };
                child = again;
            }
            Some(End::Killed) => break ExitCode::ended_by(KILL),
        }
    };
    let (ended, limits) = (Instant::now(), InitLimits::default());
    while guardian_is_at_work() {
        if ended.elapsed() > limits.after_death
            || asked_to_end.is_some_and(|asked| asked.elapsed() > limits.after_signal)
        {
            break;
        }
        if next_signal(&signals, Some(limits.guardian_poll)).is_some_and(|(signal, _)| asks_to_end(signal)) {
            asked_to_end.get_or_insert_with(Instant::now);
        }
        reap(child);
    }
    exit_code
}

fn start(environment: &[(OsString, OsString)], life: &str) -> Option<Pid> {
    let child = Command::new("/proc/self/exe")
        .arg0("openhands-runner")
        .args(std::env::args_os().skip(1))
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .env(life::NAME, life)
        // A group of its own: Ctrl-C in a terminal reaches us alone, and the child once, from us.
        .process_group(0)
        .spawn();
    i32::try_from(child.ok()?.id()).ok().map(Pid::from_raw)
}

fn asks_to_end(signal: Signal) -> bool {
    matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT | Signal::SIGHUP)
}

/// The next signal and its sender, if it comes within this time.
fn next_signal(signals: &SignalFd, limit: Option<Duration>) -> Option<(Signal, Pid)> {
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    let _ = poll(&mut [PollFd::new(signals, PollFlags::IN)], limit.as_ref());
    let signal = signals.read_signal().ok().flatten()?;
    let sender = Pid::from_raw(i32::try_from(signal.ssi_pid).unwrap_or_default());
    Some((Signal::try_from(i32::try_from(signal.ssi_signo).ok()?).ok()?, sender))
}

/// How the child ended.
enum End {
    Exited(ExitCode),
    Killed,
}

/// Reaps every child that has ended; the end of the one that matters, when it is among them.
fn reap(child: Pid) -> Option<End> {
    let mut end = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => {
                end = Some(End::Exited(ExitCode(u8::try_from(code).unwrap_or(ExitCode::INTERNAL.0))));
            }
            Ok(WaitStatus::Signaled(pid, Signal::SIGKILL, _)) if pid == child => end = Some(End::Killed),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                end = Some(End::Exited(ExitCode::ended_by(u8::try_from(signal as i32).unwrap_or_default())));
            }
            // EINVAL: reaped, but it died of a realtime signal, which has no name.
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(Errno::EINTR | Errno::EINVAL) => {}
            Ok(_) | Err(_) => break,
        }
    }
    let is_gone = || kill(child, None) == Err(Errno::ESRCH);
    end.or_else(|| is_gone().then_some(End::Exited(ExitCode::INTERNAL)))
}

/// A guardian whose runner has ended is our child.
fn guardian_is_at_work() -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok()).any(|status| {
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let is_guardian = field("Name:") == Some(&guardian::NAME[..KEPT_OF_A_NAME]);
        is_guardian && !field("State:").is_some_and(|state| state.starts_with('Z'))
    })
}
