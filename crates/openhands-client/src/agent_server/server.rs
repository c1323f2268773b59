//! An agent-server that can be used.

use super::{Capabilities, Client};

/// An agent-server whose version is known.
#[derive(Debug, Clone)]
pub struct AgentServer {
    /// Its endpoints.
    pub client: Client,
    /// What its version can do.
    pub capabilities: Capabilities,
}
