//! What can happen while a turn is followed.

use crate::agent_server::client::RunStarted;
use crate::agent_server::event::Meaning;
use crate::agent_server::wire::{Cost, Status};
use crate::http::HttpError;

/// What happened.
#[derive(Debug)]
pub(in crate::conversation) enum Input<'e> {
    /// The socket works from here on.
    Subscribed { status: Option<Status>, cost: Cost },
    /// The socket gave a sign of life.
    Alive,
    /// The socket is lost.
    Lost,
    /// An event that was not seen before, from the socket or from the log.
    Event(&'e Meaning),
    /// The state was read.
    State(Result<StateRead, HttpError>),
    /// The state was not read within the time that [`super::Action::ReadState`] gave.
    StateTimedOut,
    /// A page of the log was read; more may follow.
    LogPage,
    /// The log was read to its end, or could not be.
    LogRead(Result<(), Option<HttpError>>),
    /// The server answered to the request to start the run, or did not in time.
    Run(Result<RunStarted, Option<HttpError>>),
    /// The deadline has come.
    Tick,
}

/// A state of the conversation, as the server gave it.
#[derive(Debug, Clone)]
pub(in crate::conversation) struct StateRead {
    pub(in crate::conversation) status: Status,
    pub(in crate::conversation) cost: Cost,
}
