//! Why a turn could not be followed to its end.

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
        /// How long it may be silent.
        silence: Duration,
        /// The last failed request.
        source: Option<HttpError>,
    },
    /// The conversation's state could not be read for too long, though the server answers.
    #[error(
        "the agent-server responded {} for {} s",
        if matches!(source, HttpError::Timeout { .. }) { "to no request" } else { "only with errors" },
        limit.as_secs()
    )]
    OnlyErrors {
        /// How long that may last.
        limit: Duration,
        /// The last error.
        source: HttpError,
    },
    /// The server refuses the session key, several times in a row.
    #[error("the agent-server refuses the session key")]
    Refused(#[source] HttpError),
    /// The server is there, and the run of a message does not start.
    #[error("the agent-server did not start the run after {starts} requests")]
    NotStarted {
        /// Requests that the server accepted.
        starts: u32,
        /// The last request that it did not.
        source: Option<HttpError>,
    },
    /// The conversation has a status that this program does not know, and nothing happens.
    #[error("the conversation has the unknown status `{status}`, and nothing happened for {} s", limit.as_secs())]
    UnknownStatus {
        /// The server's word.
        status: String,
        /// How long that may last.
        limit: Duration,
    },
    /// The run has spent more than it may.
    #[error("the run has cost {spent}; its limit is {limit}")]
    OverBudget {
        /// What this run has cost.
        spent: Cost,
        /// What it may cost.
        limit: Cost,
    },
}

impl fmt::Debug for FollowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::chain(self))
    }
}
