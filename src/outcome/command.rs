//! The result of a command in the task file.

use std::fmt;

use openhands_client::secret::Redactor;
use openhands_client::text;
use schemars::JsonSchema;
use serde::Serialize;

/// The longest end of an output in the result, in characters.
pub(crate) const LONGEST_OUTPUT: usize = 4000;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CommandStatus {
    /// It exited with 0.
    Passed,
    /// It exited with another code.
    Failed,
    /// It was ended at its time limit.
    TimedOut,
}

/// The result of a command in the task file.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct CommandResult {
    /// Its name in the task file, or else its command line.
    pub(crate) name: String,
    /// How it ended.
    pub(crate) status: CommandStatus,
    /// Its exit code; left out if it was ended at its time limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exit_code: Option<u8>,
    /// How long it took, in seconds.
    pub(crate) seconds: f64,
    /// The end of what it printed to standard output and standard error.
    pub(crate) output: String,
}

impl CommandResult {
    /// Returns whether it exited with 0.
    #[must_use]
    pub(crate) fn is_passed(&self) -> bool {
        self.status == CommandStatus::Passed
    }

    /// Returns how it ended, as the end of a sentence.
    #[must_use]
    pub(crate) fn ending(&self) -> impl fmt::Display {
        match self.exit_code {
            Some(code) => format!("exited with {code}"),
            None => "reached its time limit".to_owned(),
        }
    }

    /// Returns the same without secrets and with limited lengths.
    #[must_use]
    pub(crate) fn without_secrets(&self, redactor: &Redactor) -> Self {
        let clean = |text: &str| redactor.redact(&text::printable(text)).into_owned();
        Self { name: clean(&self.name), output: text::ending(&clean(&self.output), LONGEST_OUTPUT), ..self.clone() }
    }
}

/// The last result of a check of the task.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct CheckResult {
    /// The result of its command.
    #[serde(flatten)]
    pub(crate) command: CommandResult,
    /// Files that its command line calls and that have changed since the agent started.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) changed: Vec<String>,
}

impl CheckResult {
    /// Returns the same without secrets and with limited lengths.
    #[must_use]
    pub(crate) fn without_secrets(&self, redactor: &Redactor) -> Self {
        let changed = self.changed.iter().map(|path| redactor.redact(path).into_owned()).collect();
        Self { command: self.command.without_secrets(redactor), changed }
    }
}
