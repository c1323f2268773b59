//! An agent-server with its capabilities.

use super::{AgentServerClient, Capabilities};
use crate::ids::ConversationId;

/// The agent's working directory in the container of a conversation. Outside the container, it is the conversation's working
/// directory (1.58.0, `docker_runtime/registry.py`).
pub const CONTAINER_WORKSPACE: &str = "/workspace";

/// An agent-server whose version is known.
#[derive(Debug, Clone)]
pub struct AgentServer {
    /// The client of its endpoints.
    pub client: AgentServerClient,
    /// The capabilities of its version.
    pub capabilities: Capabilities,
}

impl AgentServer {
    /// Returns the same server, with the commands and files of this conversation's container.
    #[must_use]
    pub fn in_container_of(&self, id: ConversationId) -> Self {
        Self { client: self.client.in_container_of(id), ..self.clone() }
    }
}
