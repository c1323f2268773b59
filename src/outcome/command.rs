//! What a command of the task file did, for the result.

use std::fmt;

use openhands_client::secret::Redactor;
use openhands_client::text;
use schemars::JsonSchema;
use serde::Serialize;

/// The longest end of an output that the result has, in characters.
pub(crate) const LONGEST_OUTPUT: usize = 4000;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CommandStatus {
    /// With exit code 0.
    Passed,
    /// With another exit code.
    Failed,
    /// Its time limit ended it.
    TimedOut,
}

/// What a command of the task file did.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct CommandResult {
    /// Its name in the task file, else its command line.
    pub(crate) name: String,
    /// How it ended.
    pub(crate) status: CommandStatus,
    /// Its exit code; left out if the time limit ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exit_code: Option<u8>,
    /// How long it took.
    pub(crate) seconds: f64,
    /// The end of what it printed to standard output and standard error.
    pub(crate) output: String,
}

impl CommandResult {
    /// Whether it ended with 0.
    #[must_use]
    pub(crate) fn is_passed(&self) -> bool {
        self.status == CommandStatus::Passed
    }

    /// How it ended, as the end of a sentence.
    #[must_use]
    pub(crate) fn ending(&self) -> impl fmt::Display {
        match self.exit_code {
            Some(code) => format!("exited with {code}"),
            None => "reached its time limit".to_owned(),
        }
    }

    /// The same without secrets, and in bounds.
    #[must_use]
    pub(crate) fn without_secrets(&self, redactor: &Redactor) -> Self {
        let clean = |text: &str| redactor.redact(&text::printable(text)).into_owned();
        Self { name: clean(&self.name), output: text::ending(&clean(&self.output), LONGEST_OUTPUT), ..self.clone() }
    }
}

/// What a check of the task did last.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct CheckResult {
    /// What its command did.
    #[serde(flatten)]
    pub(crate) command: CommandResult,
    /// Files that its command line calls and that were changed since the agent started.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) changed: Vec<String>,
}

impl CheckResult {
    /// The same without secrets, and in bounds.
    #[must_use]
    pub(crate) fn without_secrets(&self, redactor: &Redactor) -> Self {
        let changed = self.changed.iter().map(|path| redactor.redact(path).into_owned()).collect();
        Self { command: self.command.without_secrets(redactor), changed }
    }
}
