//! What kind of failure a row has: what to do about it depends on that.

use serde::{Deserialize, Serialize};

/// The class of a failure. The set is closed; its names are in the results of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FailureClass {
    /// The agent or its LLM failed: a second attempt would be another try of the same task.
    Agent,
    /// The agent finished, and the checks of the task do not pass.
    Checks,
    /// A limit of time, cost or steps.
    Limit,
    /// The environment, the task or the row cannot be used.
    Input,
    /// A sandbox, a server or the LLM's provider was not there. A second attempt may succeed.
    Infrastructure,
    /// A signal ended the run.
    Interrupted,
    /// A bug of the runner.
    Runner,
}

impl FailureClass {
    /// The class of a failed run, by the code of its error and its exit code.
    #[must_use]
    pub(crate) fn of(code: &str, exit_code: u64) -> Self {
        match (code, exit_code) {
            ("ChecksFailed", _) => Self::Checks,
            ("Timeout" | "CostLimitReached" | "MaxIterationsReached", _) => Self::Limit,
            // The server's codes of `openhands.sdk.llm.exceptions` (1.58.0), and a runner that was killed with its machine.
            ("LLMRateLimitError" | "LLMServiceUnavailableError" | "LLMTimeoutError" | "RunnerDied", _) => {
                Self::Infrastructure
            }
            (_, 2 | 78) => Self::Input,
            (_, 69) => Self::Infrastructure,
            (_, 70) => Self::Runner,
            (_, 124) => Self::Limit,
            (_, 129..) => Self::Interrupted,
            _ => Self::Agent,
        }
    }

    /// Whether another attempt in a new sandbox may end better.
    #[must_use]
    pub(crate) const fn is_mended_by_retry(self) -> bool {
        matches!(self, Self::Infrastructure)
    }

    /// Whether the row runs again when its batch is started again.
    #[must_use]
    pub(crate) const fn is_open_for_next_start(self) -> bool {
        matches!(self, Self::Infrastructure | Self::Interrupted)
    }

    /// The name in results and reports.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Checks => "checks",
            Self::Limit => "limit",
            Self::Input => "input",
            Self::Infrastructure => "infrastructure",
            Self::Interrupted => "interrupted",
            Self::Runner => "runner",
        }
    }

    /// What to do about rows that failed so.
    #[must_use]
    pub(crate) const fn help(self) -> &'static str {
        match self {
            Self::Agent => "look at the reports of these rows; make the task more precise, or choose another model",
            Self::Checks => {
                "look at the checks in the reports of these rows; raise `limits.attempts`, or make the task more precise"
            }
            Self::Limit => "raise the limit in the task, or in a column of these rows",
            Self::Input => "correct the task or the rows; `openhands-runner check TASK --rows FILE` tests them",
            Self::Infrastructure | Self::Interrupted => "start these rows again in the same folder",
            Self::Runner => "start these rows again with `RUST_LOG=debug`, and report the bug",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_the_class_of_what_can_be_done_about_it() {
        for (code, exit_code, class) in [
            ("AgentStuck", 1, FailureClass::Agent),
            ("SetupFailed", 1, FailureClass::Agent),
            ("ChecksFailed", 1, FailureClass::Checks),
            ("CostLimitReached", 1, FailureClass::Limit),
            ("Timeout", 124, FailureClass::Limit),
            ("InvalidInput", 78, FailureClass::Input),
            ("SandboxUnavailable", 69, FailureClass::Infrastructure),
            ("LLMRateLimitError", 1, FailureClass::Infrastructure),
            ("RunnerDied", 137, FailureClass::Infrastructure),
            ("Terminated", 143, FailureClass::Interrupted),
            ("InternalError", 70, FailureClass::Runner),
        ] {
            assert_eq!(FailureClass::of(code, exit_code), class, "{code}");
            let name = serde_json::to_value(class).unwrap();
            assert_eq!(name, class.name());
        }
    }
}
