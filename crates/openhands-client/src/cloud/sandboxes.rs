//! The Cloud API's endpoints for sandboxes: one method each, one attempt each.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::http::{self, Http, HttpError, Request};
use crate::ids::SandboxId;
use crate::secret::Secret;
use crate::text;

/// The longest reason of a failure that is kept, in characters.
const LONGEST_REASON: usize = 600;

/// The key of an OpenHands Cloud account, and where it opens.
#[derive(Debug, Clone)]
pub struct CloudKey {
    /// Base of the Cloud API.
    pub url: Url,
    /// The account's key.
    pub api_key: Secret,
}

/// `status` of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Option<String>")]
pub enum SandboxStatus {
    /// It boots; or it is idle, for 1.11.0 in process mode.
    Starting,
    /// It runs. Its agent-server may still not answer.
    Running,
    /// It is stopped and can be resumed.
    Paused,
    /// It has failed; or it boots, for some seconds.
    Error,
    /// It is gone.
    Missing,
    /// A status of a newer server.
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
    /// Its id.
    pub id: String,
    /// Its status, which flaps.
    #[serde(default)]
    pub status: SandboxStatus,
    /// Its session key; null unless RUNNING.
    #[serde(default)]
    pub session_api_key: Option<Secret>,
    /// Its addresses; null unless RUNNING.
    #[serde(default)]
    pub exposed_urls: Option<Vec<ExposedUrl>>,
    /// What it was made from.
    #[serde(default)]
    pub sandbox_spec_id: Option<String>,
    /// When it was made, UTC.
    #[serde(default)]
    pub created_at: Option<String>,
    /// Why it has failed, under the names that such fields have in APIs of this kind; 1.11.0 has none of them.
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
    /// Why the sandbox has failed, in the words of the Cloud, as one bounded line. A value of another type counts as none.
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

    /// The address of its agent-server, and the port that it has inside.
    #[must_use]
    pub fn agent_server(&self) -> Option<(Url, Option<u16>)> {
        let exposed = self.exposed_urls.as_ref()?.iter().find(|exposed| exposed.name == AGENT_SERVER)?;
        Some((exposed.url.as_ref()?.parse().ok()?, exposed.port))
    }
}

/// The name of the agent-server among the addresses of a sandbox.
const AGENT_SERVER: &str = "AGENT_SERVER";

/// One of a sandbox's addresses.
#[derive(Debug, Clone, Deserialize)]
pub struct ExposedUrl {
    /// `AGENT_SERVER`, `VSCODE` …
    pub name: String,
    /// The address from outside. Only that of the agent-server is used, and read then.
    #[serde(default)]
    pub url: Option<String>,
    /// The port inside.
    #[serde(default)]
    pub port: Option<u16>,
}

/// A page of `GET /api/v1/sandboxes/search`.
#[derive(Debug, Deserialize)]
pub struct SandboxPage {
    /// The sandboxes, the newest first.
    pub items: Vec<SandboxInfo>,
    /// Where the next page begins.
    #[serde(default)]
    pub next_page_id: Option<String>,
}

/// The Cloud API for an account from outside. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sandboxes {
    http: Http,
    key: CloudKey,
    limit: Duration,
}

impl Sandboxes {
    /// A client whose calls take at most `limit`.
    #[must_use]
    pub fn new(http: Http, key: CloudKey, limit: Duration) -> Self {
        Self { http, key, limit }
    }

    /// The account's key.
    #[must_use]
    pub fn key(&self) -> &CloudKey {
        &self.key
    }

    /// What requests are made with.
    #[must_use]
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// The same with connections of its own.
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

    /// `POST /api/v1/sandboxes`: makes a sandbox and answers when it has booted (1.11.0: 7 to 39 s). **Must not be
    /// repeated**: one that is cut off may create a sandbox anyway.
    ///
    /// # Errors
    /// [`HttpError`]; 500 for an unknown spec and for a boot that failed, 429 at the account's limit.
    pub async fn create(&self, spec: Option<&str>, limit: Duration) -> Result<SandboxInfo, HttpError> {
        let mut request = self.request(Method::POST, &[]).timeout(limit);
        if let Some(spec) = spec {
            request = request.query(&[("sandbox_spec_id", spec)]);
        }
        request.send().await?.json()
    }

    /// `GET /api/v1/sandboxes?id=`; nothing for an unknown id. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn get(&self, id: &SandboxId) -> Result<Option<SandboxInfo>, HttpError> {
        let request = self.request(Method::GET, &[]).query(&[("id", id.as_str())]);
        let found: Vec<Option<SandboxInfo>> = request.send().await?.json()?;
        Ok(found.into_iter().flatten().next())
    }

    /// `GET /api/v1/sandboxes/search`: a page of 100, the newest first. May be repeated.
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

    /// `DELETE /api/v1/sandboxes/{id}`; whether it was there. May be repeated. About 10 s for a paused sandbox.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn delete(&self, id: &SandboxId) -> Result<bool, HttpError> {
        // The id in the query is the one that counts.
        let request = self.request(Method::DELETE, &[id.as_str()]).query(&[("sandbox_id", id.as_str())]);
        match request.send().await {
            Ok(_) => Ok(true),
            Err(error) if error.status() == Some(404) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// `GET /api/v1/users/me`: whether the key is good. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; 401 for a wrong key.
    pub async fn user(&self) -> Result<Value, HttpError> {
        let url = http::join(&self.key.url, &["api", "v1", "users", "me"]);
        self.http.request(Method::GET, url).bearer(&self.key.api_key).timeout(self.limit).send().await?.json()
    }
}

/// Whether this is the account's limit of sandboxes, which lasts until one of them ends: 429 with
/// `{"detail":{"error":"CONCURRENCY_LIMIT_REACHED"}}`.
#[must_use]
pub fn is_account_limit(error: &HttpError) -> bool {
    let HttpError::Status { status: 429, body, .. } = error else { return false };
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    body.pointer("/detail/error").and_then(Value::as_str) == Some("CONCURRENCY_LIMIT_REACHED")
}
