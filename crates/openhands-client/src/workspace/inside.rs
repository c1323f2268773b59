//! A workspace for a program that runs inside a sandbox, with the completion callback of its run.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use tokio::time::timeout;
use url::Url;

use super::{AccountClient, OpenError, Workspace};
use crate::agent_server::ready::await_ready;
use crate::agent_server::{AgentServer, AgentServerAddress, AgentServerClient, DEFAULT_PORT, local_agent_server};
use crate::automation::callback::{Callback, CallbackError, Delivered};
use crate::automation::completion::CompletionReport;
use crate::cloud::{CloudAccount, CloudClient, default_url};
use crate::http::{Http, Network};
use crate::ids::SandboxId;
use crate::sandbox::blocking_cleanup::blocking_cleanup;
use crate::secret::Secret;
use crate::text;
use crate::time_limits::TimeLimits;

/// Options for opening an [`InsideWorkspace`].
#[derive(Clone)]
pub struct InsideWorkspaceBuilder {
    sandbox_id: Option<SandboxId>,
    session_key: Option<Secret>,
    agent_server: Url,
    is_own_server: bool,
    cloud_url: Url,
    api_key: Option<Secret>,
    callback_url: Option<Url>,
    callback_key: Option<Secret>,
    run_id: Option<String>,
    callback_budget: Duration,
    ready_timeout: Duration,
    network: Network,
}

impl InsideWorkspaceBuilder {
    /// Sets the id of this sandbox. Together with a Cloud API key, it gives access to the account's LLM and secrets.
    #[must_use]
    pub fn sandbox_id(mut self, id: impl Into<String>) -> Self {
        self.sandbox_id = Some(SandboxId::new(id));
        self
    }

    /// Sets the session key of the agent-server.
    #[must_use]
    pub fn session_key(mut self, key: impl Into<Secret>) -> Self {
        self.session_key = Some(key.into());
        self
    }

    /// Sets the port of the agent-server in this sandbox (default: 60000).
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        if self.is_own_server {
            self.agent_server = local_agent_server(port);
        }
        self
    }

    /// Uses the agent-server at this URL, and the server's own settings instead of a Cloud account.
    #[must_use]
    pub fn agent_server(mut self, url: Url) -> Self {
        self.agent_server = url;
        self.is_own_server = false;
        self
    }

    /// Sets the API key of the Cloud account.
    #[must_use]
    pub fn api_key(mut self, key: impl Into<Secret>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// Sets the URL of the Cloud API (default: <https://app.all-hands.dev>).
    #[must_use]
    pub fn url(mut self, url: Url) -> Self {
        self.cloud_url = url;
        self
    }

    /// Sets the URL that receives the outcome of the run.
    #[must_use]
    pub fn callback_url(mut self, url: Url) -> Self {
        self.callback_url = Some(url);
        self
    }

    /// Sets the bearer token of the callback (default: the API key of the Cloud account).
    #[must_use]
    pub fn callback_key(mut self, key: impl Into<Secret>) -> Self {
        self.callback_key = Some(key.into());
        self
    }

    /// Sets the id of the run, which is part of the callback.
    #[must_use]
    pub fn run_id(mut self, id: impl Into<String>) -> Self {
        self.run_id = Some(id.into());
        self
    }

    /// Sets how long the delivery of the callback is retried (default: 60 s).
    #[must_use]
    pub fn callback_budget(mut self, budget: Duration) -> Self {
        self.callback_budget = budget;
        self
    }

    /// Sets the time limit until the agent-server is ready (default: 120 s).
    #[must_use]
    pub fn ready_timeout(mut self, limit: Duration) -> Self {
        self.ready_timeout = limit;
        self
    }

    /// Sets proxies, and certificate authorities in addition to the built-in ones.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Waits until the agent-server is ready.
    ///
    /// # Errors
    /// [`OpenError`]. If a callback URL is set, FAILED is sent first.
    pub async fn open(self) -> Result<InsideWorkspace, OpenError> {
        let http = Http::new(&self.network, TimeLimits::default())?;
        let address = AgentServerAddress { url: self.agent_server, session_key: self.session_key.clone() };
        let client = AgentServerClient::new(http.clone(), &address);
        let completion = self.callback_url.map(|url| Completion {
            http: http.clone(),
            url,
            key: self.callback_key.or_else(|| self.api_key.clone()),
            run_id: self.run_id,
            budget: self.callback_budget,
        });
        let capabilities = match await_ready(&client, self.ready_timeout).await {
            Ok(capabilities) => capabilities,
            Err(error) => {
                if let Some(completion) = &completion {
                    let report = CompletionReport::failed("AgentServerUnreachable", &text::chain(&error));
                    completion.deliver_or_log(report).await;
                }
                return Err(error.into());
            }
        };
        let account = match (self.is_own_server, self.sandbox_id, self.session_key, self.api_key) {
            (false, ..) => AccountClient::agent_server(client.clone()),
            (true, Some(sandbox_id), Some(session_key), Some(api_key)) => {
                let account = CloudAccount { url: self.cloud_url, api_key, sandbox_id, session_key };
                AccountClient::cloud(CloudClient::new(http, account))
            }
            (true, ..) => AccountClient::none(),
        };
        let workspace = Workspace::new(AgentServer { client, capabilities }, account);
        Ok(InsideWorkspace { workspace, completion })
    }
}

impl fmt::Debug for InsideWorkspaceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InsideWorkspaceBuilder").field("sandbox_id", &self.sandbox_id).finish_non_exhaustive()
    }
}

/// The sandbox that this program runs in, or any agent-server at a URL. It derefs to [`Workspace`]. It creates and deletes no
/// sandbox. (`saas_runtime_mode` of the Python SDK.)
///
/// If a callback URL is set, the outcome is sent once, by [`InsideWorkspace::complete`] or [`InsideWorkspace::close`]. A
/// workspace that is dropped without either, for example by an early return or a panic, sends FAILED from a separate thread. The
/// caller waits for at most 5 s, and a failure is only logged. A process that is killed sends nothing; the program
/// `openhands-runner` has a guardian for that case.
#[derive(Debug)]
pub struct InsideWorkspace {
    workspace: Workspace,
    completion: Option<Completion>,
}

/// The default time limit until the agent-server is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
/// How long the delivery of the callback is retried by default.
const CALLBACK_BUDGET: Duration = Duration::from_secs(60);
/// How long `Drop` may block its caller.
const DROP_BUDGET: Duration = Duration::from_secs(5);

impl InsideWorkspace {
    /// Returns a builder for a workspace with the agent-server on the default port, without an account or a callback.
    #[must_use]
    pub fn builder() -> InsideWorkspaceBuilder {
        InsideWorkspaceBuilder {
            sandbox_id: None,
            session_key: None,
            agent_server: local_agent_server(DEFAULT_PORT),
            is_own_server: true,
            cloud_url: default_url(),
            api_key: None,
            callback_url: None,
            callback_key: None,
            run_id: None,
            callback_budget: CALLBACK_BUDGET,
            ready_timeout: READY_TIMEOUT,
            network: Network::default(),
        }
    }

    /// Returns a builder with the values of the variables that a sandbox sets for its programs:
    /// `InsideWorkspace::from_variables(std::env::vars())`. See [`InsideWorkspaceBuilder::variables`].
    ///
    /// # Errors
    /// [`OpenError::Variable`].
    pub fn from_variables(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<InsideWorkspaceBuilder, OpenError> {
        Self::builder().variables(variables)
    }

    /// Sends the outcome of the run, if a callback URL is set. The id of the run is added to the report.
    ///
    /// # Errors
    /// [`CallbackError`].
    pub async fn complete(mut self, report: CompletionReport) -> Result<(), CallbackError> {
        match self.completion.take() {
            Some(completion) => completion.deliver(report).await.map(drop),
            None => Ok(()),
        }
    }

    /// Sends COMPLETED, if a callback URL is set.
    ///
    /// # Errors
    /// [`CallbackError`].
    pub async fn close(self) -> Result<(), CallbackError> {
        self.complete(CompletionReport::completed()).await
    }
}

impl Deref for InsideWorkspace {
    type Target = Workspace;

    fn deref(&self) -> &Workspace {
        &self.workspace
    }
}

impl Drop for InsideWorkspace {
    fn drop(&mut self) {
        let Some(mut completion) = self.completion.take() else { return };
        let Ok(http) = completion.http.with_fresh_connections() else { return };
        completion.http = http;
        completion.budget = completion.budget.min(DROP_BUDGET);
        blocking_cleanup("completion-callback", async move || {
            let report = CompletionReport::failed("NotCompleted", "the program ended without an outcome");
            let _ = timeout(DROP_BUDGET, completion.deliver_or_log(report)).await;
        });
    }
}

/// The callback and where it is sent.
#[derive(Debug)]
struct Completion {
    http: Http,
    url: Url,
    key: Option<Secret>,
    run_id: Option<String>,
    budget: Duration,
}

impl Completion {
    async fn deliver(&self, report: CompletionReport) -> Result<Delivered, CallbackError> {
        let report = CompletionReport { run_id: self.run_id.clone(), ..report };
        let callback = Callback { http: &self.http, url: &self.url, key: self.key.as_ref(), budget: self.budget };
        callback.deliver(&report).await
    }

    async fn deliver_or_log(&self, report: CompletionReport) {
        if let Err(error) = self.deliver(report).await {
            tracing::error!(error = %text::chain(&error), "failed to deliver the completion callback");
        }
    }
}
