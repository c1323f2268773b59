//! An agent-server that can be used.

use super::{AgentServerClient, Capabilities};
use crate::ids::ConversationId;

/// The agent's working directory in a container of a conversation's own, which is the conversation's working directory outside of it
/// (1.58.0, `docker_runtime/registry.py`).
pub const CONTAINER_WORKSPACE: &str = "/workspace";

/// An agent-server whose version is known.
#[derive(Debug, Clone)]
pub struct AgentServer {
    /// Its endpoints.
    pub client: AgentServerClient,
    /// What its version can do.
    pub capabilities: Capabilities,
}

impl AgentServer {
    /// The same with the commands and the files of this conversation's container.
    #[must_use]
    pub fn in_container_of(&self, id: ConversationId) -> Self {
        Self { client: self.client.in_container_of(id), ..self.clone() }
    }
}
