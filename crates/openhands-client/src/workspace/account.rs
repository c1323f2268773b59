//! The account of a workspace: its LLM, secrets and MCP servers.

use super::WorkspaceError;
use super::cloud_source::CloudSource;
use super::server_source::ServerSource;
use crate::agent_server::AgentServerClient;
use crate::agent_server::mcp::McpServers;
use crate::agent_server::settings::SecretEntry;
use crate::agent_server::wire::{Llm, Secrets};
use crate::cloud::CloudClient;
use crate::ids::ConversationId;
use crate::secret::Secret;

/// The account of a sandbox: an OpenHands Cloud account, the agent-server's own settings, or none. Its settings are read once.
#[derive(Debug)]
pub struct AccountClient(Source);

#[derive(Debug)]
enum Source {
    Cloud(CloudSource),
    Server(ServerSource),
}

/// Which of the account's secrets the agent gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSelection {
    /// All secrets of the account; none if there is no account.
    All,
    /// The secrets with these names. Each must exist.
    Named(Vec<String>),
}

impl AccountClient {
    /// Uses an OpenHands Cloud account.
    #[must_use]
    pub fn cloud(client: CloudClient) -> Self {
        Self(Source::Cloud(CloudSource::new(Some(client))))
    }

    /// Uses the agent-server's own settings.
    #[must_use]
    pub fn agent_server(client: AgentServerClient) -> Self {
        Self(Source::Server(ServerSource::new(client)))
    }

    /// Uses no account: there is no LLM and there are no secrets.
    #[must_use]
    pub fn none() -> Self {
        Self(Source::Cloud(CloudSource::new(None)))
    }

    /// Returns the account's LLM: that of a named profile, or the default one.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    pub async fn llm(&self, profile: Option<&str>) -> Result<Llm, WorkspaceError> {
        match &self.0 {
            Source::Cloud(source) => source.llm(profile).await,
            Source::Server(source) => source.llm(profile).await,
        }
    }

    /// Returns references to the account's secrets, for the agent. The values do not pass through this program.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    pub async fn secrets(&self, selection: &SecretSelection) -> Result<Secrets, WorkspaceError> {
        self.secrets_of(selection, None).await
    }

    /// Returns the same as [`AccountClient::secrets`], limited to what the agent profile with this id allows.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    #[doc(hidden)]
    pub async fn secrets_of(
        &self,
        selection: &SecretSelection,
        agent_profile: Option<&str>,
    ) -> Result<Secrets, WorkspaceError> {
        match &self.0 {
            Source::Cloud(source) => source.secrets(selection, agent_profile).await,
            Source::Server(source) => source.secrets(selection, agent_profile).await,
        }
    }

    /// Returns the value of one of the account's secrets, for steps that a program performs before the agent starts. `None` if
    /// the account has no such secret, or if there is no account.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    pub async fn secret_value(&self, name: &str) -> Result<Option<Secret>, WorkspaceError> {
        match &self.0 {
            Source::Cloud(source) => source.secret_value(name).await,
            Source::Server(source) => source.secret_value(name).await,
        }
    }

    /// Returns the account's MCP servers.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    pub async fn mcp_servers(&self) -> Result<McpServers, WorkspaceError> {
        match &self.0 {
            Source::Cloud(source) => source.mcp_servers().await,
            Source::Server(source) => source.mcp_servers().await,
        }
    }

    /// Returns the URL of the page that shows a conversation to people. `None` if there is no Cloud account.
    #[must_use]
    pub fn session_url(&self, id: ConversationId) -> Option<String> {
        match &self.0 {
            Source::Cloud(source) => source.session_url(id),
            Source::Server(_) => None,
        }
    }
}

/// Returns the selected secrets.
pub(super) fn selected(
    known: Vec<SecretEntry>,
    selection: &SecretSelection,
) -> Result<Vec<SecretEntry>, WorkspaceError> {
    let SecretSelection::Named(names) = selection else { return Ok(known) };
    let missing: Vec<String> =
        names.iter().filter(|name| known.iter().all(|secret| secret.name != **name)).cloned().collect();
    if missing.is_empty() {
        Ok(known.into_iter().filter(|secret| names.contains(&secret.name)).collect())
    } else {
        let known = known.into_iter().map(|secret| secret.name).collect();
        Err(WorkspaceError::NoSuchSecret { names: missing, known })
    }
}
