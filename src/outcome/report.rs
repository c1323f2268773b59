//! An outcome in the two forms in which it leaves: the completion report and the result object.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::OutcomeStatus;
use crate::agent_server::wire::Cost;
use crate::answer::TaskOutcome;

/// Body of the completion callback, `POST …/v1/runs/{run id}/complete`.
///
/// Any other field is a 422 and a lost completion (`openhands-automation` 1.25.0).
#[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize)]
pub struct Report {
    /// COMPLETED or FAILED.
    pub status: OutcomeStatus,
    /// The run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
    /// US dollars, left out when unknown.
    #[serde(default, skip_serializing_if = "Cost::is_unknown")]
    pub cost: Cost,
    /// On FAILED: an object in the shape of the server's conversation error event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
    /// How the task went; services before 1.9.0 refuse it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_outcome: Option<TaskOutcome>,
}

impl Report {
    /// The same outcome in the fewest words: for a service that refuses the full body.
    #[must_use]
    pub fn plainest(&self) -> Self {
        let error = self.error.as_ref().map(|error| {
            let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
            Value::from(format!("{}: {}", text("code"), text("detail")))
        });
        Self { conversation_id: None, cost: Cost::default(), task_outcome: None, error, ..self.clone() }
    }
}

/// The result of a run, as `--format json` and `--result` give it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "openhands-runner result")]
pub struct RunResult {
    /// COMPLETED or FAILED.
    pub status: OutcomeStatus,
    /// `AUTOMATION_RUN_ID`, else `RUN_ID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The agent-server's id of the conversation, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
    /// The sandbox of a run that is driven from outside, also when it has been deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox_id: Option<String>,
    /// US dollars that the conversation has cost; left out when unknown.
    #[serde(skip_serializing_if = "Cost::is_unknown")]
    pub cost: Cost,
    /// The agent's final message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How the task went, where the agent was asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_outcome: Option<TaskOutcome>,
    /// The object of the task's `result.schema`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    /// Why the run failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ResultError>,
    /// The exit code of the process.
    pub exit_code: u8,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ResultError {
    /// The server's code, such as `LLMAuthenticationError`, else one of this program's.
    pub code: String,
    /// The reason for people.
    pub detail: String,
}
