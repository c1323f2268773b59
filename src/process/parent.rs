//! The shell that started this process and waits for it.
//!
//! An entrypoint such as `./openhands-runner` leaves the shell that runs it in place, with every key in an environment or a memory that
//! other processes of the same user can read. `exec ./openhands-runner` replaces it.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use nix::unistd::{Pid, getppid};

/// The programs that are shells, by the names of their files.
const SHELLS: [&str; 9] = ["ash", "bash", "busybox", "dash", "fish", "ksh", "mksh", "sh", "zsh"];

/// What to do about it.
pub(crate) const ADVICE: &str = "start the program with `exec`, as in `exec ./openhands-runner`";

/// The name of a shell of our user that started this process and waits for it. A person at a terminal has one, and keeps it.
#[must_use]
pub(crate) fn waiting_shell() -> Option<String> {
    if io::stdin().is_terminal() {
        return None;
    }
    shell(getppid()).filter(|_| is_of_our_user(getppid()))
}

fn shell(pid: Pid) -> Option<String> {
    // The file itself: a script has its own name, and the shell's file.
    let program = fs::read_link(format!("/proc/{pid}/exe")).or_else(|_| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm"))?;
        io::Result::Ok(PathBuf::from(name.trim()))
    });
    let name = program.ok()?.file_name()?.to_str()?.to_owned();
    SHELLS.contains(&name.as_str()).then_some(name)
}

fn is_of_our_user(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    // Real, effective, saved and file system user (proc(5)).
    uids.and_then(|uids| uids.split_whitespace().nth(1)?.parse().ok()) == Some(rustix::process::geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_is_known_by_its_file_also_when_it_runs_a_script() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("entrypoint");
        fs::write(&script, "read line\n").unwrap();
        for (program, is_shell) in [("sh", true), ("cat", false)] {
            let mut command = std::process::Command::new(program);
            if is_shell {
                command.arg(&script);
            }
            let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
            let pid = Pid::from_raw(child.id().try_into().unwrap());
            assert_eq!(shell(pid).is_some(), is_shell, "{program}");
            assert!(is_of_our_user(pid));
            drop(child.stdin.take());
            child.wait().unwrap();
        }
        assert_eq!(shell(Pid::from_raw(i32::MAX)), None);
    }
}
