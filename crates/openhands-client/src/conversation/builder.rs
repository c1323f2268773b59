//! The builder of a conversation.

use std::fmt;
use std::time::Duration;

use super::handle::{Conversation, EventHandler};
use super::{ConversationError, ConversationSpec, RunSpec};
use crate::agent_server::mcp::McpServers;
use crate::agent_server::plugin::PluginSource;
use crate::agent_server::wire::{Agent, Secrets};
use crate::agent_server::{AgentServer, Event};
use crate::ids::ConversationId;

/// Options for starting a [`Conversation`].
pub struct ConversationBuilder {
    server: AgentServer,
    spec: ConversationSpec,
    on_event: Option<EventHandler>,
}

impl ConversationBuilder {
    pub(super) fn new(server: AgentServer, agent: Agent) -> Self {
        Self { server, spec: ConversationSpec::new(ConversationId::random(), agent), on_event: None }
    }

    /// Sets the conversation's id (default: a random one). If a conversation with this id exists, it is continued.
    #[must_use]
    pub fn id(mut self, id: ConversationId) -> Self {
        self.spec.id = id;
        self
    }

    /// Sets the agent's working directory (default: [`super::DEFAULT_WORKING_DIR`]).
    #[must_use]
    pub fn working_dir(mut self, directory: impl Into<String>) -> Self {
        self.spec.working_dir = directory.into();
        self
    }

    /// Sets a title for people (default: the server generates one with an LLM call).
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.spec.title = Some(title.into());
        self
    }

    /// Adds a tag: a key of lower-case letters and digits, and a value of up to 256 characters.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.spec.tags.insert(key.into(), value.into());
        self
    }

    /// Adds secrets. The agent's commands see them as environment variables.
    #[must_use]
    pub fn secrets(mut self, secrets: Secrets) -> Self {
        self.spec.secrets.extend(secrets);
        self
    }

    /// Sets the MCP servers whose tools the agent can use.
    #[must_use]
    pub fn mcp_servers(mut self, servers: McpServers) -> Self {
        self.spec.mcp = servers;
        self
    }

    /// Adds a plugin. The server loads it at the first message.
    #[must_use]
    pub fn plugin(mut self, plugin: PluginSource) -> Self {
        self.spec.plugins.push(plugin);
        self
    }

    /// Sets the maximum number of steps for each message (default: the server's, 500).
    #[must_use]
    pub fn max_iterations(mut self, iterations: u32) -> Self {
        self.spec.max_iterations = Some(iterations);
        self
    }

    /// Sets how many US dollars the conversation may spend from now on. An agent that exceeds the limit is stopped.
    #[must_use]
    pub fn cost_limit(mut self, dollars: f64) -> Self {
        self.spec.cost_limit = Some(dollars);
        self
    }

    /// Sets the time limit for the whole conversation. When it is reached, the agent is stopped.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.spec.time_limit = Some(limit);
        self
    }

    /// Sets the run that the conversation belongs to. A program that starts again can then tell which messages it has already
    /// sent.
    #[doc(hidden)]
    #[must_use]
    pub fn run(mut self, run: RunSpec) -> Self {
        self.spec.run = Some(run);
        self
    }

    /// Sets a handler that receives every event of the conversation exactly once, while [`Conversation::run`] waits.
    #[must_use]
    pub fn on_event(mut self, handler: impl FnMut(&Event) + Send + 'static) -> Self {
        self.on_event = Some(Box::new(handler));
        self
    }

    /// Starts the conversation, or continues the existing one with the same id.
    ///
    /// # Errors
    /// [`ConversationError::Request`].
    pub async fn start(self) -> Result<Conversation, ConversationError> {
        Conversation::start(self.server, self.spec, self.on_event).await
    }
}

impl fmt::Debug for ConversationBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConversationBuilder").field("id", &self.spec.id).finish_non_exhaustive()
    }
}
