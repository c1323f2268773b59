//! An agent-server that can be used.

use super::{AgentServerClient, Capabilities};

/// An agent-server whose version is known.
#[derive(Debug, Clone)]
pub struct AgentServer {
    /// Its endpoints.
    pub client: AgentServerClient,
    /// What its version can do.
    pub capabilities: Capabilities,
}
