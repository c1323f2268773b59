//! The body of the completion callback.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::agent_server::wire::Cost;
use crate::ids::ConversationId;

/// The two statuses that the automation service knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum OutcomeStatus {
    /// The task is done.
    Completed,
    /// Anything else.
    Failed,
}

/// How the task went, by the agent's own account. It does not change the run's status: a run whose agent could not do
/// the task has completed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TaskOutcome {
    /// In one word.
    pub status: TaskStatus,
    /// In some sentences.
    #[serde(rename = "outcome_summary")]
    pub summary: String,
}

/// How the task went, in one word. The words are the automation service's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TaskStatus {
    /// The task is done.
    Success,
    /// Some of it is done.
    PartialSuccess,
    /// Something that the agent cannot change is in the way.
    Blocked,
    /// It cannot be done, or was not.
    Failed,
    /// The agent does not know.
    Unknown,
}

/// Body of the completion callback, `POST …/v1/runs/{run id}/complete`.
///
/// Any other field is a 422 and a lost completion (`openhands-automation` 1.25.0).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompletionReport {
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

impl CompletionReport {
    /// COMPLETED.
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

    /// FAILED, with a code in one word and a text for people.
    #[must_use]
    pub fn failed(code: &str, detail: &str) -> Self {
        let error = json!({"kind": "ConversationErrorEvent", "source": "environment", "code": code, "detail": detail});
        Self { status: OutcomeStatus::Failed, error: Some(error), ..Self::completed() }
    }

    /// The same with the conversation of the run and its cost.
    #[must_use]
    pub fn of_conversation(self, id: ConversationId, cost: Cost) -> Self {
        Self { conversation_id: Some(id.to_string()), cost, ..self }
    }

    /// The same outcome in the fewest words: for a service that refuses the full body.
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
