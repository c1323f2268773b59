//! How a turn ends.

use crate::agent_server::event::ServerError;

/// How a turn has ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TurnEnd {
    /// The agent finished.
    Finished,
    /// The run failed, with the server's reason if it gives one.
    Error(Option<ServerError>),
    /// The agent repeated the same step.
    Stuck,
    /// The LLM returned empty responses, several times in a row.
    EmptyResponses,
    /// Someone else paused the conversation.
    Paused,
    /// The agent waits until a person confirms an action.
    WaitingForConfirmation,
    /// The conversation was deleted.
    Deleted,
}

impl TurnEnd {
    /// Returns why the turn is over, for people.
    #[must_use]
    pub fn reason(&self) -> String {
        let reason = match self {
            Self::Finished => "the agent has finished",
            Self::Error(Some(error)) => return error.detail().into_owned(),
            Self::Error(None) => "the conversation ended in an error, and the agent-server gives no reason",
            Self::Stuck => "the agent kept repeating the same step, and was stopped",
            Self::EmptyResponses => "the LLM returned only empty responses, and the agent was stopped",
            Self::Paused => "someone else paused the conversation",
            Self::WaitingForConfirmation => "the agent waits for a confirmation, which the runner cannot give",
            Self::Deleted => "the conversation was deleted during the run",
        };
        reason.to_owned()
    }
}
