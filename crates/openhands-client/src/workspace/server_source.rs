//! An agent-server's own settings as the source of the LLM, the secrets and the MCP servers, if there is no Cloud account.

use crate::collections::inserted;
use tokio::sync::OnceCell;

use super::WorkspaceError;
use super::account::selected;
use crate::agent_server;
use crate::agent_server::mcp::McpServers;
use crate::agent_server::settings::{SecretList, ServerSettings};
use crate::agent_server::wire::{Llm, Secrets};
use crate::http::HttpError;
use crate::retry::{Policy, retry};
use crate::secret::Secret;
use crate::workspace::SecretSelection;

/// An agent-server's own settings.
#[derive(Debug)]
pub(super) struct ServerSource {
    agent_server: agent_server::AgentServerClient,
    settings: OnceCell<ServerSettings>,
}

impl ServerSource {
    pub(super) fn new(agent_server: agent_server::AgentServerClient) -> Self {
        Self { agent_server, settings: OnceCell::new() }
    }

    /// Returns the server's settings. They are read once. A version without settings (before 1.22.1) counts as a fresh server.
    async fn settings(&self, what: &'static str) -> Result<&ServerSettings, WorkspaceError> {
        let read = || async {
            match retry("reading the agent-server's settings", Policy::setup(self.agent_server.time_limits()), || {
                self.agent_server.settings()
            })
            .await
            {
                Err(error) if error.status() == Some(404) => Ok(ServerSettings::default()),
                other => other,
            }
        };
        self.settings.get_or_try_init(read).await.map_err(|source| WorkspaceError::Account { what, source })
    }

    /// Returns the LLM of a named profile; `None` if there is no such profile.
    async fn profile(&self, name: &str) -> Result<Option<Llm>, HttpError> {
        match retry("reading the LLM profile", Policy::setup(self.agent_server.time_limits()), || {
            self.agent_server.profile(name)
        })
        .await
        {
            Ok(profile) => Ok(profile.llm()),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the LLM of the active profile, or else the LLM of the settings.
    async fn default_llm(&self, what: &'static str) -> Result<Llm, WorkspaceError> {
        let settings = self.settings(what).await?;
        if let Some(active) = &settings.active_profile {
            match self.profile(active).await.map_err(|source| WorkspaceError::Account { what, source })? {
                Some(llm) => return Ok(llm),
                None => {
                    tracing::warn!("the active LLM profile `{active}` does not exist; using the LLM of the settings");
                }
            }
        }
        if settings.is_acp() {
            return Err(WorkspaceError::AcpAgent);
        }
        settings.llm().ok_or(WorkspaceError::NoLlm)
    }

    async fn profile_names(&self) -> Vec<String> {
        // The names only help to explain what is missing.
        let list = self.agent_server.profiles().await;
        list.map(|list| list.profiles.into_iter().map(|profile| profile.name).collect()).unwrap_or_default()
    }
}

impl ServerSource {
    pub(super) async fn llm(&self, profile: Option<&str>) -> Result<Llm, WorkspaceError> {
        let what = "the LLM";
        let Some(name) = profile else { return self.default_llm(what).await };
        match self.profile(name).await.map_err(|source| WorkspaceError::Account { what, source })? {
            Some(llm) => Ok(llm),
            None => {
                let known = self.profile_names().await;
                Err(WorkspaceError::NoSuchProfile { name: name.to_owned(), known })
            }
        }
    }

    pub(super) async fn secrets(
        &self,
        selection: &SecretSelection,
        agent_profile: Option<&str>,
    ) -> Result<Secrets, WorkspaceError> {
        if matches!(selection, SecretSelection::Named(names) if names.is_empty()) {
            return Ok(Secrets::new());
        }
        let names = retry("reading the names of the secrets", Policy::setup(self.agent_server.time_limits()), || {
            self.agent_server.secret_names(agent_profile)
        })
        .await;
        let known = match names {
            Err(error) if error.status() == Some(404) => SecretList::default(),
            other => other.map_err(|source| WorkspaceError::Account { what: "the secrets", source })?,
        };
        let reference = |secret: agent_server::settings::SecretEntry| {
            let source = self.agent_server.secret(&secret.name, secret.description);
            (secret.name, source)
        };
        Ok(inserted(selected(known.secrets, selection)?.into_iter().map(reference)))
    }

    pub(super) async fn secret_value(&self, name: &str) -> Result<Option<Secret>, WorkspaceError> {
        retry("reading a secret", Policy::setup(self.agent_server.time_limits()), || {
            self.agent_server.secret_value(name)
        })
        .await
        .map_err(|source| WorkspaceError::Account { what: "a secret", source })
    }

    pub(super) async fn mcp_servers(&self) -> Result<McpServers, WorkspaceError> {
        Ok(self.settings("the MCP servers").await?.mcp_servers())
    }
}
