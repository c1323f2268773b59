//! Errors of a conversation.

use std::fmt;
use std::time::Duration;

use super::FollowError;
use super::turn::TurnEnd;
use crate::agent_server::wire::Cost;
use crate::http::HttpError;
use crate::text;

/// A conversation failed.
///
/// `Debug` prints the error and its causes for people, because `main` prints the `Debug` form of an error that it returns.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ConversationError {
    /// A request to start, read or continue the conversation failed.
    #[error("failed to {doing}")]
    Request {
        /// What the request was for, such as "start the conversation".
        doing: &'static str,
        /// The error of the request.
        source: HttpError,
    },
    /// The agent-server cannot create the working directory.
    #[error("the agent-server cannot make the working directory `{path}`")]
    WorkingDir {
        /// The path of the directory.
        path: String,
        /// The server's response, with advice.
        source: HttpError,
    },
    /// A turn could not be followed to its end. If the reason is the cost limit, the agent has been stopped.
    #[error("{}", text::chain(error))]
    Follow {
        /// The cost of the conversation.
        cost: Cost,
        /// The reason.
        error: FollowError,
    },
    /// A turn ended in a way that counts as a failure.
    #[error("{}", end.reason())]
    Ended {
        /// The cost of the conversation.
        cost: Cost,
        /// How the turn ended.
        end: TurnEnd,
    },
    /// The conversation reached its time limit, and the agent has been stopped.
    #[error("the conversation reached its time limit of {limit:?}")]
    TimeLimit {
        /// The cost of the conversation.
        cost: Cost,
        /// The time limit.
        limit: Duration,
    },
}

impl ConversationError {
    /// Returns the cost of the conversation, as far as it is known.
    #[must_use]
    pub fn cost(&self) -> Cost {
        match self {
            Self::Request { .. } | Self::WorkingDir { .. } => Cost::default(),
            Self::Follow { cost, .. } | Self::Ended { cost, .. } | Self::TimeLimit { cost, .. } => *cost,
        }
    }

    /// Returns whether the agent may still be working. [`super::Conversation::stop`] stops it.
    #[must_use]
    pub fn agent_may_be_at_work(&self) -> bool {
        match self {
            Self::Request { .. } => true,
            Self::Follow { error, .. } => !matches!(error, FollowError::OverBudget { .. }),
            Self::WorkingDir { .. } | Self::Ended { .. } | Self::TimeLimit { .. } => false,
        }
    }
}

impl fmt::Debug for ConversationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::chain(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_main_returns_reads_as_a_sentence_and_keeps_the_cost() {
        let error = FollowError::OverBudget { spent: Cost::dollars(2.0), limit: Cost::dollars(1.0) };
        let error = ConversationError::Follow { cost: Cost::dollars(3.0), error };
        assert_eq!(format!("{error:?}"), "the run has cost $2.0000; its limit is $1.0000");
        assert_eq!(error.cost(), Cost::dollars(3.0));
        assert!(!error.agent_may_be_at_work());
    }
}
