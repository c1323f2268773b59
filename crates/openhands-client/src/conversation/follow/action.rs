//! What is to be done while a turn is followed.

use tokio::time::Instant;

use super::FollowError;
use crate::conversation::turn::TurnEnd;

/// What is to be done.
#[derive(Debug)]
pub(in crate::conversation) enum Action {
    /// Read the conversation's state, by this time.
    ReadState { by: Option<Instant> },
    /// Read the log from a little before the last event.
    ReadLog,
    /// Start the run, by this time.
    StartRun { by: Option<Instant> },
    /// Say something in the log.
    Note(Note),
    /// The turn is over.
    Over(TurnEnd),
    /// The turn cannot be followed to its end.
    Fail(FollowError),
}

/// What the log says.
#[derive(Debug, PartialEq)]
pub(in crate::conversation) enum Note {
    SocketIsBack,
    IdleAfterMessage,
    Resuming,
    UnknownStatus(String),
    EndNotConfirmed,
}
