//! The address and the session key of an agent-server.

use url::Url;

use crate::secret::Secret;

/// The default port of the agent-server in a sandbox.
pub const DEFAULT_PORT: u16 = 60000;

/// The address and the session key of an agent-server.
#[derive(Debug, Clone)]
pub struct AgentServerAddress {
    /// The base URL.
    pub url: Url,
    /// The session key. A server without keys accepts all requests.
    pub session_key: Option<Secret>,
}

impl AgentServerAddress {
    /// Returns whether the server runs on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self.url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
    }
}

/// Returns the URL of the agent-server in this sandbox.
#[must_use]
pub fn local_agent_server(port: u16) -> Url {
    Url::parse(&format!("http://localhost:{port}")).expect("a valid address")
}
