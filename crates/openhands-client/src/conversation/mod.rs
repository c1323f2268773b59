//! One conversation, from the first message to the end: starts or continues it, sends messages, follows each turn, and enforces
//! the limits.
//!
//! ```text
//! Conversation (handle) ─► Driver ─► client, socket, clock
//!                            │ ▲
//!                      input │ │ actions
//!                            ▼ │
//!             Follow (a turn), Delivery (a message): pure state machines
//! ```
//!
//! This module uses the client of the agent-server. It knows neither the callback nor exit codes.

mod budget;
mod builder;
mod delivery;
mod driver;
mod error;
mod fold;
mod follow;
mod handle;
mod history;
mod ledger;
mod limits;
mod operations;
mod spec;
mod start;
mod turn;
mod working_dir;

use serde_json::{Map, Value};

use crate::agent_server::{AgentServer, Event};
use crate::http::HttpError;

pub use crate::agent_server::client::EventQuery;
pub use crate::agent_server::event::{Action, Meaning, Observation, ServerError};
pub use crate::agent_server::mcp::McpServers;
pub use crate::agent_server::plugin::PluginSource;
pub use crate::agent_server::wire::{Cost, Metrics, SecretSource, Status, Tokens, Usage};
pub use crate::agent_server::{ConfirmationPolicy, ForkOptions};
pub use crate::ids::ConversationId;

pub use self::builder::ConversationBuilder;
pub use self::error::ConversationError;
pub use self::follow::FollowError;
#[doc(hidden)]
pub use self::handle::Turn;
pub use self::handle::{Conversation, Update};
pub use self::operations::FoundEvents;
pub use self::spec::DEFAULT_WORKING_DIR;
#[doc(hidden)]
pub use self::spec::{ConversationSpec, RunSpec};
pub use self::turn::TurnEnd;

/// The message that an agent gets once, when its time is nearly over.
#[doc(hidden)]
pub const WRAP_UP: &str = "Your time is nearly up: this run ends in a few seconds. Start nothing new. \
    Finish now, and say in your final message what is done and what is not.";

/// The beginning of a message that reminds the agent of the limits of its run.
#[doc(hidden)]
pub const REMINDER: &str = "A reminder of the limits of this run:";

/// The beginning of a message that sends the agent back to work because checks failed.
#[doc(hidden)]
pub const CHECKS_FAILED: &str = "These checks failed after you finished.";

/// Returns whether a message of ours is outside the turns: [`WRAP_UP`], or a [`REMINDER`].
fn is_aside(message: &str) -> bool {
    message == WRAP_UP || message.starts_with(REMINDER)
}

/// The arguments of the agent's finish action, and its final message.
#[doc(hidden)]
pub type LastWords = (Option<Map<String, Value>>, Option<String>);

/// Returns what the agent did last: the arguments of its finish action, and its final message.
///
/// # Errors
/// [`HttpError`].
#[doc(hidden)]
pub async fn last_words(server: &AgentServer, id: ConversationId) -> Result<LastWords, HttpError> {
    let query = EventQuery { source: Some("agent"), newest_first: true, limit: Some(20), ..Default::default() };
    let page = server.client.events(id, &query).await?;
    let (mut finish, mut message) = (None, None);
    // Only the agent's last action counts: it may have continued after a finish.
    for event in page.items.iter().filter_map(|item| Event::parse(item.get())) {
        match event.meaning() {
            Meaning::AgentMessage(text) => message = Some(text.clone()),
            Meaning::Action(action) => {
                finish = event.finish_arguments();
                message = action.detail.clone().filter(|_| action.is_finish);
            }
            _ => continue,
        }
        break;
    }
    Ok((finish, message))
}

/// Reads the agent's final message, if there is one.
///
/// # Errors
/// [`HttpError`].
#[doc(hidden)]
pub async fn final_message(server: &AgentServer, id: ConversationId) -> Result<Option<String>, HttpError> {
    if server.capabilities.final_response {
        return server.client.final_response(id).await;
    }
    let query = EventQuery { source: Some("agent"), newest_first: true, ..Default::default() };
    let page = server.client.events(id, &query).await?;
    Ok(page.items.iter().filter_map(|item| Event::parse(item.get())).find_map(|event| match event.meaning() {
        Meaning::AgentMessage(text) => Some(text.clone()),
        Meaning::Action(action) if action.is_finish => action.detail.clone(),
        _ => None,
    }))
}
