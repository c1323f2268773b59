//! A Cloud account as the source of the LLM, the secrets and the MCP servers.

use crate::collections::inserted;
use std::collections::BTreeMap;

use tokio::sync::OnceCell;

use super::WorkspaceError;
use super::account::selected;
use crate::agent_server::mcp::McpServers;
use crate::agent_server::settings::SecretEntry;
use crate::agent_server::wire::{Llm, SecretSource, Secrets};
use crate::cloud::wire::UserSettings;
use crate::ids::ConversationId;
use crate::retry::{Policy, retry};
use crate::secret::Secret;
use crate::workspace::SecretSelection;
use crate::{cloud, http};

/// A Cloud account, or none.
#[derive(Debug)]
pub(super) struct CloudSource {
    cloud: Option<cloud::CloudClient>,
    settings: OnceCell<UserSettings>,
}

impl CloudSource {
    pub(super) fn new(cloud: Option<cloud::CloudClient>) -> Self {
        Self { cloud, settings: OnceCell::new() }
    }

    fn reference(cloud: &cloud::CloudClient, secret: SecretEntry) -> (String, SecretSource) {
        let key = cloud.account().session_key.expose().to_owned();
        let headers = BTreeMap::from([("X-Session-API-Key".to_owned(), key)]);
        let url = cloud.secret_url(&secret.name).into();
        (secret.name, SecretSource::Lookup { url, headers, description: secret.description })
    }

    /// Returns the account's settings. They are read once.
    async fn settings(&self, cloud: &cloud::CloudClient, what: &'static str) -> Result<&UserSettings, WorkspaceError> {
        let read = || {
            retry("reading the account's settings", Policy::cloud_read(cloud.time_limits()), || cloud.user_settings())
        };
        self.settings.get_or_try_init(read).await.map_err(|source| WorkspaceError::Account { what, source })
    }
}

impl CloudSource {
    pub(super) async fn llm(&self, profile: Option<&str>) -> Result<Llm, WorkspaceError> {
        let what = "the LLM";
        let cloud = self.cloud.as_ref().ok_or(WorkspaceError::NoAccount { what })?;
        let settings = self.settings(cloud, what).await?;
        match profile {
            None if settings.is_acp() => Err(WorkspaceError::AcpAgent),
            None => settings.default_llm().ok_or(WorkspaceError::NoLlm),
            Some(name) => settings.profile(name).ok_or_else(|| WorkspaceError::NoSuchProfile {
                name: name.to_owned(),
                known: settings.profile_names().into_iter().map(str::to_owned).collect(),
            }),
        }
    }

    pub(super) async fn secrets(
        &self,
        selection: &SecretSelection,
        agent_profile: Option<&str>,
    ) -> Result<Secrets, WorkspaceError> {
        let what = "the secrets";
        let cloud = match (&self.cloud, selection) {
            (_, SecretSelection::Named(names)) if names.is_empty() => return Ok(Secrets::new()),
            (None, SecretSelection::All) => return Ok(Secrets::new()),
            (None, SecretSelection::Named(_)) => return Err(WorkspaceError::NoAccount { what }),
            (Some(cloud), _) => cloud,
        };
        let known =
            retry("reading the names of the account's secrets", Policy::cloud_read(cloud.time_limits()), || {
                cloud.secret_names(agent_profile)
            })
            .await
            .map_err(|source| WorkspaceError::Account { what, source })?
            .secrets;
        Ok(inserted(selected(known, selection)?.into_iter().map(|secret| Self::reference(cloud, secret))))
    }

    pub(super) async fn secret_value(&self, name: &str) -> Result<Option<Secret>, WorkspaceError> {
        let Some(cloud) = &self.cloud else { return Ok(None) };
        retry("reading a secret of the account", Policy::cloud_read(cloud.time_limits()), || cloud.secret_value(name))
            .await
            .map_err(|source| WorkspaceError::Account { what: "a secret", source })
    }

    pub(super) async fn mcp_servers(&self) -> Result<McpServers, WorkspaceError> {
        let Some(cloud) = &self.cloud else { return Ok(McpServers::default()) };
        Ok(self.settings(cloud, "the MCP servers").await?.mcp_servers())
    }

    /// Returns the URL of the conversation's page in OpenHands Cloud.
    pub(super) fn session_url(&self, id: ConversationId) -> Option<String> {
        let account = self.cloud.as_ref()?.account();
        Some(http::join(&account.url, &["canvas", "conversations", &id.to_string()]).into())
    }
}
