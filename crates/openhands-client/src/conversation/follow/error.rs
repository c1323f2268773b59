//! Errors of following a turn.

use std::fmt;
use std::time::Duration;

use crate::agent_server::wire::Cost;
use crate::http::HttpError;
use crate::text;

/// A turn could not be followed to its end.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The agent-server did not respond for too long.
    #[error("the agent-server did not respond for {} s", silence.as_secs())]
    ServerLost {
        /// The longest allowed silence.
        silence: Duration,
        /// The last failed request.
        source: Option<HttpError>,
    },
    /// For too long, every request for the conversation's state failed, although the server responds.
    #[error(
        "the agent-server responded {} for {} s",
        if matches!(source, HttpError::Timeout { .. }) { "to no request" } else { "only with errors" },
        limit.as_secs()
    )]
    OnlyErrors {
        /// How long this may last.
        limit: Duration,
        /// The last error.
        source: HttpError,
    },
    /// The server rejected the session key several times in a row.
    #[error("the agent-server refuses the session key")]
    Refused(#[source] HttpError),
    /// The server responds, but the run of a message does not start.
    #[error("the agent-server did not start the run after {starts} requests")]
    NotStarted {
        /// The number of requests that the server accepted.
        starts: u32,
        /// The last request that it did not accept.
        source: Option<HttpError>,
    },
    /// The conversation has a status that this program does not know, and no events arrive.
    #[error("the conversation has the unknown status `{status}`, and nothing happened for {} s", limit.as_secs())]
    UnknownStatus {
        /// The status that the server sent.
        status: String,
        /// How long this may last.
        limit: Duration,
    },
    /// The run has exceeded its cost limit.
    #[error("the run has cost {spent}; its limit is {limit}")]
    OverBudget {
        /// The cost of this run.
        spent: Cost,
        /// The cost limit of this run.
        limit: Cost,
    },
}

impl fmt::Debug for FollowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::chain(self))
    }
}
