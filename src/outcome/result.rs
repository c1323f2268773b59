//! The result object of a run.

use openhands_client::agent_server::wire::Cost;
use openhands_client::automation::completion::{OutcomeStatus, TaskOutcome};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// The result of a run, as `--format json` and `--result` give it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "openhands-runner result")]
pub(crate) struct RunResult {
    /// COMPLETED or FAILED.
    pub(crate) status: OutcomeStatus,
    /// `AUTOMATION_RUN_ID`, else `RUN_ID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run_id: Option<String>,
    /// The agent-server's id of the conversation, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) conversation_id: Option<String>,
    /// The sandbox of a run that is driven from outside, also when it has been deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sandbox_id: Option<String>,
    /// US dollars that the conversation has cost; left out when unknown.
    #[serde(skip_serializing_if = "Cost::is_unknown")]
    pub(crate) cost: Cost,
    /// The agent's final message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// How the task went, where the agent was asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) task_outcome: Option<TaskOutcome>,
    /// The object of the task's `result.schema`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<Value>,
    /// Why the run failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ResultError>,
    /// What the run did not have, or did not find, without failing for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
    /// The exit code of the process.
    pub(crate) exit_code: u8,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ResultError {
    /// The server's code, such as `LLMAuthenticationError`, else one of this program's.
    pub(crate) code: String,
    /// The reason for people.
    pub(crate) detail: String,
}
