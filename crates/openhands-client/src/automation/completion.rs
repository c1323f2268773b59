//! The body of the completion callback.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::agent_server::wire::Cost;
use crate::ids::ConversationId;

/// The status of a run in the completion callback. The automation service accepts these two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum OutcomeStatus {
    /// The task is done.
    Completed,
    /// Any other result.
    Failed,
}

/// The result of the task, as the agent reports it. It does not change the run's status: a run whose agent could not do the
/// task has completed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TaskOutcome {
    /// The result in one word.
    pub status: TaskStatus,
    /// The result in a few sentences.
    #[serde(rename = "outcome_summary")]
    pub summary: String,
}

/// The result of the task in one word. The automation service defines the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TaskStatus {
    /// The task is done.
    Success,
    /// A part of the task is done.
    PartialSuccess,
    /// The agent is blocked by something that it cannot change.
    Blocked,
    /// The task cannot be done, or was not done.
    Failed,
    /// The agent does not know the result.
    Unknown,
}

/// Body of the completion callback, `POST …/v1/runs/{run id}/complete`.
///
/// The service rejects any other field with 422, and the completion is lost (`openhands-automation` 1.25.0).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompletionReport {
    /// COMPLETED or FAILED.
    pub status: OutcomeStatus,
    /// The id of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The id of the conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
    /// The cost in US dollars, left out if it is unknown.
    #[serde(default, skip_serializing_if = "Cost::is_unknown")]
    pub cost: Cost,
    /// On FAILED: an object in the form of the server's conversation error event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
    /// The result of the task. Services before 1.9.0 reject the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_outcome: Option<TaskOutcome>,
}

impl CompletionReport {
    /// Creates a report with the status COMPLETED.
    #[must_use]
    pub fn completed() -> Self {
        Self {
            status: OutcomeStatus::Completed,
            run_id: None,
            conversation_id: None,
            cost: Cost::default(),
            error: None,
            task_outcome: None,
        }
    }

    /// Creates a report with the status FAILED, a one-word code and a text for people.
    #[must_use]
    pub fn failed(code: &str, detail: &str) -> Self {
        let error = json!({"kind": "ConversationErrorEvent", "source": "environment", "code": code, "detail": detail});
        Self { status: OutcomeStatus::Failed, error: Some(error), ..Self::completed() }
    }

    /// Adds the conversation of the run and its cost.
    #[must_use]
    pub fn of_conversation(self, id: ConversationId, cost: Cost) -> Self {
        Self { conversation_id: Some(id.to_string()), cost, ..self }
    }

    /// Returns the same outcome with as few fields as possible, for a service that rejects the full body.
    #[doc(hidden)]
    #[must_use]
    pub fn plainest(&self) -> Self {
        let error = self.error.as_ref().map(|error| {
            let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
            Value::from(format!("{}: {}", text("code"), text("detail")))
        });
        Self { conversation_id: None, cost: Cost::default(), task_outcome: None, error, ..self.clone() }
    }
}
