//! Why a conversation could not be taken to its end.

use std::fmt;
use std::time::Duration;

use super::FollowError;
use super::turn::TurnEnd;
use crate::agent_server::wire::Cost;
use crate::http::HttpError;
use crate::text;

/// A conversation could not be taken to its end.
///
/// `Debug` shows the error and its causes as people read them, because that is what `main` prints of an error that it returns.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ConversationError {
    /// A request to start, read or continue the conversation failed.
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
    /// A turn could not be followed to its end. Where a cost limit is the reason, the agent has been stopped.
    #[error("{}", text::chain(error))]
    Follow {
        /// What the conversation has cost.
        cost: Cost,
        /// Why.
        error: FollowError,
    },
    /// A turn ended otherwise than it should.
    #[error("{}", end.reason())]
    Ended {
        /// What the conversation has cost.
        cost: Cost,
        /// How it ended.
        end: TurnEnd,
    },
    /// The time limit of the conversation was reached, and the agent has been stopped.
    #[error("the conversation reached its time limit of {limit:?}")]
    TimeLimit {
        /// What the conversation has cost.
        cost: Cost,
        /// The limit.
        limit: Duration,
    },
}

impl ConversationError {
    /// What the conversation has cost, as far as is known.
    #[must_use]
    pub fn cost(&self) -> Cost {
        match self {
            Self::Request { .. } | Self::WorkingDir { .. } => Cost::default(),
            Self::Follow { cost, .. } | Self::Ended { cost, .. } | Self::TimeLimit { cost, .. } => *cost,
        }
    }

    /// Whether the agent may still be at work: [`super::Conversation::stop`] stops it.
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
