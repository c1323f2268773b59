//! Client of an agent-server. Each endpoint has one method, and each call makes one attempt.
//!
//! The docs of a method say whether the call may be repeated. All versions authenticate with the header `X-Session-API-Key`.

use reqwest::Method;
use url::Url;

use super::capabilities::{Capabilities, Version};
use super::wire::ServerInfo;
use crate::agent_server::AgentServerAddress;
use crate::http::{self, Http, HttpError, Request};
use crate::ids::ConversationId;
use crate::secret::Secret;
use crate::time_limits::TimeLimits;

pub use super::endpoints::{ConfirmationPolicy, Created, EventQuery, ForkOptions, RunStarted};

/// A client of one agent-server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AgentServerClient {
    http: Http,
    pub(super) base: Url,
    pub(super) session_key: Option<Secret>,
    /// The conversation whose container runs the commands and has the files.
    container: Option<ConversationId>,
}

impl AgentServerClient {
    /// Creates a client of this server.
    #[must_use]
    pub fn new(http: Http, server: &AgentServerAddress) -> Self {
        Self { http, base: server.url.clone(), session_key: server.session_key.clone(), container: None }
    }

    /// Returns the same client with new connections, because connections belong to the runtime that created them.
    #[must_use]
    pub fn with_fresh_connections(&self) -> Option<Self> {
        Some(Self { http: self.http.with_fresh_connections().ok()?, ..self.clone() })
    }

    /// Returns the time limits of its requests.
    #[must_use]
    pub fn time_limits(&self) -> &TimeLimits {
        self.http.time_limits()
    }

    /// Returns how many bytes of files this client and its clones have sent and received so far.
    #[must_use]
    pub fn transferred(&self) -> u64 {
        self.http.transferred()
    }

    /// Returns the sum of the sizes of these files in bytes, as far as they are known.
    #[must_use]
    pub fn announced(&self) -> u64 {
        self.http.announced()
    }

    /// Returns the server's address in a form without secrets.
    #[must_use]
    pub fn address(&self) -> String {
        http::without_secrets(&self.base).trim_end_matches('/').to_owned()
    }

    /// Returns the same client, with the commands and files of this conversation's container. Seen on 1.58.0
    /// (`runtime_router.py`).
    #[must_use]
    pub fn in_container_of(&self, id: ConversationId) -> Self {
        Self { container: Some(id), ..self.clone() }
    }

    /// Returns whether commands and files are those of a container.
    pub(crate) fn is_in_container(&self) -> bool {
        self.container.is_some()
    }

    /// Starts a request to an endpoint for commands or files.
    pub(super) fn of_machine(&self, method: Method, rest: &[&str]) -> Request {
        match self.container {
            Some(id) => self.of_conversation(method, id, rest),
            None => self.request(method, &[&["api"][..], rest].concat()),
        }
    }

    pub(super) fn request(&self, method: Method, segments: &[&str]) -> Request {
        let request = self.http.request(method, http::join(&self.base, segments));
        match &self.session_key {
            Some(key) => request.session_key(key),
            None => request,
        }
    }

    pub(super) fn of_conversation(&self, method: Method, id: ConversationId, rest: &[&str]) -> Request {
        let id = id.to_string();
        let mut segments = vec!["api", "conversations", id.as_str()];
        segments.extend(rest);
        self.request(method, &segments)
    }

    /// `GET /ready`, or `GET /alive` on a version without `/ready`. Needs no key. May be repeated.
    ///
    /// # Errors
    /// 503 while the server is initialising; a connection error until it listens.
    pub async fn ready(&self) -> Result<(), HttpError> {
        let ready = self.request(Method::GET, &["ready"]).timeout(self.time_limits().ready_attempt).send().await;
        match ready {
            Err(error) if error.status() == Some(404) => {
                self.request(Method::GET, &["alive"]).timeout(self.time_limits().ready_attempt).send().await.map(drop)
            }
            other => other.map(drop),
        }
    }

    /// `GET /server_info`: the server's version and its setup. Needs no key. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn info(&self) -> Result<ServerInfo, HttpError> {
        self.request(Method::GET, &["server_info"]).send().await?.json()
    }

    /// Reads only the version, like [`AgentServerClient::info`].
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn version(&self) -> Result<String, HttpError> {
        Ok(self.info().await?.version)
    }

    /// Distinguishes a version without the endpoint from a conversation that does not exist: both respond with 404.
    pub(super) async fn or_unsupported<T>(
        &self,
        operation: &'static str,
        id: ConversationId,
        response: Result<T, HttpError>,
    ) -> Result<T, HttpError> {
        match response {
            Err(error) if matches!(error.status(), Some(404 | 405)) && self.conversation(id).await.is_ok() => {
                Err(self.lacks(operation, error).await)
            }
            other => other,
        }
    }

    /// Returns the error for an endpoint that the version does not have, or the original error if the version cannot be read.
    pub(super) async fn lacks(&self, operation: &'static str, error: HttpError) -> HttpError {
        match self.version().await {
            Ok(version) => HttpError::Unsupported { operation, version },
            Err(_) => error,
        }
    }

    /// Returns the address, the key header and the TLS setup of the events socket; see [`super::socket`].
    pub(super) fn socket_endpoint(&self, id: ConversationId) -> SocketEndpoint {
        let mut url = http::join(&self.base, &["sockets", "events", &id.to_string()]);
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        // Both schemes are special, so the change cannot fail.
        let _ = url.set_scheme(scheme);
        let proxy = self.http.proxy_of(&url);
        SocketEndpoint {
            url,
            session_key: self.session_key.clone(),
            tls: self.http.tls(),
            proxy,
            time_limits: *self.time_limits(),
        }
    }
}

/// The connection parameters of a socket.
pub(super) struct SocketEndpoint {
    pub(super) url: Url,
    pub(super) session_key: Option<Secret>,
    pub(super) tls: std::sync::Arc<rustls::ClientConfig>,
    pub(super) time_limits: TimeLimits,
    /// The proxy for the connection.
    pub(super) proxy: Option<Url>,
}

impl ServerInfo {
    /// Returns the capabilities of the server.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        let own_container = self.conversation_runtime.as_deref() == Some("docker");
        Capabilities { own_container, ..capabilities_of(&self.version) }
    }
}

/// Returns the capabilities of a version text. An unknown version counts as the newest known one.
#[must_use]
pub fn capabilities_of(version: &str) -> Capabilities {
    match Version::parse(version) {
        Some(version) => Capabilities::of(version),
        None => {
            tracing::warn!(version, "unknown agent-server version; treating it as the newest");
            Capabilities::newest()
        }
    }
}
