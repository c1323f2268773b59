//! Commands, files and programs in a sandbox, and the providers of sandboxes.
//!
//! [`Workspace`](crate::Workspace) has the operations: [`execute_command`](crate::Workspace::execute_command),
//! [`upload`](crate::Workspace::upload), [`start_program`](crate::Workspace::start_program) and others.
//! [`RemoteWorkspace::create`](crate::workspace::RemoteWorkspace::create) takes a provider.

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

/// Creates and deletes sandboxes. Each method is one attempt.
#[doc(hidden)]
pub trait Provider: fmt::Debug + Clone + Send + Sync + 'static {
    /// What distinguishes existing sandboxes from later ones.
    type Mark: fmt::Debug + Clone + Send + Sync;

    /// Whether what was made since a mark is certainly ours.
    fn knows_its_own(&self) -> bool {
        true
    }

    /// The flag of `openhands-runner` that names this provider, with a space before it; nothing for OpenHands Cloud.
    fn flag(&self) -> &'static str {
        ""
    }

    /// The id that a sandbox has before it is made, where the provider does not choose it.
    fn id_in_advance(&self) -> Option<SandboxId> {
        None
    }

    /// Looks at what there is, before a sandbox is made.
    ///
    /// # Errors
    /// [`SandboxError`].
    fn mark(&self) -> impl Future<Output = Result<Self::Mark, SandboxError>> + Send;

    /// Makes a sandbox. It need not be ready. Cutting this off may leave one.
    ///
    /// # Errors
    /// [`SandboxError`].
    fn create(&self, mark: &Self::Mark) -> impl Future<Output = Result<SandboxId, SandboxError>> + Send;

    /// Sandboxes that were made since the mark and may be ours.
    ///
    /// # Errors
    /// [`SandboxError`].
    fn made_since(&self, mark: &Self::Mark) -> impl Future<Output = Result<Vec<SandboxId>, SandboxError>> + Send;

    /// Looks at a sandbox.
    ///
    /// # Errors
    /// [`SandboxError`].
    fn look(&self, id: &SandboxId) -> impl Future<Output = Result<SandboxState, SandboxError>> + Send;

    /// Pauses it.
    ///
    /// # Errors
    /// [`SandboxError`].
    fn pause(&self, id: &SandboxId) -> impl Future<Output = Result<(), SandboxError>> + Send;

    /// Resumes it.
    ///
    /// # Errors
    /// [`SandboxError`].
    fn resume(&self, id: &SandboxId) -> impl Future<Output = Result<(), SandboxError>> + Send;

    /// Ends it for good. One that is gone already is no error.
    ///
    /// # Errors
    /// [`SandboxError`].
    fn delete(&self, id: &SandboxId) -> impl Future<Output = Result<(), SandboxError>> + Send;

    /// What requests to the agent-server are made with.
    fn http(&self) -> &Http;

    /// How long a sandbox may take until it is ready.
    fn init_timeout(&self) -> Duration;

    /// The same provider for another runtime.
    fn with_fresh_connections(&self) -> Option<Self>;
}

/// The observed state of a sandbox. Statuses may flap, so one observation does not decide, except for [`SandboxState::Usable`].
#[doc(hidden)]
#[derive(Debug, Clone)]
pub enum SandboxState {
    /// It has an agent-server with this address and key.
    Usable(Access),
    /// It is under way, or does not say where its agent-server is.
    Waiting(String),
    /// It is stopped and can be resumed.
    Paused,
    /// It has failed, or says so for a moment while it boots.
    Failed {
        /// Its status.
        status: String,
        /// Why, in the provider's words, where it gives any.
        reason: Option<String>,
    },
    /// No one knows it.
    Gone,
}

/// How an agent-server in a sandbox is reached.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct Access {
    /// Its address from outside.
    pub agent_server: AgentServerAddress,
    /// Its port inside.
    pub inner_port: Option<u16>,
}

impl Access {
    /// An agent-server at this address.
    #[must_use]
    pub fn new(url: url::Url, session_key: Option<Secret>, inner_port: Option<u16>) -> Self {
        Self { agent_server: AgentServerAddress { url, session_key }, inner_port }
    }

    /// Its port, as a program in the sandbox finds it.
    #[must_use]
    pub fn port_inside(&self) -> Option<u16> {
        self.inner_port.or(self.agent_server.url.port_or_known_default())
    }

    /// A client of it.
    #[must_use]
    pub fn client(&self, http: Http) -> agent_server::AgentServerClient {
        agent_server::AgentServerClient::new(http, &self.agent_server)
    }
}

/// Something about a sandbox has failed.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The provider's API did not do it.
    #[error("{doing} failed")]
    Request {
        /// Such as "creating the sandbox".
        doing: &'static str,
        /// Why.
        source: HttpError,
    },
    /// The account may not have more sandboxes.
    #[error(
        "the account has reached its limit of sandboxes: pause or delete one (`openhands-runner sandbox list`); {detail}"
    )]
    LimitReached {
        /// The provider's words.
        detail: String,
        /// When to ask again, if the provider says so.
        retry_after: Option<Duration>,
    },
    /// It was not usable in time.
    #[error("sandbox {id} was not ready within {} s (it is {last})", limit.as_secs())]
    NotReady {
        /// The sandbox.
        id: SandboxId,
        /// The time that it had.
        limit: Duration,
        /// What it said last.
        last: String,
        /// Why its agent-server could not be used.
        source: Option<Box<HttpError>>,
    },
    /// It has failed.
    #[error("sandbox {id} has failed: {last}")]
    Failed {
        /// The sandbox.
        id: SandboxId,
        /// What it says.
        last: String,
    },
    /// There is no such sandbox.
    #[error("there is no sandbox {id}")]
    Gone {
        /// The id.
        id: SandboxId,
    },
    /// Its agent-server is another one's, or refuses the key that the provider gave.
    #[error("the agent-server of sandbox {id} refuses the sandbox's own key: another server may have its port")]
    NotOurs {
        /// The sandbox.
        id: SandboxId,
        /// The refusal.
        source: HttpError,
    },
    /// It is not certain that a failed request left no sandbox.
    #[error(
        "the request failed, and may have created a sandbox: {}; delete the one that no one else created with `openhands-runner sandbox delete{flag} ID`",
        if candidates.is_empty() { "look for it with `openhands-runner sandbox list`".to_owned() } else { format!("one of {}", text::listed(candidates)) }
    )]
    MayBeLeft {
        /// The flag with which `openhands-runner` finds them, with a space before it.
        flag: &'static str,
        /// Ids of sandboxes that were made at the same time; none when they could not be asked for.
        candidates: Vec<SandboxId>,
        /// The failure of the request.
        source: Box<SandboxError>,
    },
    /// A provider that is no HTTP API failed.
    #[error("{doing} failed: {reason}")]
    Other {
        /// Such as "starting the container".
        doing: &'static str,
        /// The provider's words.
        reason: String,
    },
}

impl fmt::Debug for SandboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::chain(self))
    }
}

impl SandboxError {
    /// A failed request, for `map_err`.
    #[doc(hidden)]
    pub fn request(doing: &'static str) -> impl FnOnce(HttpError) -> Self {
        move |source| Self::Request { doing, source }
    }

    /// The failed request, if it was one.
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
