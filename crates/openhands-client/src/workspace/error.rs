//! Errors of opening a workspace and of reading its account.

use crate::agent_server::ready::ReadyError;
use crate::http::{HttpError, SetupError};
use crate::sandbox::SandboxError;
use crate::text;
use std::fmt;

/// A workspace could not be opened.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The HTTP client could not be set up.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The sandbox could not be created or is not usable.
    #[error(transparent)]
    Sandbox(Box<SandboxError>),
    /// The agent-server is not ready.
    #[error(transparent)]
    Server(Box<ReadyError>),
    /// An environment variable has an invalid value.
    #[error("{name}: `{value}` is not valid: {expected}")]
    Variable {
        /// The name of the variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// The form that is expected.
        expected: &'static str,
    },
}

impl fmt::Debug for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::chain(self))
    }
}

impl From<ReadyError> for OpenError {
    fn from(error: ReadyError) -> Self {
        Self::Server(Box::new(error))
    }
}

impl From<SandboxError> for OpenError {
    fn from(error: SandboxError) -> Self {
        Self::Sandbox(Box::new(error))
    }
}

/// The account could not be read, or does not have what was requested.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum WorkspaceError {
    /// A request to the account failed.
    #[error("failed to read {what} of the account")]
    Account {
        /// What was read: "the LLM", "the secrets", "the MCP servers".
        what: &'static str,
        /// The error of the request.
        source: HttpError,
    },
    /// There is no account.
    #[error("there is no account to take {what} from")]
    NoAccount {
        /// What was requested: "the LLM", "the secrets", "the MCP servers".
        what: &'static str,
    },
    /// The account has no LLM settings.
    #[error("the account has no LLM: choose one in its settings, or set LLM_MODEL and LLM_API_KEY")]
    NoLlm,
    /// The account's agent is another program with an LLM of its own.
    #[error(
        "the account's agent is an ACP agent, which has no LLM for the runner's own agent: choose an agent profile \
         (--agent-profile), an LLM profile (--profile), or set LLM_MODEL and LLM_API_KEY"
    )]
    AcpAgent,
    /// The account has no profile with this name.
    #[error("the account has no LLM profile `{name}`; it has {}", text::listed(known))]
    NoSuchProfile {
        /// The requested name.
        name: String,
        /// The existing names.
        known: Vec<String>,
    },
    /// The account does not have these secrets.
    #[error("the account has no secret {}; it has {}", text::listed(names), text::listed(known))]
    NoSuchSecret {
        /// The requested names that do not exist.
        names: Vec<String>,
        /// The existing names.
        known: Vec<String>,
    },
}

impl fmt::Debug for WorkspaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::chain(self))
    }
}
