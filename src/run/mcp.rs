//! Checks whether the MCP servers of a conversation provide their tools to the agent.
//!
//! An agent-server starts them with the first message. A newer one (1.58.0) leaves out a server that it cannot start or that does not
//! respond, and reports nothing. An older one (1.11.5, 1.22.1) fails the message, or hangs if the server's command is missing.

use std::fmt::Write as _;

use openhands_client::agent_server::Event;
use openhands_client::agent_server::mcp::McpServers;

use super::warnings::Warnings;
use crate::outcome::{Failure, FailureKind};

/// The MCP servers of a conversation, until it is known which of them work.
#[derive(Debug)]
pub(super) struct McpStart(Option<McpServers>);

impl McpStart {
    /// Creates it for a conversation with these servers, which is new or existed before.
    pub(super) fn new(servers: &McpServers, is_new: bool) -> Self {
        Self(Some(servers.clone()).filter(|servers| is_new && !servers.is_empty()))
    }

    /// Takes an event of the conversation: the one with the agent's tools shows which servers provide none.
    pub(super) fn see(&mut self, event: &Event, warnings: &Warnings) {
        let Some(tools) = self.0.as_ref().and_then(|_| event.mcp_tools()) else { return };
        let servers = self.0.take().unwrap_or_default();
        for name in servers.without_tools(&tools) {
            warnings.warn(format!(
                "the MCP server `{name}` gives the agent no tools: it cannot be started, does not respond, or has none"
            ));
        }
    }

    /// Explains the failure of a turn. If no list of the agent's tools was seen yet, the MCP servers may be the cause.
    pub(super) fn explain(&self, mut failure: Failure) -> Failure {
        let Some(servers) = self.0.as_ref().filter(|_| failure.kind == FailureKind::AgentServerUnreachable) else {
            return failure;
        };
        let names = servers.names().iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        // Writing to a `String` cannot fail.
        let _ = write!(
            failure.detail,
            " (the agent-server was starting the agent's MCP servers: {names}; check that their commands exist in the sandbox and that \
             their addresses respond)"
        );
        failure
    }
}
