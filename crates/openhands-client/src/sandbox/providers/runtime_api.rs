//! The Runtime API as a provider: sandboxes from a custom image. The session id of a runtime is the id of the sandbox here,
//! because the API's own runtime id changes when the session gets another runtime.
//!
//! Follows the official client (`openhands-workspace` 1.58.0, `APIRemoteWorkspace`); no server of this API was available for
//! tests.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use crate::http::{self, Http, HttpError, Network, Request, SetupError};
use crate::ids::SandboxId;
use crate::sandbox::{Access, Provider, SandboxError, SandboxState};
use crate::secret::Secret;
use crate::time_limits::TimeLimits;

/// A runtime of the Runtime API. Cheap to clone; clones refer to the same session.
#[derive(Debug, Clone)]
pub struct RuntimeApi {
    http: Http,
    url: Url,
    api_key: Secret,
    /// The session id of the runtime, which stays the same across restarts (default: a new one).
    pub session_id: String,
    /// The image, which contains an agent-server.
    pub server_image: String,
    /// The command that starts the agent-server on port 60000.
    pub command: String,
    /// `IfNotPresent` (default), `Always` or `Never`.
    pub image_pull_policy: String,
    /// The share of a machine: 1 (default), 2, 4 or 8.
    pub resource_factor: u8,
    /// The runtime class (default: `sysbox-runc`).
    pub runtime_class: Option<String>,
    /// Environment variables of the agent-server.
    pub environment: BTreeMap<String, String>,
    /// The time limit until a runtime is ready.
    pub init_timeout: Duration,
    /// The time limit of one call.
    pub api_timeout: Duration,
}

/// The response of `/start` and `/sessions/{id}`.
#[derive(Debug, Deserialize)]
struct Runtime {
    #[serde(rename = "runtime_id", alias = "id")]
    id: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    pod_status: Option<String>,
    #[serde(default)]
    url: Option<Url>,
    #[serde(default)]
    session_api_key: Option<Secret>,
}

#[derive(Serialize)]
struct Start<'s> {
    image: &'s str,
    command: &'s str,
    working_dir: &'static str,
    environment: &'s BTreeMap<String, String>,
    session_id: &'s str,
    run_as_user: u32,
    fs_group: u32,
    image_pull_policy: &'s str,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime_class: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_factor: Option<u8>,
}

impl RuntimeApi {
    /// Creates a runtime from this image.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new(
        network: &Network,
        url: Url,
        api_key: impl Into<Secret>,
        server_image: impl Into<String>,
    ) -> Result<Self, SetupError> {
        Ok(Self::with_http(Http::new(network, TimeLimits::default())?, url, api_key, server_image))
    }

    /// Creates the same with this HTTP client and its connections.
    #[doc(hidden)]
    #[must_use]
    pub fn with_http(http: Http, url: Url, api_key: impl Into<Secret>, server_image: impl Into<String>) -> Self {
        Self {
            init_timeout: http.time_limits().sandbox_init,
            api_timeout: http.time_limits().sandbox_request,
            http,
            url,
            api_key: api_key.into(),
            session_id: format!("agent-server-{}", uuid::Uuid::new_v4()),
            server_image: server_image.into(),
            command: "/usr/local/bin/openhands-agent-server --port 60000".to_owned(),
            image_pull_policy: "IfNotPresent".to_owned(),
            resource_factor: 1,
            runtime_class: Some("sysbox-runc".to_owned()),
            environment: BTreeMap::new(),
        }
    }

    /// Returns the id of the session, which is the id of the sandbox.
    #[doc(hidden)]
    #[must_use]
    pub fn id(&self) -> SandboxId {
        SandboxId::new(&self.session_id)
    }

    fn request(&self, method: Method, segments: &[&str]) -> Request {
        // This is the only API with its own header for the key.
        let request = self.http.request(method, http::join(&self.url, segments)).timeout(self.api_timeout);
        request.api_key(&self.api_key)
    }

    async fn session(&self) -> Result<Option<Runtime>, HttpError> {
        match self.request(Method::GET, &["sessions", &self.session_id]).send().await {
            Ok(answer) => answer.json().map(Some),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the id of the session's runtime.
    async fn runtime_id(&self) -> Result<Option<String>, HttpError> {
        Ok(self.session().await?.and_then(|runtime| runtime.id))
    }

    /// Performs an action on the session's runtime, and returns whether there is one.
    async fn act(&self, action: &str, limit: Duration) -> Result<bool, HttpError> {
        let Some(id) = self.runtime_id().await? else { return Ok(false) };
        let body = json!({"runtime_id": id});
        match self.request(Method::POST, &[action]).json(&body).timeout(limit).send().await {
            Err(error) if error.status() == Some(404) => Ok(false),
            done => done.map(|_| true),
        }
    }

    async fn act_on_existing(&self, action: &str, doing: &'static str, limit: Duration) -> Result<(), SandboxError> {
        match self.act(action, limit).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(SandboxError::Gone { id: self.id() }),
            Err(error) => Err(SandboxError::request(doing)(error)),
        }
    }

    async fn start(&self) -> Result<SandboxId, SandboxError> {
        if !matches!(self.resource_factor, 1 | 2 | 4 | 8) {
            let reason = format!("the resource factor is 1, 2, 4 or 8, not {}", self.resource_factor);
            return Err(SandboxError::Other { doing: "creating the sandbox", reason });
        }
        let body = Start {
            image: &self.server_image,
            command: &self.command,
            working_dir: "/",
            environment: &self.environment,
            session_id: &self.session_id,
            run_as_user: 10001,
            fs_group: 10001,
            image_pull_policy: &self.image_pull_policy,
            runtime_class: self.runtime_class.as_deref(),
            resource_factor: Some(self.resource_factor).filter(|factor| *factor != 1),
        };
        let request = self.request(Method::POST, &["start"]).json(&body).timeout(self.init_timeout);
        let started = async { request.send().await?.json::<Runtime>() }.await;
        self.id_with(&started.map_err(SandboxError::request("creating the sandbox"))?)
    }

    /// Returns the id of a sandbox with this runtime.
    fn id_with(&self, runtime: &Runtime) -> Result<SandboxId, SandboxError> {
        runtime.id.as_ref().map(|_| self.id()).ok_or_else(|| SandboxError::Other {
            doing: "creating the sandbox",
            reason: "the Runtime API gives no runtime_id".to_owned(),
        })
    }
}

impl Provider for RuntimeApi {
    /// The runtime that the session already has. The next runtime of the session is ours.
    type Mark = Option<String>;

    fn flag(&self) -> &'static str {
        " --workspace runtime-api"
    }

    fn id_in_advance(&self) -> Option<SandboxId> {
        Some(self.id())
    }

    async fn mark(&self) -> Result<Option<String>, SandboxError> {
        self.runtime_id().await.map_err(SandboxError::request("reading the session"))
    }

    /// Attaches to the session's runtime if there is one, or else starts one.
    async fn create(&self, _: &Option<String>) -> Result<SandboxId, SandboxError> {
        let session = self.session().await.map_err(SandboxError::request("reading the session"))?;
        match session {
            Some(runtime) if runtime.status.as_deref() == Some("running") => self.id_with(&runtime),
            Some(runtime) if runtime.status.as_deref() == Some("paused") => {
                let id = self.id_with(&runtime)?;
                match self.resume(&id).await {
                    Ok(()) => Ok(id),
                    Err(_) => self.start().await,
                }
            }
            _ => self.start().await,
        }
    }

    async fn made_since(&self, before: &Option<String>) -> Result<Vec<SandboxId>, SandboxError> {
        Ok(self.mark().await?.filter(|id| Some(id) != before.as_ref()).map(|_| self.id()).into_iter().collect())
    }

    async fn look(&self, _: &SandboxId) -> Result<SandboxState, SandboxError> {
        let session = self.session().await.map_err(SandboxError::request("reading the status of the sandbox"))?;
        let Some(runtime) = session else { return Ok(SandboxState::Gone) };
        if runtime.status.as_deref() == Some("paused") {
            return Ok(SandboxState::Paused);
        }
        let status = runtime.pod_status.unwrap_or_default().to_lowercase();
        Ok(match (status.as_str(), runtime.url) {
            ("ready", Some(url)) => SandboxState::Usable(Access::new(url, runtime.session_api_key, Some(60000))),
            ("failed" | "unknown" | "crashloopbackoff", _) => SandboxState::Failed { status, reason: None },
            _ => SandboxState::Waiting(if status.is_empty() { "without a pod".to_owned() } else { status }),
        })
    }

    async fn pause(&self, _: &SandboxId) -> Result<(), SandboxError> {
        self.act_on_existing("pause", "pausing the sandbox", self.api_timeout).await
    }

    async fn resume(&self, _: &SandboxId) -> Result<(), SandboxError> {
        self.act_on_existing("resume", "resuming the sandbox", self.init_timeout).await
    }

    async fn delete(&self, _: &SandboxId) -> Result<(), SandboxError> {
        self.act("stop", self.api_timeout).await.map(drop).map_err(SandboxError::request("deleting the sandbox"))
    }

    fn http(&self) -> &Http {
        &self.http
    }

    fn init_timeout(&self) -> Duration {
        self.init_timeout
    }

    fn with_fresh_connections(&self) -> Option<Self> {
        Some(Self { http: self.http.with_fresh_connections().ok()?, ..self.clone() })
    }
}
