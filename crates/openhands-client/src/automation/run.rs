//! Runs of an automation, as the service describes them.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use crate::ids::{AutomationId, RunId};

/// The status of a run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
#[non_exhaustive]
pub enum RunStatus {
    /// The run waits for its start.
    Pending,
    /// The run is in progress.
    Running,
    /// The run has completed.
    Completed,
    /// The run has failed.
    Failed,
    /// The run was cancelled.
    Cancelled,
    /// The run was never started.
    Skipped,
    /// A status that only newer services have.
    Other(String),
}

impl From<String> for RunStatus {
    fn from(name: String) -> Self {
        match name.as_str() {
            "PENDING" => Self::Pending,
            "RUNNING" => Self::Running,
            "COMPLETED" => Self::Completed,
            "FAILED" => Self::Failed,
            "CANCELLED" => Self::Cancelled,
            "SKIPPED" => Self::Skipped,
            _ => Self::Other(name),
        }
    }
}

impl RunStatus {
    /// Returns whether the run is over.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Skipped)
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Skipped => "SKIPPED",
            Self::Other(name) => name,
        })
    }
}

/// The reason of a failed run, for programs.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct StatusDetail {
    /// The code in the run's report, such as `Timeout`.
    #[serde(default)]
    pub code: Option<String>,
    /// The service's classification of the failure, such as `auth`.
    #[serde(default)]
    pub kind: Option<String>,
    /// A description for people.
    #[serde(default)]
    pub detail: Option<String>,
}

/// A run of an automation.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct AutomationRun {
    /// The id of the run.
    pub id: RunId,
    /// The id of the automation.
    pub automation_id: AutomationId,
    /// The status of the run.
    pub status: RunStatus,
    /// The current phase, or the last one.
    #[serde(default)]
    pub current_phase: Option<String>,
    /// The reason of the failure, as text.
    #[serde(default)]
    pub error_detail: Option<String>,
    /// The reason of the failure, for programs.
    #[serde(default)]
    pub status_detail: Option<StatusDetail>,
    /// What triggered it.
    #[serde(default)]
    pub trigger_source: Option<String>,
    /// The id of the conversation.
    #[serde(default)]
    pub conversation_id: Option<String>,
    /// The id of the sandbox in OpenHands Cloud.
    #[serde(default)]
    pub sandbox_id: Option<String>,
    /// The cost of the run, in US dollars.
    #[serde(default)]
    pub cost: Option<f64>,
    /// The time at which it was triggered (RFC 3339).
    #[serde(default)]
    pub created_at: Option<String>,
    /// The time at which it was started (RFC 3339).
    #[serde(default)]
    pub started_at: Option<String>,
    /// The time at which it ended (RFC 3339).
    #[serde(default)]
    pub completed_at: Option<String>,
    #[serde(default)]
    run_metadata: Value,
}

impl AutomationRun {
    /// Returns the final message of the agent.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.finish("message")
    }

    /// Returns the agent's judgement of the task: `success`, `partial_success`, `blocked`, `failed` or `unknown`.
    #[must_use]
    pub fn task_status(&self) -> Option<&str> {
        self.finish("status")
    }

    /// Returns the agent's summary of the outcome.
    #[must_use]
    pub fn outcome_summary(&self) -> Option<&str> {
        self.finish("outcome_summary")
    }

    fn finish(&self, field: &str) -> Option<&str> {
        self.run_metadata.get("finish_tool_response")?.get(field)?.as_str()
    }
}

/// `GET /v1/{id}/runs`.
#[derive(Debug, Deserialize)]
pub(super) struct RunPage {
    pub(super) runs: Vec<AutomationRun>,
}
