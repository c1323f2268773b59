//! The agent-server's own settings: LLM profiles, agent profiles, secrets, skills.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::agent_server::AgentServerClient;
use crate::agent_server::settings::{Profile, ProfileList, SecretList, ServerSettings, of_profile};
use crate::agent_server::skill::{SkillList, SkillQuery};
use crate::agent_server::wire::SecretSource;
use crate::http::{self, HttpError, Request};
use crate::secret::Secret;

/// An agent profile.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct AgentProfileInfo {
    /// The id of the profile.
    #[serde(default)]
    pub id: Option<String>,
    /// The name of the profile.
    pub name: String,
}

/// The agent profiles of an agent-server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct AgentProfileList {
    /// The profiles.
    pub profiles: Vec<AgentProfileInfo>,
    /// The id of the active profile.
    #[serde(default)]
    pub active_agent_profile_id: Option<String>,
}

impl AgentServerClient {
    /// `GET /api/agent-profiles`. Seen on 1.58.0, absent on 1.11.5. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; [`HttpError::Unsupported`] on older versions.
    pub async fn agent_profiles(&self) -> Result<AgentProfileList, HttpError> {
        match self.request(Method::GET, &["api", "agent-profiles"]).send().await {
            Err(error) if matches!(error.status(), Some(404 | 405)) => Err(self.lacks("agent profiles", error).await),
            other => other?.json(),
        }
    }

    /// Returns the names of the tools that an agent may have: `usable_tools` of `GET /server_info`, or else `GET /api/tools/`,
    /// which on older versions lists a browser even if it is not available. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn tools(&self) -> Result<Vec<String>, HttpError> {
        let info = self.info().await?;
        match info.usable_tools {
            Some(tools) => Ok(tools),
            None => self.request(Method::GET, &["api", "tools", ""]).send().await?.json(),
        }
    }

    /// `GET /openapi.json`: returns the names of the types that the server knows, such as `AgentDefinition`. A type that differs
    /// between requests and responses has two names: `X-Input` and `X-Output`. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn types(&self) -> Result<Vec<String>, HttpError> {
        #[derive(Deserialize)]
        struct Document {
            components: Components,
        }
        #[derive(Deserialize)]
        struct Components {
            #[expect(clippy::zero_sized_map_values, reason = "serde passes over what the names stand for")]
            schemas: BTreeMap<String, IgnoredAny>,
        }
        let document: Document = self.request(Method::GET, &["openapi.json"]).send().await?.json()?;
        Ok(document.components.schemas.into_keys().collect())
    }

    /// `POST /api/skills`: returns the skills of some sources. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn skills(&self, query: &SkillQuery) -> Result<SkillList, HttpError> {
        self.request(Method::POST, &["api", "skills"])
            .timeout(self.time_limits().skills)
            .json(query)
            .send()
            .await?
            .json()
    }

    /// `GET /api/settings` with keys in plain text, from 1.22.1. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; 404 on older versions.
    pub async fn settings(&self) -> Result<ServerSettings, HttpError> {
        self.with_keys(&["api", "settings"]).send().await?.json()
    }

    /// `GET /api/profiles/{name}` with its key in plain text, from 1.22.1. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; 404 for an unknown profile.
    pub async fn profile(&self, name: &str) -> Result<Profile, HttpError> {
        self.with_keys(&["api", "profiles", name]).send().await?.json()
    }

    /// `GET /api/profiles`: returns the names of the LLM profiles, from 1.22.1. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn profiles(&self) -> Result<ProfileList, HttpError> {
        self.request(Method::GET, &["api", "profiles"]).send().await?.json()
    }

    /// `GET /api/settings/secrets`: returns names and descriptions, from 1.22.1. With an agent profile, only the secrets that it
    /// allows. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; 404 on older versions, or for an unknown profile.
    pub async fn secret_names(&self, agent_profile: Option<&str>) -> Result<SecretList, HttpError> {
        let request = self.request(Method::GET, &["api", "settings", "secrets"]);
        request.query(&of_profile(agent_profile)).send().await?.json()
    }

    /// Returns a reference to a secret in the server's own settings: `GET /api/settings/secrets/{name}`, in plain text, with the
    /// session key.
    #[must_use]
    pub fn secret(&self, name: &str, description: Option<String>) -> SecretSource {
        let key = self.session_key.as_ref().map(|key| ("X-Session-API-Key".to_owned(), key.expose().to_owned()));
        SecretSource::Lookup {
            url: http::join(&self.base, &["api", "settings", "secrets", name]).into(),
            headers: key.into_iter().collect(),
            description,
        }
    }

    /// `GET /api/settings/secrets/{name}`: returns the value of a secret, or `None` if it does not exist; from 1.22.1. May be
    /// repeated. It is used for steps before the agent starts; the agent itself gets [`AgentServerClient::secret`].
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn secret_value(&self, name: &str) -> Result<Option<Secret>, HttpError> {
        match self.request(Method::GET, &["api", "settings", "secrets", name]).send().await {
            Ok(answer) => Ok(Some(Secret::new(answer.text().trim())).filter(|secret| !secret.expose().is_empty())),
            // This includes versions without such settings.
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn with_keys(&self, segments: &[&str]) -> Request {
        self.request(Method::GET, segments).header("X-Expose-Secrets", "plaintext")
    }
}
