//! Actions of following a turn.

use tokio::time::Instant;

use super::FollowError;
use crate::conversation::turn::TurnEnd;

/// An action that the driver performs.
#[derive(Debug)]
pub(in crate::conversation) enum Action {
    /// Read the conversation's state, and finish by this time.
    ReadState { by: Option<Instant> },
    /// Read the log, starting a little before the last event.
    ReadLog,
    /// Start the run, and finish by this time.
    StartRun { by: Option<Instant> },
    /// Write a note to the log of this program.
    Note(Note),
    /// The turn is over.
    Over(TurnEnd),
    /// The turn cannot be followed to its end.
    Fail(FollowError),
}

/// A note for the log of this program.
#[derive(Debug, PartialEq)]
pub(in crate::conversation) enum Note {
    SocketIsBack,
    IdleAfterMessage,
    Resuming,
    UnknownStatus(String),
    EndNotConfirmed,
}
