//! A sandbox in OpenHands Cloud, used from outside.

use std::time::Duration;

use url::Url;

use super::{AccountClient, OpenError, RemoteWorkspace};
use crate::cloud::{CloudAccount, CloudClient, CloudKey, Sandboxes, default_url};
use crate::http::{Http, Network, SetupError};
use crate::ids::SandboxId;
use crate::sandbox::Sandbox;
use crate::sandbox::providers::cloud::CloudProvider;
use crate::sandbox::ready::Ready;
use crate::secret::Secret;
use crate::time_limits::TimeLimits;

/// Options for opening a [`CloudWorkspace`].
#[derive(Debug, Clone)]
pub struct CloudWorkspaceBuilder {
    key: CloudKey,
    sandbox_spec_id: Option<String>,
    sandbox_id: Option<SandboxId>,
    init_timeout: Option<Duration>,
    api_timeout: Option<Duration>,
    time_limits: TimeLimits,
    keep_alive: bool,
    network: Network,
    http: Option<Http>,
}

impl CloudWorkspaceBuilder {
    /// Sets the URL of the Cloud API (default: <https://app.all-hands.dev>).
    #[must_use]
    pub fn url(mut self, url: Url) -> Self {
        self.key.url = url;
        self
    }

    /// Sets the sandbox spec (default: the default spec of the account).
    #[must_use]
    pub fn sandbox_spec_id(mut self, spec: impl Into<String>) -> Self {
        self.sandbox_spec_id = Some(spec.into());
        self
    }

    /// Attaches to this sandbox instead of creating one, and resumes it if it is paused. [`CloudWorkspace::close`] deletes it
    /// like a new one, unless it is kept alive.
    #[must_use]
    pub fn sandbox_id(mut self, id: impl Into<String>) -> Self {
        self.sandbox_id = Some(SandboxId::new(id));
        self
    }

    /// Sets the time limit until the sandbox is ready (default: 300 s).
    #[must_use]
    pub fn init_timeout(mut self, limit: Duration) -> Self {
        self.init_timeout = Some(limit);
        self
    }

    /// Sets the time limit of one call of the Cloud API (default: 60 s).
    #[must_use]
    pub fn api_timeout(mut self, limit: Duration) -> Self {
        self.api_timeout = Some(limit);
        self
    }

    /// Keeps the sandbox running at the end (default: it is deleted).
    #[must_use]
    pub fn keep_alive(mut self, keep_alive: bool) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Sets proxies, and certificate authorities in addition to the built-in ones.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Sets all other time limits. A client given with [`CloudWorkspaceBuilder::http`] has its own limits.
    #[doc(hidden)]
    #[must_use]
    pub fn time_limits(mut self, limits: TimeLimits) -> Self {
        self.time_limits = limits;
        self
    }

    /// Uses this HTTP client and its connections.
    #[doc(hidden)]
    #[must_use]
    pub fn http(mut self, http: Http) -> Self {
        self.http = Some(http);
        self
    }

    /// Requests a sandbox without waiting for it. Its owner can delete it at any time. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`SetupError`].
    #[doc(hidden)]
    pub fn sandbox(&self) -> Result<Sandbox<CloudProvider>, SetupError> {
        let http = match &self.http {
            Some(http) => http.clone(),
            None => Http::new(&self.network, self.time_limits)?,
        };
        let limits = *http.time_limits();
        let provider = CloudProvider {
            sandboxes: Sandboxes::new(http, self.key.clone(), self.api_timeout.unwrap_or(limits.sandbox_request)),
            spec: self.sandbox_spec_id.clone(),
            init_timeout: self.init_timeout.unwrap_or(limits.sandbox_init),
        };
        let mut sandbox = match &self.sandbox_id {
            Some(id) => Sandbox::existing(provider, id.clone()),
            None => Sandbox::create(provider),
        };
        if self.keep_alive {
            sandbox.keep();
        }
        Ok(sandbox)
    }

    /// Creates or resumes the sandbox and waits until it is ready. If the future is dropped, what it has created is deleted.
    ///
    /// # Errors
    /// [`OpenError`]. In this case no sandbox is left, unless the error says so.
    pub async fn open(self) -> Result<CloudWorkspace, OpenError> {
        let account = |provider: &CloudProvider, id: &_, ready: &_| account_of(id, &provider.sandboxes, ready);
        Ok(CloudWorkspace::of(self.sandbox()?, account).await?)
    }
}

/// A sandbox in OpenHands Cloud: commands, files, conversations, and the account's LLM and secrets.
pub type CloudWorkspace = RemoteWorkspace<CloudProvider>;

impl CloudWorkspace {
    /// Creates a sandbox in the account with this key, at <https://app.all-hands.dev>, and waits until it is ready.
    ///
    /// # Errors
    /// [`OpenError`]. In this case no sandbox is left, unless the error says so.
    pub async fn open(api_key: impl Into<Secret>) -> Result<Self, OpenError> {
        Self::builder(api_key).open().await
    }

    /// Returns a builder for a workspace in the account with this key.
    #[must_use]
    pub fn builder(api_key: impl Into<Secret>) -> CloudWorkspaceBuilder {
        CloudWorkspaceBuilder {
            key: CloudKey { url: default_url(), api_key: api_key.into() },
            sandbox_spec_id: None,
            sandbox_id: None,
            init_timeout: None,
            api_timeout: None,
            time_limits: TimeLimits::default(),
            keep_alive: false,
            network: Network::default(),
            http: None,
        }
    }
}

/// Returns the account of a sandbox in OpenHands Cloud.
#[must_use]
pub fn account_of(id: &SandboxId, sandboxes: &Sandboxes, ready: &Ready) -> AccountClient {
    let Some(session_key) = ready.access.agent_server.session_key.clone() else { return AccountClient::none() };
    let CloudKey { url, api_key } = sandboxes.key().clone();
    let account = CloudAccount { url, api_key, sandbox_id: id.clone(), session_key };
    AccountClient::cloud(CloudClient::new(sandboxes.http().clone(), account))
}
