//! Why a conversation could not be taken to its end.

use super::FollowError;
use super::fold::TurnEnd;
use crate::http::HttpError;

/// A conversation could not be taken through its turns.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConversationError {
    /// A request of the set-up failed.
    #[error("failed to {doing}")]
    Request {
        /// Such as "start the conversation".
        doing: &'static str,
        /// Why.
        source: HttpError,
    },
    /// The agent-server cannot make the working directory.
    #[error("the agent-server cannot make the working directory `{path}`")]
    WorkingDir {
        /// The directory.
        path: String,
        /// The refusal, with what to do.
        source: HttpError,
    },
    /// A turn could not be followed to its end.
    #[error(transparent)]
    Follow(FollowError),
    /// A turn ended otherwise than with the agent's finish.
    #[error("{}", .0.reason())]
    Ended(TurnEnd),
    /// The time limit came; the agent was asked to wrap up, and did.
    #[error("time limit reached; the agent wrapped up when asked")]
    TimeLimit,
}
