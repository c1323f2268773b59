//! A sandbox in OpenHands Cloud, from outside.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use serde_json::{Map, Value};

use super::{Inside, RemoteWorkspace, Workspace, WorkspaceError};
use crate::agent_server;
use crate::agent_server::mcp::McpServers;
use crate::agent_server::wire::{Llm, Secrets};
use crate::agent_server::{AgentServerAddress, DEFAULT_PORT, local_agent_server};
use crate::cloud::{self, CloudAccount, CloudKey, Sandboxes};
use crate::http::Network;
use crate::http::{Http, SetupError};
use crate::ids::{ConversationId, SandboxId};
use crate::sandbox::providers::cloud::CloudProvider;
use crate::sandbox::ready::Ready;
use crate::sandbox::{Sandbox, SandboxError};
use crate::secret::Secret;
use crate::time_limits::TimeLimits;
use crate::workspace::SecretSelection;

/// How a [`CloudWorkspace`] is opened.
#[derive(Debug, Clone)]
pub struct CloudWorkspaceBuilder {
    key: CloudKey,
    sandbox_spec_id: Option<String>,
    sandbox_id: Option<SandboxId>,
    init_timeout: Option<Duration>,
    api_timeout: Option<Duration>,
    time_limits: TimeLimits,
    keep_alive: bool,
    agent_server_port: u16,
    http: Option<Http>,
}

impl CloudWorkspaceBuilder {
    /// The sandbox spec, instead of the account's default one.
    #[must_use]
    pub fn sandbox_spec_id(mut self, spec: impl Into<String>) -> Self {
        self.sandbox_spec_id = Some(spec.into());
        self
    }

    /// Takes this sandbox instead of a new one, and lets it go on if it is paused. Once it was ready it is deleted at the end
    /// like a new one, unless it is kept alive.
    #[must_use]
    pub fn sandbox_id(mut self, id: impl Into<String>) -> Self {
        self.sandbox_id = Some(SandboxId::new(id));
        self
    }

    /// How long the sandbox may take until it is ready (default 300 s).
    #[must_use]
    pub fn init_timeout(mut self, limit: Duration) -> Self {
        self.init_timeout = Some(limit);
        self
    }

    /// How long one call of the Cloud API may take (default 60 s).
    #[must_use]
    pub fn api_timeout(mut self, limit: Duration) -> Self {
        self.api_timeout = Some(limit);
        self
    }

    /// Leaves the sandbox running at the end (default: it is deleted).
    #[must_use]
    pub fn keep_alive(mut self, keep_alive: bool) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// The port of the local agent-server, for [`CloudWorkspaceBuilder::inside`] (default 60000).
    #[must_use]
    pub fn agent_server_port(mut self, port: u16) -> Self {
        self.agent_server_port = port;
        self
    }

    /// The workspace around this process, for a program that runs inside of the sandbox with this id and session key: no
    /// sandbox is made or deleted. The account is the builder's. (`saas_runtime_mode` of the Python SDK.)
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn inside(&self, sandbox_id: impl Into<String>, session_key: Secret) -> Result<Inside, SetupError> {
        let http = self.client()?;
        let url = local_agent_server(self.agent_server_port);
        let server = AgentServerAddress { url, session_key: Some(session_key.clone()) };
        let sandbox_id = SandboxId::new(sandbox_id);
        let CloudKey { url, api_key } = self.key.clone();
        let account = CloudAccount { url, api_key, sandbox_id, session_key };
        let client = agent_server::AgentServerClient::new(http.clone(), &server);
        Ok(Inside::new(client, Some(cloud::CloudClient::new(http, account))))
    }

    fn client(&self) -> Result<Http, SetupError> {
        match &self.http {
            Some(http) => Ok(http.clone()),
            None => Http::new(&Network::default(), self.time_limits),
        }
    }

    /// Uses these limits for everything else, unless a client is given with [`CloudWorkspaceBuilder::http`], which has its own.
    #[must_use]
    pub fn time_limits(mut self, limits: TimeLimits) -> Self {
        self.time_limits = limits;
        self
    }

    /// Uses this HTTP client, for proxies, certificates and time limits of its own.
    #[must_use]
    pub fn http(mut self, http: Http) -> Self {
        self.http = Some(http);
        self
    }

    /// The provider with these parameters.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn provider(&self) -> Result<CloudProvider, SetupError> {
        let http = self.client()?;
        let limits = *http.time_limits();
        let api_timeout = self.api_timeout.unwrap_or(limits.sandbox_request);
        Ok(CloudProvider {
            sandboxes: Sandboxes::new(http, self.key.clone(), api_timeout),
            spec: self.sandbox_spec_id.clone(),
            init_timeout: self.init_timeout.unwrap_or(limits.sandbox_init),
        })
    }

    /// The sandbox, asked for and not waited for. Whoever holds it can delete it at any time. Must be called in a tokio
    /// runtime.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn sandbox(&self) -> Result<Sandbox<CloudProvider>, SetupError> {
        let provider = self.provider()?;
        let mut sandbox = match &self.sandbox_id {
            Some(id) => Sandbox::existing(provider, id.clone()),
            None => Sandbox::create(provider),
        };
        if self.keep_alive {
            sandbox.keep();
        }
        Ok(sandbox)
    }

    /// Makes or resumes the sandbox and waits until it can be used. Dropping the future deletes what it has made.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is left then, unless the error says so.
    pub async fn open(self) -> Result<CloudWorkspace, OpenError> {
        Ok(CloudWorkspace::of(self.sandbox()?).await?)
    }
}

/// A [`CloudWorkspace`] could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The HTTP client could not be made.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The sandbox could not be had.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// A sandbox in OpenHands Cloud that can be used: commands, files, conversations, the account's LLM and secrets.
pub type CloudWorkspace = RemoteWorkspace<CloudProvider>;

impl CloudWorkspace {
    /// A workspace in the account with this key.
    #[must_use]
    pub fn builder(cloud_api_url: url::Url, cloud_api_key: Secret) -> CloudWorkspaceBuilder {
        CloudWorkspaceBuilder {
            key: CloudKey { url: cloud_api_url, api_key: cloud_api_key },
            sandbox_spec_id: None,
            sandbox_id: None,
            init_timeout: None,
            api_timeout: None,
            time_limits: TimeLimits::default(),
            keep_alive: false,
            agent_server_port: DEFAULT_PORT,
            http: None,
        }
    }

    /// The account's LLM, or one of its profiles, with these fields on top (`model`, `temperature` …).
    ///
    /// # Errors
    /// [`WorkspaceError`].
    pub async fn get_llm(
        &self,
        profile: Option<&str>,
        overrides: impl IntoIterator<Item = (&str, Value)>,
    ) -> Result<Llm, WorkspaceError> {
        let Llm(mut fields) = self.llm(profile).await?;
        fields.extend(overrides.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>());
        Ok(Llm(fields))
    }

    /// References to the account's secrets: to all, or to these, each of which must exist.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    pub async fn get_secrets(&self, names: Option<&[&str]>) -> Result<Secrets, WorkspaceError> {
        let selection = match names {
            None => SecretSelection::All,
            Some(names) => SecretSelection::Named(names.iter().map(|&name| name.to_owned()).collect()),
        };
        self.secrets(&selection).await
    }

    fn inside(&self) -> Inside {
        inside_of(self.id(), &self.provider().sandboxes, self.ready())
    }
}

/// What a run in this sandbox sees: its agent-server, and the account.
#[must_use]
pub fn inside_of(id: &SandboxId, sandboxes: &Sandboxes, ready: &Ready) -> Inside {
    let account = ready.access.agent_server.session_key.clone().map(|session_key| CloudAccount {
        url: sandboxes.key().url.clone(),
        api_key: sandboxes.key().api_key.clone(),
        sandbox_id: id.clone(),
        session_key,
    });
    let cloud = account.map(|account| cloud::CloudClient::new(sandboxes.http().clone(), account));
    Inside::new(ready.server.client.clone(), cloud)
}

impl Workspace for CloudWorkspace {
    fn agent_server(&self) -> &agent_server::AgentServerClient {
        &self.server().client
    }

    fn llm<'a>(&'a self, profile: Option<&'a str>) -> BoxFuture<'a, Result<Llm, WorkspaceError>> {
        async move { self.inside().llm(profile).await }.boxed()
    }

    fn secrets<'a>(&'a self, selection: &'a SecretSelection) -> BoxFuture<'a, Result<Secrets, WorkspaceError>> {
        async move { self.inside().secrets(selection).await }.boxed()
    }

    fn mcp_servers(&self) -> BoxFuture<'_, Result<McpServers, WorkspaceError>> {
        async move { self.inside().mcp_servers().await }.boxed()
    }

    fn secret_value<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Secret>, WorkspaceError>> {
        async move { self.inside().secret_value(name).await }.boxed()
    }

    fn session_url(&self, id: ConversationId) -> Option<String> {
        self.inside().session_url(id)
    }
}
