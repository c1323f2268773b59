//! The short way to a conversation.

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

    /// The conversation's id (default: a random one). A conversation that exists under it is continued.
    #[must_use]
    pub fn id(mut self, id: ConversationId) -> Self {
        self.spec.id = id;
        self
    }

    /// The agent's working directory (default: [`super::DEFAULT_WORKING_DIR`]).
    #[must_use]
    pub fn working_dir(mut self, directory: impl Into<String>) -> Self {
        self.spec.working_dir = directory.into();
        self
    }

    /// A title for people (default: the server makes one with a call of the LLM).
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.spec.title = Some(title.into());
        self
    }

    /// A tag: a key of lower-case letters and digits, a value of up to 256 characters.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.spec.tags.insert(key.into(), value.into());
        self
    }

    /// Secrets that the agent's commands see as variables.
    #[must_use]
    pub fn secrets(mut self, secrets: Secrets) -> Self {
        self.spec.secrets.extend(secrets);
        self
    }

    /// MCP servers whose tools the agent has.
    #[must_use]
    pub fn mcp_servers(mut self, servers: McpServers) -> Self {
        self.spec.mcp = servers;
        self
    }

    /// A plugin, which the server loads at the first message.
    #[must_use]
    pub fn plugin(mut self, plugin: PluginSource) -> Self {
        self.spec.plugins.push(plugin);
        self
    }

    /// Steps for one message (default: the server's, 500).
    #[must_use]
    pub fn max_iterations(mut self, iterations: u32) -> Self {
        self.spec.max_iterations = Some(iterations);
        self
    }

    /// US dollars that the conversation may spend from now on. The agent is stopped when it has spent more.
    #[must_use]
    pub fn cost_limit(mut self, dollars: f64) -> Self {
        self.spec.cost_limit = Some(dollars);
        self
    }

    /// Time for the whole conversation. The agent is stopped then.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.spec.time_limit = Some(limit);
        self
    }

    /// The run that the conversation is for: if the program starts again, it finds what it has sent.
    #[doc(hidden)]
    #[must_use]
    pub fn run(mut self, run: RunSpec) -> Self {
        self.spec.run = Some(run);
        self
    }

    /// Sees every event of the conversation, each once, while [`Conversation::run`] waits.
    #[must_use]
    pub fn on_event(mut self, handler: impl FnMut(&Event) + Send + 'static) -> Self {
        self.on_event = Some(Box::new(handler));
        self
    }

    /// Starts the conversation, or continues the one that exists under the id.
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
