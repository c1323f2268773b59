//! How a turn ends.

use crate::agent_server::event::ServerError;

/// How a turn has ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TurnEnd {
    /// The agent has finished.
    Finished,
    /// The run has failed, with the server's reason where it gives one.
    Error(Option<ServerError>),
    /// The agent repeats the same step.
    Stuck,
    /// The LLM answers with nothing, again and again.
    EmptyResponses,
    /// Someone else has paused the conversation.
    Paused,
    /// The agent waits for a person to allow an action.
    WaitingForConfirmation,
    /// The conversation has been deleted.
    Deleted,
}

impl TurnEnd {
    /// Why the turn is over, for people.
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
