//! PID 1 of a container: runs the program as a child, forwards signals to it, reaps orphans, passes on its exit code.
//!
//! The kernel gives PID 1 duties that the program should not have: every orphan of the container becomes its child, and
//! when it ends everything else is killed, a guardian at work included. So the process that is started as PID 1 only does
//! these duties, without a runtime.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::conceal::conceal;
use crate::config::env::SECRET_NAMES;
use crate::guardian;
use crate::outcome::ExitCode;

/// `docker stop` kills 10 s after its SIGTERM; a guardian gets what is left of that after the runner.
const AFTER_SIGNAL: Duration = Duration::from_secs(8);
/// A guardian ends by itself when its own budget is over; this is only a bound.
const AFTER_DEATH: Duration = Duration::from_secs(3600);
/// The kernel keeps 15 bytes of a process's name.
const KEPT_OF_A_NAME: usize = 15;
/// How often the end of a guardian is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// Whether this process has the duties of PID 1.
#[must_use]
pub fn is_due() -> bool {
    std::process::id() == 1
}

/// Runs this program once more as a child, with the same arguments and environment, and does the duties of PID 1 until the
/// child has ended and no guardian is at work any more.
#[must_use]
pub fn run() -> ExitCode {
    // From here on every signal waits until it is asked for, but for realtime signals, which mean nothing to PID 1.
    let signals: SigSet = Signal::iterator().collect();
    if signals.thread_block().is_err() {
        return ExitCode::INTERNAL;
    }
    // A group of its own: Ctrl-C in a terminal reaches us alone, and the child once, from us.
    let child = Command::new("/proc/self/exe")
        .arg0("openhands-runner")
        .args(std::env::args_os().skip(1))
        .process_group(0)
        .spawn();
    let Ok(child) = child else { return ExitCode::INTERNAL };
    // It has the environment now; nobody needs ours any more.
    conceal(SECRET_NAMES);
    let Ok(child) = i32::try_from(child.id()).map(Pid::from_raw) else { return ExitCode::INTERNAL };

    let mut asked_to_end = None;
    let mut exit_code = None;
    while exit_code.is_none() {
        match signals.wait() {
            Ok(Signal::SIGCHLD) => exit_code = reap(child),
            Ok(signal) => {
                if matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT | Signal::SIGHUP) {
                    asked_to_end.get_or_insert_with(Instant::now);
                }
                // It may have ended at this moment; then its SIGCHLD comes next.
                let _ = kill(child, signal);
            }
            Err(_) => return ExitCode::INTERNAL,
        }
    }
    let deadline = asked_to_end.map_or(Instant::now() + AFTER_DEATH, |asked| asked + AFTER_SIGNAL);
    while guardian_is_at_work() && Instant::now() < deadline {
        std::thread::sleep(LOOK);
        reap(child);
    }
    exit_code.unwrap_or(ExitCode::INTERNAL)
}

/// Reaps every child that has ended; the exit code of the one that matters, when it is among them.
fn reap(child: Pid) -> Option<ExitCode> {
    let mut exit_code = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => {
                exit_code = Some(ExitCode(u8::try_from(code).unwrap_or(ExitCode::INTERNAL.0)));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                exit_code = Some(ExitCode::ended_by(u8::try_from(signal as i32).unwrap_or_default()));
            }
            // EINVAL: reaped, but it died of a realtime signal, which has no name.
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(Errno::EINTR | Errno::EINVAL) => {}
            Ok(_) | Err(_) => break,
        }
    }
    let is_gone = || kill(child, None) == Err(Errno::ESRCH);
    exit_code.or_else(|| is_gone().then_some(ExitCode::INTERNAL))
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
