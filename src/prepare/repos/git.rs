//! The system's git, as a child process that asks no questions and keeps no credentials.
//!
//! Credentials reach it through its environment alone: a helper that git asks for one scheme, host and port. They are in no
//! argument, in no address and in no file, and helpers of the machine, which might store them, are turned off. Only a fetch gets
//! credentials; a checkout, which may run programs, gets none.
//!
//! The configuration and the attributes of the machine (`/etc/gitconfig`, `~/.gitconfig`) are ignored, because an earlier agent may
//! have written them. A user who needs them, for a proxy or a certificate for example, sets `GIT_CONFIG_GLOBAL` or
//! `GIT_CONFIG_SYSTEM` to the file.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use openhands_client::retry::{Retry, Retryable};
use openhands_client::text;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::input::env::{self, SECRET_NAMES};
use crate::plan::access::Credentials;

/// Git did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    /// The program cannot be started.
    #[error("git cannot be started")]
    Start(#[source] std::io::Error),
    /// It ended with an error, in these words.
    #[error("{0}")]
    Refused(String),
    /// It took too long.
    #[error("no end within {0:?}")]
    Timeout(Duration),
}

/// What git, curl and ssh say of a network or a server that may be back in a moment.
const PASSING: [&str; 12] = [
    "Could not resolve host",
    "Temporary failure in name resolution",
    "Failed to connect",
    "Connection refused",
    "Connection reset",
    "timed out",
    "Empty reply from server",
    "early EOF",
    "RPC failed",
    "hung up unexpectedly",
    "returned error: 429",
    "returned error: 5",
];

/// What git and ssh say of a key that the server refuses: a retry changes nothing.
const FINAL: [&str; 7] = [
    "Permission denied (",
    "Host key verification failed",
    "Authentication failed",
    "could not read Username",
    "could not read Password",
    "returned error: 401",
    "returned error: 403",
];

impl Retryable for GitError {
    fn retry(&self) -> Retry {
        match self {
            Self::Refused(words) if FINAL.iter().any(|part| words.contains(part)) => Retry::No,
            Self::Refused(words) if PASSING.iter().any(|part| words.contains(part)) => Retry::Soon,
            Self::Start(_) | Self::Refused(_) | Self::Timeout(_) => Retry::No,
        }
    }
}

/// The longest error text that is kept, in characters.
const LONGEST_DETAIL: usize = 600;
/// What is kept of the program's error output, in bytes.
const LONGEST_OUTPUT: usize = 64 * 1024;

/// Prints the credentials that git asks for; they come from the variables below.
const HELPER: &str = "!f() { test \"$1\" = get && \
    printf 'username=%s\\npassword=%s\\n' \"$OPENHANDS_RUNNER_GIT_USER\" \"$OPENHANDS_RUNNER_GIT_PASSWORD\"; }; f";
const USER: &str = "OPENHANDS_RUNNER_GIT_USER";
const PASSWORD: &str = "OPENHANDS_RUNNER_GIT_PASSWORD";

/// Runs git in this directory. Dropping the future kills it and its children.
///
/// # Errors
/// [`GitError`].
pub(crate) async fn git<A: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = A>,
    directory: &Path,
    credentials: Option<&Credentials>,
    limit: Duration,
) -> Result<(), GitError> {
    run(arguments, directory, credentials, limit).await.map(drop)
}

/// The same for the end of what git writes, at most 64 KiB. Git gets no credentials.
///
/// # Errors
/// [`GitError`].
pub(crate) async fn git_output<A: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = A>,
    directory: &Path,
    limit: Duration,
) -> Result<String, GitError> {
    run(arguments, directory, None, limit).await
}

async fn run<A: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = A>,
    directory: &Path,
    credentials: Option<&Credentials>,
    limit: Duration,
) -> Result<String, GitError> {
    let mut command = Command::new("git");
    command.args(arguments).current_dir(directory);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    set_environment(&mut command, credentials);
    command.process_group(0);
    let mut child = Group(command.spawn().map_err(GitError::Start)?);
    let ended = async {
        let (stdout, stderr) = (child.0.stdout.take(), child.0.stderr.take());
        let (output, words) = tokio::join!(end_of(stdout), end_of(stderr));
        (child.0.wait().await, output, words)
    };
    match timeout(limit, ended).await {
        Ok((Ok(status), output, _)) if status.success() => Ok(String::from_utf8_lossy(&output).into_owned()),
        Ok((Ok(status), _, words)) => {
            let words = String::from_utf8_lossy(&words);
            let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
            let words = if words.is_empty() { format!("git ended with {status}") } else { words };
            Err(GitError::Refused(text::ending(&words, LONGEST_DETAIL)))
        }
        Ok((Err(error), ..)) => Err(GitError::Start(error)),
        Err(_) => {
            child.kill();
            // Its files can be removed when it has ended.
            let _ = child.0.wait().await;
            Err(GitError::Timeout(limit))
        }
    }
}

/// The end of an output: a server may have a lot to say before.
async fn end_of(output: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let Some(mut output) = output else { return Vec::new() };
    let mut words = Vec::new();
    while let Ok(1..) = output.read_buf(&mut words).await {
        if words.len() > 2 * LONGEST_OUTPUT {
            words.drain(..words.len() - LONGEST_OUTPUT);
        }
    }
    words
}

/// A child with a process group of its own, which ends with this value: git leaves the work to children.
struct Group(Child);

impl Group {
    fn kill(&mut self) {
        // Once the child is reaped it has no id any more, and its number may be another's.
        if let Some(group) = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

fn set_environment(command: &mut Command, credentials: Option<&Credentials>) {
    // PID 1 keeps their user parts out of our own environment.
    command.envs(env::proxies());
    // What a caller's git has set must not lead ours to other files, programs or logs.
    for name in env::inherited_git_variables() {
        command.env_remove(name);
    }
    for name in SECRET_NAMES {
        command.env_remove(name);
    }
    // The configuration of the machine may name filters, proxies, helpers and ssh commands that an earlier agent has left. It counts
    // only where the user's environment names its file.
    let chosen = env::chosen_git_configuration();
    if !chosen.iter().any(|(name, _)| *name == "GIT_CONFIG_SYSTEM") {
        command.env("GIT_CONFIG_NOSYSTEM", "1");
    }
    command.env("GIT_ATTR_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").envs(chosen);
    // Empty: git asks no program, whatever its configuration names. SSH asks one that says no to everything.
    command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_ASKPASS", "");
    command.env("SSH_ASKPASS", "false").env("SSH_ASKPASS_REQUIRE", "force");
    // Its words are in the language that hints are looked for in.
    command.env("LC_ALL", "C.UTF-8").env_remove("LANGUAGE");
    let scoped = credentials.map(|credentials| format!("credential.{}.helper", credentials.scope));
    let mut settings = vec![
        // An empty helper takes away all that are configured before.
        ("credential.helper", ""),
        // Hooks and monitors of the machine would see our environment.
        ("core.hooksPath", "/dev/null"),
        ("core.fsmonitor", "false"),
        ("core.askPass", ""),
        // Attributes choose filters.
        ("core.attributesFile", "/dev/null"),
    ];
    if let (Some(scoped), Some(credentials)) = (&scoped, credentials) {
        settings.push((scoped, ""));
        settings.push((scoped, HELPER));
        command.env(USER, credentials.user.expose()).env(PASSWORD, credentials.password.expose());
    }
    command.env("GIT_CONFIG_COUNT", settings.len().to_string());
    for (index, (key, value)) in settings.iter().enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{index}"), key).env(format!("GIT_CONFIG_VALUE_{index}"), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_key_is_final_and_a_lost_connection_is_not() {
        for (words, retried) in [
            ("git@github.com: Permission denied (publickey). fatal: Could not read from remote repository.", false),
            ("Host key verification failed. fatal: Could not read from remote repository.", false),
            ("fatal: Authentication failed for 'https://github.com/o/r/'", false),
            ("ssh: connect to host h: Connection timed out; Permission denied (publickey)", false),
            ("ssh: connect to host github.com port 22: Connection refused", true),
            ("fatal: unable to access 'https://h/': The requested URL returned error: 503", true),
            ("fatal: repository 'https://h/' not found", false),
        ] {
            assert_eq!(GitError::Refused(words.to_owned()).retry() != Retry::No, retried, "{words}");
        }
    }

    #[tokio::test]
    async fn git_ignores_the_configuration_of_the_machine() {
        let folder = tempfile::tempdir().unwrap();
        let found =
            git_output(["config", "--list", "--show-scope"], folder.path(), Duration::from_secs(60)).await.unwrap();
        assert!(!found.contains("system\t") && !found.contains("global\t"), "{found}");
    }
}
