//! Client of the Cloud API. Each endpoint has one method, and each call makes one attempt; all calls may be repeated.

use reqwest::Method;
use url::Url;

use super::wire::UserSettings;
use crate::agent_server::settings::{SecretList, of_profile};
use crate::cloud::CloudAccount;
use crate::http::{self, Http, HttpError};
use crate::secret::Secret;
use crate::time_limits::TimeLimits;

/// A client of the Cloud API for use inside a sandbox. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CloudClient {
    http: Http,
    account: CloudAccount,
}

impl CloudClient {
    /// Creates a client for this account.
    #[must_use]
    pub fn new(http: Http, account: CloudAccount) -> Self {
        Self { http, account }
    }

    /// Returns the time limits of its HTTP client.
    #[must_use]
    pub fn time_limits(&self) -> &TimeLimits {
        self.http.time_limits()
    }

    /// Returns the account of the client.
    #[must_use]
    pub fn account(&self) -> &CloudAccount {
        &self.account
    }

    fn sandbox_secrets(&self, rest: &[&str]) -> Url {
        let mut segments = vec!["api", "v1", "sandboxes", self.account.sandbox_id.as_str(), "settings", "secrets"];
        segments.extend(rest);
        http::join(&self.account.url, &segments)
    }

    /// `GET /api/v1/users/me?expose_secrets=true` with both keys: returns the account's settings with LLM keys in plain text.
    ///
    /// # Errors
    /// [`HttpError`]; 401 for a missing or wrong key, and while the sandbox is not RUNNING.
    pub async fn user_settings(&self) -> Result<UserSettings, HttpError> {
        self.http
            .request(Method::GET, http::join(&self.account.url, &["api", "v1", "users", "me"]))
            .bearer(&self.account.api_key)
            .session_key(&self.account.session_key)
            .query(&[("expose_secrets", "true")])
            .send()
            .await?
            .json()
    }

    /// `GET /api/v1/sandboxes/{id}/settings/secrets`: returns names and descriptions of the account's secrets. With an agent
    /// profile, only the secrets that it allows.
    ///
    /// # Errors
    /// [`HttpError`]; 401 for a wrong key, 403 for another sandbox's id.
    pub async fn secret_names(&self, agent_profile: Option<&str>) -> Result<SecretList, HttpError> {
        self.http
            .request(Method::GET, self.sandbox_secrets(&[]))
            .query(&of_profile(agent_profile))
            .bearer(&self.account.api_key)
            .session_key(&self.account.session_key)
            .send()
            .await?
            .json()
    }

    /// `GET /api/v1/sandboxes/{id}/settings/secrets/{name}`: returns the value of a secret, or `None` if it does not exist. It is
    /// used for steps before the agent starts; the agent itself gets [`CloudClient::secret_url`].
    ///
    /// # Errors
    /// [`HttpError`]; 401 for a wrong key.
    pub async fn secret_value(&self, name: &str) -> Result<Option<Secret>, HttpError> {
        let request = self.http.request(Method::GET, self.secret_url(name)).session_key(&self.account.session_key);
        match request.send().await {
            Ok(answer) => Ok(Some(Secret::new(answer.text().trim())).filter(|secret| !secret.expose().is_empty())),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the URL of the value of a secret: `GET /api/v1/sandboxes/{id}/settings/secrets/{name}`, in plain text, with the
    /// session key.
    #[must_use]
    pub fn secret_url(&self, name: &str) -> Url {
        self.sandbox_secrets(&[name])
    }
}
