//! Inputs of following a turn.

use crate::agent_server::client::RunStarted;
use crate::agent_server::event::Meaning;
use crate::agent_server::wire::{Cost, Status};
use crate::http::HttpError;

/// An input: something that has happened.
#[derive(Debug)]
pub(in crate::conversation) enum Input<'e> {
    /// The socket is subscribed from now on.
    Subscribed { status: Option<Status>, cost: Cost },
    /// The socket showed a sign of life.
    Alive,
    /// The socket is disconnected.
    Lost,
    /// An event that was not seen before, from the socket or the log.
    Event(&'e Meaning),
    /// The state was read.
    State(Result<StateRead, HttpError>),
    /// The state was not read within the time limit of [`super::Action::ReadState`].
    StateTimedOut,
    /// A page of the log was read; more may follow.
    LogPage,
    /// The log was read to its end, or reading it failed.
    LogRead(Result<(), Option<HttpError>>),
    /// The server responded to the request to start the run, or did not respond in time.
    Run(Result<RunStarted, Option<HttpError>>),
    /// The deadline was reached.
    Tick,
}

/// The state of the conversation in a response of the server.
#[derive(Debug, Clone)]
pub(in crate::conversation) struct StateRead {
    pub(in crate::conversation) status: Status,
    pub(in crate::conversation) cost: Cost,
}
