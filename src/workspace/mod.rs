//! Where the agent works, and whose LLM and secrets it gets.
//!
//! A run asks its [`Workspace`] and does not know which kind it is.

mod inside;

pub use inside::Inside;

use crate::agent_server;
use crate::agent_server::wire::{Llm, Secrets};
use crate::display;
use crate::http::HttpError;
use crate::plan::SecretSelection;

/// A sandbox with an agent-server, and the account behind it.
pub trait Workspace {
    /// The agent-server.
    fn agent_server(&self) -> &agent_server::Client;

    /// The account's LLM: a named profile, or the default.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    fn llm(&self, profile: Option<&str>) -> impl Future<Output = Result<Llm, WorkspaceError>> + Send;

    /// References to the account's secrets. Values never pass through us.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    fn secrets(&self, selection: &SecretSelection) -> impl Future<Output = Result<Secrets, WorkspaceError>> + Send;
}

/// Something could not be had from the account.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The account could not be asked.
    #[error("failed to read {what} of the account")]
    Account {
        /// "the LLM", "the secrets".
        what: &'static str,
        /// Why.
        source: HttpError,
    },
    /// There is no account to ask.
    #[error("there is no account to take {what} from")]
    NoAccount {
        /// "the LLM", "the secrets".
        what: &'static str,
    },
    /// The account has no LLM settings.
    #[error("the account has no LLM: choose one in its settings, or set LLM_MODEL and LLM_API_KEY")]
    NoLlm,
    /// The account has no such profile.
    #[error("the account has no LLM profile `{name}`; it has {}", display::listed(known))]
    NoSuchProfile {
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// The account has no such secrets.
    #[error("the account has no secret {}; it has {}", display::listed(names), display::listed(known))]
    NoSuchSecret {
        /// The names that were asked for and are not there.
        names: Vec<String>,
        /// The names that there are.
        known: Vec<String>,
    },
}
