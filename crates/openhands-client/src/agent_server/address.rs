//! Where an agent-server is, and the key that opens it.

use url::Url;

use crate::secret::Secret;

/// The port of the agent-server in a sandbox.
pub const DEFAULT_PORT: u16 = 60000;

/// An agent-server's address and key.
#[derive(Debug, Clone)]
pub struct AgentServerAddress {
    /// Its base address.
    pub url: Url,
    /// The session key; a server without keys takes everyone.
    pub session_key: Option<Secret>,
}

impl AgentServerAddress {
    /// Whether it is on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self.url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
    }
}

/// The agent-server of this sandbox.
#[must_use]
pub fn local_agent_server(port: u16) -> Url {
    Url::parse(&format!("http://localhost:{port}")).expect("a valid address")
}
