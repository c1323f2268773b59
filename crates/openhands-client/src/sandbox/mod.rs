//! Commands, files and programs in a sandbox, and the providers of sandboxes.
//!
//! [`Workspace`](crate::Workspace) has the operations: [`execute_command`](crate::Workspace::execute_command),
//! [`upload`](crate::Workspace::upload), [`start_program`](crate::Workspace::start_program) and others.
//! [`RemoteWorkspace::create`](crate::workspace::RemoteWorkspace::create) creates a sandbox of any provider.

pub(crate) mod blocking_cleanup;
mod command_cleanup;
#[doc(hidden)]
pub mod copy;
mod create;
mod deletion;
#[doc(hidden)]
pub mod exec;
#[doc(hidden)]
pub mod install;
mod leftover;
mod owned;
mod pipe;
#[doc(hidden)]
pub mod program;
#[doc(hidden)]
pub mod providers;
#[doc(hidden)]
pub mod ready;
mod shell;

#[doc(hidden)]
pub use owned::Sandbox;

pub use self::copy::{Copied, CopyError};
pub use self::exec::{Command, ExecError, Executed, Exit, Output, Running};
pub use self::install::InstallError;
pub use self::program::Program;
#[cfg(feature = "docker")]
pub use self::providers::docker::Docker;
#[cfg(feature = "runtime-api")]
pub use self::providers::runtime_api::RuntimeApi;
pub use crate::ids::SandboxId;

use std::fmt;
use std::time::Duration;

use crate::agent_server;
use crate::agent_server::AgentServerAddress;
use crate::http::{Http, HttpError};
use crate::retry::{Retry, Retryable};
use crate::secret::Secret;
use crate::text;

/// A provider creates and deletes sandboxes. Each method makes a single attempt.
#[doc(hidden)]
pub trait Provider: fmt::Debug + Clone + Send + Sync + 'static {
    /// Distinguishes the sandboxes that existed before from later ones.
    type Mark: fmt::Debug + Clone + Send + Sync;

    /// Returns whether a sandbox that was created since a mark is certainly ours.
    fn knows_its_own(&self) -> bool {
        true
    }

    /// Returns the flag of `openhands-runner` that selects this provider, with a leading space; empty for OpenHands Cloud.
    fn flag(&self) -> &'static str {
        ""
    }

    /// Returns the id of the sandbox before it is created, if it is known by then.
    fn id_in_advance(&self) -> Option<SandboxId> {
        None
    }

    /// Records which sandboxes exist, before one is created.
    ///
    /// # Errors
    /// [`SandboxError`].
    fn mark(&self) -> impl Future<Output = Result<Self::Mark, SandboxError>> + Send;

    /// Creates a sandbox. It does not have to be ready yet. If the future is dropped, a sandbox may be left.
    ///
    /// # Errors
    /// [`SandboxError`].
    fn create(&self, mark: &Self::Mark) -> impl Future<Output = Result<SandboxId, SandboxError>> + Send;

    /// Lists the sandboxes that were created since the mark and may be ours.
    ///
    /// # Errors
    /// [`SandboxError`].
    fn made_since(&self, mark: &Self::Mark) -> impl Future<Output = Result<Vec<SandboxId>, SandboxError>> + Send;

    /// Reads the state of a sandbox.
    ///
    /// # Errors
    /// [`SandboxError`].
    fn look(&self, id: &SandboxId) -> impl Future<Output = Result<SandboxState, SandboxError>> + Send;

    /// Pauses a sandbox.
    ///
    /// # Errors
    /// [`SandboxError`].
    fn pause(&self, id: &SandboxId) -> impl Future<Output = Result<(), SandboxError>> + Send;

    /// Resumes a sandbox.
    ///
    /// # Errors
    /// [`SandboxError`].
    fn resume(&self, id: &SandboxId) -> impl Future<Output = Result<(), SandboxError>> + Send;

    /// Deletes a sandbox. It is not an error if the sandbox no longer exists.
    ///
    /// # Errors
    /// [`SandboxError`].
    fn delete(&self, id: &SandboxId) -> impl Future<Output = Result<(), SandboxError>> + Send;

    /// Returns the HTTP client for requests to the agent-server.
    fn http(&self) -> &Http;

    /// Returns the time limit until a sandbox is ready.
    fn init_timeout(&self) -> Duration;

    /// Returns the same provider for use in another runtime.
    fn with_fresh_connections(&self) -> Option<Self>;
}

/// The observed state of a sandbox. Statuses may flap, so a single observation is not conclusive, except for
/// [`SandboxState::Usable`].
#[doc(hidden)]
#[derive(Debug, Clone)]
pub enum SandboxState {
    /// The sandbox has an agent-server with this address and key.
    Usable(Access),
    /// The sandbox is starting, or does not say where its agent-server is.
    Waiting(String),
    /// The sandbox is stopped and can be resumed.
    Paused,
    /// The sandbox has failed, or reports so for a moment while it boots.
    Failed {
        /// The status of the sandbox.
        status: String,
        /// The provider's reason, if it gives one.
        reason: Option<String>,
    },
    /// The sandbox does not exist.
    Gone,
}

/// How to reach the agent-server in a sandbox.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct Access {
    /// The address from outside.
    pub agent_server: AgentServerAddress,
    /// The port inside the sandbox.
    pub inner_port: Option<u16>,
}

impl Access {
    /// Creates the access to an agent-server at this address.
    #[must_use]
    pub fn new(url: url::Url, session_key: Option<Secret>, inner_port: Option<u16>) -> Self {
        Self { agent_server: AgentServerAddress { url, session_key }, inner_port }
    }

    /// Returns the port on which a program in the sandbox reaches the server.
    #[must_use]
    pub fn port_inside(&self) -> Option<u16> {
        self.inner_port.or(self.agent_server.url.port_or_known_default())
    }

    /// Returns a client for the agent-server.
    #[must_use]
    pub fn client(&self, http: Http) -> agent_server::AgentServerClient {
        agent_server::AgentServerClient::new(http, &self.agent_server)
    }
}

/// An operation on a sandbox failed.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// A request to the provider's API failed.
    #[error("{doing} failed")]
    Request {
        /// What the request was for, such as "creating the sandbox".
        doing: &'static str,
        /// The error of the request.
        source: HttpError,
    },
    /// The account has reached its limit of sandboxes.
    #[error(
        "the account has reached its limit of sandboxes: pause or delete one (`openhands-runner sandbox list`); {detail}"
    )]
    LimitReached {
        /// The provider's message.
        detail: String,
        /// The time after which to retry, if the provider gives one.
        retry_after: Option<Duration>,
    },
    /// The sandbox was not ready in time.
    #[error("sandbox {id} was not ready within {} s (it is {last})", limit.as_secs())]
    NotReady {
        /// The id of the sandbox.
        id: SandboxId,
        /// The time limit.
        limit: Duration,
        /// The last observed state.
        last: String,
        /// Why the agent-server was not usable.
        source: Option<Box<HttpError>>,
    },
    /// The sandbox has failed.
    #[error("sandbox {id} has failed: {last}")]
    Failed {
        /// The id of the sandbox.
        id: SandboxId,
        /// What the provider reports.
        last: String,
    },
    /// The sandbox does not exist.
    #[error("there is no sandbox {id}")]
    Gone {
        /// The id of the sandbox.
        id: SandboxId,
    },
    /// The agent-server belongs to another sandbox, or rejects the key that the provider returned.
    #[error("the agent-server of sandbox {id} refuses the sandbox's own key: another server may have its port")]
    NotOurs {
        /// The id of the sandbox.
        id: SandboxId,
        /// The error response of the agent-server.
        source: HttpError,
    },
    /// A request failed, and it is not certain that it created no sandbox.
    #[error(
        "the request failed, and may have created a sandbox: {}; delete the one that no one else created with `openhands-runner sandbox delete{flag} ID`",
        if candidates.is_empty() { "look for it with `openhands-runner sandbox list`".to_owned() } else { format!("one of {}", text::listed(candidates)) }
    )]
    MayBeLeft {
        /// The flag with which `openhands-runner` finds the sandboxes, with a leading space.
        flag: &'static str,
        /// Ids of sandboxes that were created at the same time; empty if they could not be listed.
        candidates: Vec<SandboxId>,
        /// The error of the request.
        source: Box<SandboxError>,
    },
    /// A provider without an HTTP API failed.
    #[error("{doing} failed: {reason}")]
    Other {
        /// What failed, such as "starting the container".
        doing: &'static str,
        /// The provider's message.
        reason: String,
    },
}

impl fmt::Debug for SandboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::chain(self))
    }
}

impl SandboxError {
    /// Converts a failed request, for `map_err`.
    #[doc(hidden)]
    pub fn request(doing: &'static str) -> impl FnOnce(HttpError) -> Self {
        move |source| Self::Request { doing, source }
    }

    /// Returns the error of the request, if this is one.
    #[doc(hidden)]
    #[must_use]
    pub fn http(&self) -> Option<&HttpError> {
        match self {
            Self::Request { source, .. } | Self::NotOurs { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl Retryable for SandboxError {
    fn refuses_key(&self) -> bool {
        matches!(self, Self::Request { source, .. } if source.refuses_key())
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Request { source, .. } => source.retry(),
            _ => Retry::No,
        }
    }
}
