//! Short commands of our own in a sandbox, and their scripts.

use std::fmt;
use std::time::Duration;

use crate::agent_server::AgentServer;
use crate::http::HttpError;
use crate::text;

/// The time limit of a command of our own: a few file operations.
pub(super) const HOUSEKEEPING: Duration = Duration::from_secs(60);
/// The longest error text of a shell that is kept, in characters.
const LONGEST_REASON: usize = 600;

/// A command could not be run or followed.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// The request to the agent-server failed.
    #[error("{doing} failed")]
    Request {
        /// What the request was for, such as "starting the command".
        doing: &'static str,
        /// The error of the request.
        source: HttpError,
    },
    /// The sandbox cannot run commands in the required way.
    #[error("{doing} failed in the sandbox: {reason}")]
    Sandbox {
        /// What failed, such as "preparing the command".
        doing: &'static str,
        /// The error output of the sandbox's shell.
        reason: String,
    },
    /// A name that no shell accepts for an environment variable.
    #[error("`{0}` is not a valid name for a variable")]
    Variable(String),
}

impl fmt::Debug for ExecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::chain(self))
    }
}

impl ExecError {
    pub(super) fn request(doing: &'static str) -> impl FnOnce(HttpError) -> Self {
        move |source| Self::Request { doing, source }
    }
}

/// Runs a short command.
pub(super) async fn housekeeping(server: &AgentServer, doing: &'static str, line: &str) -> Result<(), ExecError> {
    ask(server, doing, line).await.map(drop)
}

/// Runs a short command and returns its output without the last line break.
pub(super) async fn ask(server: &AgentServer, doing: &'static str, line: &str) -> Result<String, ExecError> {
    let done = server.client.execute(line, HOUSEKEEPING).await.map_err(ExecError::request(doing))?;
    if done.is_success() {
        return Ok(done.stdout().trim_end().to_owned());
    }
    let reason = match (done.exit_code, done.stderr().trim()) {
        (Some(code), "") => format!("exit code {code}"),
        (None, "") => "no exit code".to_owned(),
        (_, words) => text::bounded(words, LONGEST_REASON),
    };
    Err(ExecError::Sandbox { doing, reason })
}

/// Returns a script as a command line with this text as `$1`.
pub(super) fn with_argument(script: &str, argument: &str) -> String {
    format!("set -- {}\n{script}", shell_words::quote(argument))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Output, Stdio};

    use super::*;

    const KIND: &str = include_str!("scripts/kind.sh");
    const START: &str = include_str!("scripts/start_command.sh");
    const END: &str = include_str!("scripts/end_command.sh");

    fn is_there(program: &str) -> bool {
        Command::new(program).arg("-c").arg(":").stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// Returns the shells of this machine that a sandbox may have as its `sh`.
    fn shells() -> Vec<Vec<&'static str>> {
        let mut shells: Vec<Vec<&str>> =
            ["sh", "dash", "bash"].into_iter().filter(|shell| is_there(shell)).map(|shell| vec![shell]).collect();
        if Command::new("busybox").args(["sh", "-c", ":"]).status().is_ok_and(|status| status.success()) {
            shells.push(vec!["busybox", "sh"]);
        }
        shells
    }

    fn run(shell: &[&str], line: &str) -> Output {
        Command::new(shell[0]).args(&shell[1..]).args(["-c", line]).output().unwrap()
    }

    #[test]
    fn every_shell_says_what_a_path_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("it's a file"), "").unwrap();
        assert!(Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
        for shell in shells() {
            for (name, kind) in [
                ("", "folder"),
                ("it's a file", "file"),
                ("fifo", "special"),
                ("new", "nothing"),
                ("missing/new", "no folder"),
                ("it's a file/new", "no folder"),
            ] {
                let output = run(&shell, &with_argument(KIND, &path(name)));
                assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), kind, "{shell:?} {name}");
            }
        }
    }

    #[test]
    fn every_shell_starts_a_command_with_its_input_and_ends_it_with_its_children() {
        for shell in shells() {
            let folder = tempfile::tempdir().unwrap();
            let path = |name: &str| folder.path().join(name);
            std::fs::write(path("script"), "cat\nsleep 600 &\necho begun >&2\nwait\n").unwrap();
            std::fs::write(path("stdin"), "the input").unwrap();
            let here = folder.path().to_str().unwrap();
            let mut started = Command::new(shell[0]);
            started.args(&shell[1..]).args(["-c", &with_argument(START, here)]);
            let mut started = started.stderr(Stdio::piped()).spawn().unwrap();
            while std::fs::read_to_string(path("stderr")).unwrap_or_default() != "begun\n" {
                assert_eq!(started.try_wait().unwrap(), None, "{shell:?}");
                std::thread::sleep(Duration::from_millis(10));
            }
            assert_eq!(std::fs::read_to_string(path("stdout")).unwrap(), "the input", "{shell:?}");
            let pid: u32 = std::fs::read_to_string(path("pid")).unwrap().trim().parse().unwrap();
            assert_eq!(pid, started.id(), "{shell:?}");
            let reaped = std::thread::spawn(move || started.wait().unwrap());
            let ended = run(&shell, &with_argument(END, here));
            assert_eq!(String::from_utf8_lossy(&ended.stderr), "", "{shell:?}");
            assert!(!reaped.join().unwrap().success());
            let group = run(&["sh"], &format!("kill -s 0 -- -{pid}"));
            assert!(!group.status.success(), "{shell:?}: a child is left");
        }
    }

    #[test]
    fn shellcheck_has_nothing_to_say_about_the_scripts() {
        if !Command::new("shellcheck").arg("--version").output().is_ok_and(|output| output.status.success()) {
            return;
        }
        for script in [KIND, START, END] {
            let mut child =
                Command::new("shellcheck").arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
    }
}
