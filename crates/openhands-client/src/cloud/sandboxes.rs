//! Endpoints of the Cloud API for sandboxes. Each has one method, and each call makes one attempt.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::http::{self, Http, HttpError, Request};
use crate::ids::SandboxId;
use crate::secret::Secret;
use crate::text;

/// The longest failure reason that is kept, in characters.
const LONGEST_REASON: usize = 600;

/// The API key of an OpenHands Cloud account, and the URL for which it is valid.
#[derive(Debug, Clone)]
pub struct CloudKey {
    /// The base URL of the Cloud API.
    pub url: Url,
    /// The API key of the account.
    pub api_key: Secret,
}

/// `status` of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Option<String>")]
pub enum SandboxStatus {
    /// The sandbox boots; in process mode, 1.11.0 also reports an idle sandbox in this way.
    Starting,
    /// The sandbox is running. Its agent-server may not respond yet.
    Running,
    /// The sandbox is stopped and can be resumed.
    Paused,
    /// The sandbox has failed, or it boots, which can take some seconds.
    Error,
    /// The sandbox does not exist.
    Missing,
    /// A status that only newer servers have.
    Other(String),
}

impl Default for SandboxStatus {
    fn default() -> Self {
        None.into()
    }
}

impl From<Option<String>> for SandboxStatus {
    fn from(name: Option<String>) -> Self {
        let Some(name) = name else { return Self::Other("without a status".to_owned()) };
        match name.as_str() {
            "STARTING" => Self::Starting,
            "RUNNING" => Self::Running,
            "PAUSED" => Self::Paused,
            "ERROR" => Self::Error,
            "MISSING" => Self::Missing,
            _ => Self::Other(name),
        }
    }
}

impl std::fmt::Display for SandboxStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::Error => "ERROR",
            Self::Missing => "MISSING",
            Self::Other(name) => name,
        })
    }
}

/// A sandbox, as the Cloud API describes it.
#[derive(Debug, Clone, Deserialize)]
pub struct SandboxInfo {
    /// The id of the sandbox.
    pub id: String,
    /// The status, which flaps.
    #[serde(default)]
    pub status: SandboxStatus,
    /// The session key; null unless RUNNING.
    #[serde(default)]
    pub session_api_key: Option<Secret>,
    /// The URLs; null unless RUNNING.
    #[serde(default)]
    pub exposed_urls: Option<Vec<ExposedUrl>>,
    /// The sandbox spec that it was created from.
    #[serde(default)]
    pub sandbox_spec_id: Option<String>,
    /// The creation time, in UTC.
    #[serde(default)]
    pub created_at: Option<String>,
    /// The reason of a failure, under the names that such fields usually have in similar APIs; 1.11.0 has none of them.
    #[serde(default)]
    error: Value,
    #[serde(default)]
    error_message: Value,
    #[serde(default)]
    status_reason: Value,
    #[serde(default)]
    detail: Value,
}

impl SandboxInfo {
    /// Returns why the sandbox has failed, as the Cloud reports it, in one line of limited length. A value of another type is
    /// ignored.
    #[must_use]
    pub fn failure_reason(&self) -> Option<String> {
        let fields = [&self.error, &self.error_message, &self.status_reason, &self.detail];
        let words = fields.into_iter().find_map(|value| {
            let value = if value.is_object() { value.get("message").or_else(|| value.get("detail"))? } else { value };
            value.as_str().filter(|words| !words.trim().is_empty())
        })?;
        let line: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Some(text::bounded(&line, LONGEST_REASON))
    }

    /// Returns the URL of its agent-server, and the server's port inside the sandbox.
    #[must_use]
    pub fn agent_server(&self) -> Option<(Url, Option<u16>)> {
        let exposed = self.exposed_urls.as_ref()?.iter().find(|exposed| exposed.name == AGENT_SERVER)?;
        Some((exposed.url.as_ref()?.parse().ok()?, exposed.port))
    }
}

/// The name of the agent-server in the list of a sandbox's URLs.
const AGENT_SERVER: &str = "AGENT_SERVER";

/// A URL of a sandbox.
#[derive(Debug, Clone, Deserialize)]
pub struct ExposedUrl {
    /// The name, such as `AGENT_SERVER` or `VSCODE`.
    pub name: String,
    /// The URL from outside. It is parsed only for the agent-server, the only one that is used.
    #[serde(default)]
    pub url: Option<String>,
    /// The port inside the sandbox.
    #[serde(default)]
    pub port: Option<u16>,
}

/// A page of `GET /api/v1/sandboxes/search`.
#[derive(Debug, Deserialize)]
pub struct SandboxPage {
    /// The sandboxes, the newest first.
    pub items: Vec<SandboxInfo>,
    /// The id of the next page.
    #[serde(default)]
    pub next_page_id: Option<String>,
}

/// A client of the Cloud API for an account, used from outside. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sandboxes {
    http: Http,
    key: CloudKey,
    limit: Duration,
}

impl Sandboxes {
    /// Creates a client whose calls take at most `limit`.
    #[must_use]
    pub fn new(http: Http, key: CloudKey, limit: Duration) -> Self {
        Self { http, key, limit }
    }

    /// Returns the API key with its URL.
    #[must_use]
    pub fn key(&self) -> &CloudKey {
        &self.key
    }

    /// Returns the HTTP client.
    #[must_use]
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// Returns the same client with new connections.
    ///
    /// # Errors
    /// [`http::SetupError`].
    pub fn with_fresh_connections(&self) -> Result<Self, http::SetupError> {
        Ok(Self { http: self.http.with_fresh_connections()?, ..self.clone() })
    }

    fn request(&self, method: Method, rest: &[&str]) -> Request {
        let mut segments = vec!["api", "v1", "sandboxes"];
        segments.extend(rest);
        let url = http::join(&self.key.url, &segments);
        self.http.request(method, url).bearer(&self.key.api_key).timeout(self.limit)
    }

    /// `POST /api/v1/sandboxes`: creates a sandbox, and returns when it has booted (1.11.0: 7 to 39 s). **Must not be repeated**:
    /// a request that breaks off may still create a sandbox.
    ///
    /// # Errors
    /// [`HttpError`]; 500 for an unknown spec or a failed boot, 429 at the account's limit.
    pub async fn create(&self, spec: Option<&str>, limit: Duration) -> Result<SandboxInfo, HttpError> {
        let mut request = self.request(Method::POST, &[]).timeout(limit);
        if let Some(spec) = spec {
            request = request.query(&[("sandbox_spec_id", spec)]);
        }
        request.send().await?.json()
    }

    /// `GET /api/v1/sandboxes?id=`: returns the sandbox, or `None` for an unknown id. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn get(&self, id: &SandboxId) -> Result<Option<SandboxInfo>, HttpError> {
        let request = self.request(Method::GET, &[]).query(&[("id", id.as_str())]);
        let found: Vec<Option<SandboxInfo>> = request.send().await?.json()?;
        Ok(found.into_iter().flatten().next())
    }

    /// `GET /api/v1/sandboxes/search`: returns a page of 100 sandboxes, the newest first. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn search(&self, page_id: Option<&str>) -> Result<SandboxPage, HttpError> {
        let mut query = vec![("limit", "100")];
        query.extend(page_id.map(|page| ("page_id", page)));
        self.request(Method::GET, &["search"]).query(&query).send().await?.json()
    }

    /// `POST /api/v1/sandboxes/{id}/pause`. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; 404 for an unknown id.
    pub async fn pause(&self, id: &SandboxId) -> Result<(), HttpError> {
        self.request(Method::POST, &[id.as_str(), "pause"]).send().await.map(drop)
    }

    /// `POST /api/v1/sandboxes/{id}/resume`. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; 404 for an unknown id.
    pub async fn resume(&self, id: &SandboxId, limit: Duration) -> Result<(), HttpError> {
        self.request(Method::POST, &[id.as_str(), "resume"]).timeout(limit).send().await.map(drop)
    }

    /// `DELETE /api/v1/sandboxes/{id}`: returns whether the sandbox existed. May be repeated. Takes about 10 s for a paused
    /// sandbox.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn delete(&self, id: &SandboxId) -> Result<bool, HttpError> {
        // The server uses the id in the query.
        let request = self.request(Method::DELETE, &[id.as_str()]).query(&[("sandbox_id", id.as_str())]);
        match request.send().await {
            Ok(_) => Ok(true),
            Err(error) if error.status() == Some(404) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// `GET /api/v1/users/me`: checks whether the API key is valid. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; 401 for a wrong key.
    pub async fn user(&self) -> Result<Value, HttpError> {
        let url = http::join(&self.key.url, &["api", "v1", "users", "me"]);
        self.http.request(Method::GET, url).bearer(&self.key.api_key).timeout(self.limit).send().await?.json()
    }
}

/// Returns whether the account has reached its limit of sandboxes, which lasts until one of them ends: 429 with
/// `{"detail":{"error":"CONCURRENCY_LIMIT_REACHED"}}`.
#[must_use]
pub fn is_account_limit(error: &HttpError) -> bool {
    let HttpError::Status { status: 429, body, .. } = error else { return false };
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    body.pointer("/detail/error").and_then(Value::as_str) == Some("CONCURRENCY_LIMIT_REACHED")
}
