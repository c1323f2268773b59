//! Where the agent works, and whose LLM, secrets and MCP servers it gets.
//!
//! A run asks its [`Workspace`] and does not know which kind it is.

mod cloud;
mod inside;
mod remote;
mod self_hosted;

pub use cloud::{CloudWorkspace, CloudWorkspaceBuilder, OpenError, inside_of};
pub use inside::Inside;
pub use remote::{DockerWorkspace, RemoteWorkspace, RuntimeApiWorkspace};
pub use self_hosted::SelfHosted;

use futures_util::future::BoxFuture;

use crate::agent_server::mcp::McpServers;
use crate::agent_server::settings::SecretEntry;
use crate::agent_server::wire::{Llm, Secrets};
use crate::http::HttpError;
use crate::ids::ConversationId;
use crate::secret::Secret;
use crate::{agent_server, text};

/// A sandbox with an agent-server, and the account behind it.
pub trait Workspace: Send + Sync {
    /// The agent-server.
    fn agent_server(&self) -> &agent_server::AgentServerClient;

    /// The account's LLM: a named profile, or the default.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    fn llm<'a>(&'a self, profile: Option<&'a str>) -> BoxFuture<'a, Result<Llm, WorkspaceError>>;

    /// The value of one of the account's secrets, for what the runner itself does before the agent starts; nothing where
    /// there is no such secret or no account.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    fn secret_value<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Secret>, WorkspaceError>>;

    /// References to the account's secrets, for the agent. These values never pass through us.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    fn secrets<'a>(&'a self, selection: &'a SecretSelection) -> BoxFuture<'a, Result<Secrets, WorkspaceError>>;

    /// The account's MCP servers.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    fn mcp_servers(&self) -> BoxFuture<'_, Result<McpServers, WorkspaceError>>;

    /// Where people look at a conversation, if there is such a place.
    fn session_url(&self, id: ConversationId) -> Option<String>;
}

/// Which of the account's secrets the agent gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSelection {
    /// All that there are; none where no account can be asked.
    All,
    /// These; each must exist.
    Named(Vec<String>),
}

/// Those of the known secrets that are wanted.
fn selected(known: Vec<SecretEntry>, selection: &SecretSelection) -> Result<Vec<SecretEntry>, WorkspaceError> {
    let SecretSelection::Named(names) = selection else { return Ok(known) };
    let missing: Vec<String> =
        names.iter().filter(|name| known.iter().all(|secret| secret.name != **name)).cloned().collect();
    if missing.is_empty() {
        Ok(known.into_iter().filter(|secret| names.contains(&secret.name)).collect())
    } else {
        let known = known.into_iter().map(|secret| secret.name).collect();
        Err(WorkspaceError::NoSuchSecret { names: missing, known })
    }
}

/// Something could not be had from the account.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The account could not be asked.
    #[error("failed to read {what} of the account")]
    Account {
        /// "the LLM", "the secrets", "the MCP servers".
        what: &'static str,
        /// Why.
        source: HttpError,
    },
    /// There is no account to ask.
    #[error("there is no account to take {what} from")]
    NoAccount {
        /// "the LLM", "the secrets", "the MCP servers".
        what: &'static str,
    },
    /// The account has no LLM settings.
    #[error("the account has no LLM: choose one in its settings, or set LLM_MODEL and LLM_API_KEY")]
    NoLlm,
    /// The account has no such profile.
    #[error("the account has no LLM profile `{name}`; it has {}", text::listed(known))]
    NoSuchProfile {
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// The account has no such secrets.
    #[error("the account has no secret {}; it has {}", text::listed(names), text::listed(known))]
    NoSuchSecret {
        /// The names that were asked for and are not there.
        names: Vec<String>,
        /// The names that there are.
        known: Vec<String>,
    },
}
