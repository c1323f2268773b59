//! Who sees what happens in a conversation.

use futures_util::future::BoxFuture;

use crate::agent_server::Event;
use crate::agent_server::event::Meaning;
use crate::ids::ConversationId;

/// Something that happened in a conversation.
#[derive(Debug)]
pub enum Record<'r> {
    /// The conversation exists.
    Conversation {
        /// Its id.
        id: ConversationId,
        /// Whether it was made for this run.
        new: bool,
    },
    /// A turn begins.
    Turn {
        /// From 1.
        number: usize,
        /// Turns in all.
        of: usize,
        /// The message to the agent.
        message: &'r str,
    },
    /// An event of the conversation, each once.
    Event {
        /// As the server sent it.
        event: &'r Event,
        /// What it means to a run.
        meaning: &'r Meaning,
    },
}

/// Sees every record of a conversation.
pub trait Observer: Send {
    /// Takes a record. Waiting here holds the conversation back, as a full pipe does.
    fn record<'a>(&'a mut self, record: &'a Record<'_>) -> BoxFuture<'a, ()>;
}

/// Sees nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn record<'a>(&'a mut self, _: &'a Record<'_>) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}
