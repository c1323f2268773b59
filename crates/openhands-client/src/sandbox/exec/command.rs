//! A command for a sandbox, and the script that runs it there.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ExecError;
use crate::secret::Secret;

/// A command to run in a sandbox.
#[derive(Debug, Clone)]
pub struct Command {
    /// The last line of the script. The shell that runs the script replaces itself with this command.
    exec: String,
    directory: Option<String>,
    environment: BTreeMap<String, Secret>,
    pub(super) limit: Option<Duration>,
}

impl From<&str> for Command {
    fn from(line: &str) -> Self {
        Self::shell(line)
    }
}

impl From<String> for Command {
    fn from(line: String) -> Self {
        Self::shell(line)
    }
}

impl From<&Command> for Command {
    fn from(command: &Command) -> Self {
        command.clone()
    }
}

impl Command {
    /// Creates a command from a line for the sandbox's `sh`.
    pub fn shell(line: impl AsRef<str>) -> Self {
        Self::program(["sh", "-c", line.as_ref()])
    }

    /// Creates a command from a program with its arguments, each passed unchanged. No shell stays as its parent, so only the
    /// program holds its environment.
    pub fn program<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> Self {
        Self { exec: shell_words::join(words), directory: None, environment: BTreeMap::new(), limit: None }
    }

    /// Sets the working directory (default: the agent-server's own directory).
    #[must_use]
    pub fn directory(mut self, directory: impl Into<String>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Adds an environment variable to those that the agent-server sets.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Sets a time limit, after which the command is ended.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    pub(super) fn script(&self) -> String {
        use std::fmt::Write as _;
        let mut script = "rm -f -- \"$0\"\n".to_owned();
        // Writing to a `String` cannot fail.
        for (name, value) in &self.environment {
            let _ = writeln!(script, "export {name}={}", shell_words::quote(value.expose()));
        }
        if let Some(directory) = &self.directory {
            let _ = writeln!(script, "cd -- {} || exit 1", shell_words::quote(directory));
        }
        let _ = writeln!(script, "exec {}", self.exec);
        script
    }

    /// Checks that a shell accepts the names of all variables.
    ///
    /// # Errors
    /// [`ExecError::Variable`].
    pub(super) fn check(&self) -> Result<(), ExecError> {
        match self.environment.keys().find(|name| !is_variable(name)) {
            Some(name) => Err(ExecError::Variable(name.clone())),
            None => Ok(()),
        }
    }
}

fn is_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_quotes_what_it_is_given() {
        let command = Command::program(["echo", "it's", "a b"]).directory("/a b").env("A", Secret::new("x'y $Z\n"));
        assert_eq!(
            command.script(),
            "rm -f -- \"$0\"\nexport A='x'\\''y $Z\n'\ncd -- '/a b' || exit 1\nexec echo 'it'\\''s' 'a b'\n"
        );
    }

    #[test]
    fn names_of_variables_are_those_of_shells() {
        for name in ["A", "_a1"] {
            assert!(is_variable(name));
        }
        for name in ["", "1A", "A-B", "A;B", "Ä"] {
            assert!(!is_variable(name), "{name}");
        }
    }
}
