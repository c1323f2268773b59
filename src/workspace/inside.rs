//! The sandbox that we run in: its own agent-server, and the Cloud account that owns it.

use std::collections::BTreeMap;

use super::{Workspace, WorkspaceError};
use crate::agent_server;
use crate::agent_server::wire::{Llm, LookupSecret, Secrets};
use crate::cloud;
use crate::cloud::wire::SecretEntry;
use crate::plan::SecretSelection;
use crate::retry::{Policy, retry};

/// The workspace around this process.
#[derive(Debug, Clone)]
pub struct Inside {
    agent_server: agent_server::Client,
    cloud: Option<cloud::Client>,
}

impl Inside {
    /// The workspace with this agent-server, and the account behind it if there is one.
    #[must_use]
    pub fn new(agent_server: agent_server::Client, cloud: Option<cloud::Client>) -> Self {
        Self { agent_server, cloud }
    }

    fn reference(cloud: &cloud::Client, secret: SecretEntry) -> (String, LookupSecret) {
        let key = cloud.account().session_key.expose().to_owned();
        let headers = BTreeMap::from([("X-Session-API-Key".to_owned(), key)]);
        let url = cloud.secret_url(&secret.name).into();
        (secret.name, LookupSecret::new(url, headers, secret.description))
    }
}

impl Workspace for Inside {
    fn agent_server(&self) -> &agent_server::Client {
        &self.agent_server
    }

    async fn llm(&self, profile: Option<&str>) -> Result<Llm, WorkspaceError> {
        let what = "the LLM";
        let cloud = self.cloud.as_ref().ok_or(WorkspaceError::NoAccount { what })?;
        let settings = retry("reading the account's LLM", Policy::cloud(), || cloud.user_settings())
            .await
            .map_err(|source| WorkspaceError::Account { what, source })?;
        match profile {
            None => settings.default_llm().ok_or(WorkspaceError::NoLlm),
            Some(name) => settings.profile(name).ok_or_else(|| WorkspaceError::NoSuchProfile {
                name: name.to_owned(),
                known: settings.profile_names().into_iter().map(str::to_owned).collect(),
            }),
        }
    }

    async fn secrets(&self, selection: &SecretSelection) -> Result<Secrets, WorkspaceError> {
        let what = "the secrets";
        let cloud = match (&self.cloud, selection) {
            (_, SecretSelection::Named(names)) if names.is_empty() => return Ok(Secrets::new()),
            (None, SecretSelection::All) => return Ok(Secrets::new()),
            (None, SecretSelection::Named(_)) => return Err(WorkspaceError::NoAccount { what }),
            (Some(cloud), _) => cloud,
        };
        let known = retry("reading the names of the account's secrets", Policy::cloud(), || cloud.secret_names())
            .await
            .map_err(|source| WorkspaceError::Account { what, source })?
            .secrets;
        if let SecretSelection::Named(names) = selection {
            let missing: Vec<String> =
                names.iter().filter(|name| known.iter().all(|secret| secret.name != **name)).cloned().collect();
            if !missing.is_empty() {
                let known = known.into_iter().map(|secret| secret.name).collect();
                return Err(WorkspaceError::NoSuchSecret { names: missing, known });
            }
        }
        let wanted = |secret: &SecretEntry| match selection {
            SecretSelection::All => true,
            SecretSelection::Named(names) => names.contains(&secret.name),
        };
        Ok(known.into_iter().filter(wanted).map(|secret| Self::reference(cloud, secret)).collect())
    }
}
