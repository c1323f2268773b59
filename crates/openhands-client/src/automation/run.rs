//! Runs as the service describes them.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use crate::ids::{AutomationId, RunId};

/// The status of a run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
#[non_exhaustive]
pub enum RunStatus {
    /// It waits for its start.
    Pending,
    /// It runs.
    Running,
    /// It has done its work.
    Completed,
    /// It has failed.
    Failed,
    /// Someone has cancelled it.
    Cancelled,
    /// It was never started.
    Skipped,
    /// A status of a newer service.
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
    /// Whether the run is over.
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

/// Why a run has failed, as a program can read it.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct StatusDetail {
    /// The code that the run gave, such as `Timeout`.
    #[serde(default)]
    pub code: Option<String>,
    /// The service's own class of the failure, such as `auth`.
    #[serde(default)]
    pub kind: Option<String>,
    /// What happened.
    #[serde(default)]
    pub detail: Option<String>,
}

/// A run of an automation.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct AutomationRun {
    /// Its id.
    pub id: RunId,
    /// The automation.
    pub automation_id: AutomationId,
    /// Its status.
    pub status: RunStatus,
    /// What it does now, or did last.
    #[serde(default)]
    pub current_phase: Option<String>,
    /// Why it has failed, as text.
    #[serde(default)]
    pub error_detail: Option<String>,
    /// Why it has failed, as a program can read it.
    #[serde(default)]
    pub status_detail: Option<StatusDetail>,
    /// What triggered it.
    #[serde(default)]
    pub trigger_source: Option<String>,
    /// Its conversation.
    #[serde(default)]
    pub conversation_id: Option<String>,
    /// Its sandbox, in OpenHands Cloud.
    #[serde(default)]
    pub sandbox_id: Option<String>,
    /// What it has cost, in US dollars.
    #[serde(default)]
    pub cost: Option<f64>,
    /// When it was triggered (RFC 3339).
    #[serde(default)]
    pub created_at: Option<String>,
    /// When it was started (RFC 3339).
    #[serde(default)]
    pub started_at: Option<String>,
    /// When it ended (RFC 3339).
    #[serde(default)]
    pub completed_at: Option<String>,
    #[serde(default)]
    run_metadata: Value,
}

impl AutomationRun {
    /// The final message of its agent.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.finish("message")
    }

    /// How the agent judges its task: `success`, `partial_success`, `blocked`, `failed` or `unknown`.
    #[must_use]
    pub fn task_status(&self) -> Option<&str> {
        self.finish("status")
    }

    /// What the agent says about the outcome of its task.
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
