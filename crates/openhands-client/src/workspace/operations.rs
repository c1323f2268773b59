//! Operations in a workspace, the same for all providers.

use std::path::Path;

use bytes::Bytes;

use super::{AccountClient, SecretSelection, WorkspaceError};
use crate::agent_server::mcp::McpServers;
use crate::agent_server::wire::{Agent, Llm, Secrets};
use crate::agent_server::{AgentProfileList, AgentServer, GitChange, GitDiff};
use crate::conversation::{Conversation, ConversationBuilder};
use crate::http::HttpError;
use crate::sandbox::copy::{self, Copied, CopyError};
use crate::sandbox::exec::{self, Command, ExecError, Executed, Running};

/// A ready agent-server together with its account.
#[derive(Debug)]
pub struct Workspace {
    pub(super) server: AgentServer,
    account: AccountClient,
}

impl Workspace {
    /// Creates a workspace of this agent-server and this account.
    #[doc(hidden)]
    #[must_use]
    pub fn new(server: AgentServer, account: AccountClient) -> Self {
        Self { server, account }
    }

    /// Returns the agent-server, and the capabilities of its version.
    #[doc(hidden)]
    #[must_use]
    pub fn server(&self) -> &AgentServer {
        &self.server
    }

    /// Returns the account of the workspace.
    #[doc(hidden)]
    #[must_use]
    pub fn account(&self) -> &AccountClient {
        &self.account
    }

    /// Returns the account's default LLM. Setters override its fields: `workspace.llm().await?.model("gpt-4o").temperature(0.5)`.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    pub async fn llm(&self) -> Result<Llm, WorkspaceError> {
        self.account.llm(None).await
    }

    /// Returns the LLM of one of the account's profiles.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    pub async fn llm_profile(&self, name: &str) -> Result<Llm, WorkspaceError> {
        self.account.llm(Some(name)).await
    }

    /// Returns references to all secrets of the account. The agent-server reads a value when a command needs it.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    pub async fn secrets(&self) -> Result<Secrets, WorkspaceError> {
        self.account.secrets(&SecretSelection::All).await
    }

    /// Returns references to the account's secrets with these names. Each must exist.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    pub async fn secrets_named<N: Into<String>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Secrets, WorkspaceError> {
        let selection = SecretSelection::Named(names.into_iter().map(Into::into).collect());
        self.account.secrets(&selection).await
    }

    /// Returns the account's MCP servers.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    pub async fn mcp_servers(&self) -> Result<McpServers, WorkspaceError> {
        self.account.mcp_servers().await
    }

    /// Returns a builder for a conversation with this agent in the sandbox.
    #[must_use]
    pub fn conversation(&self, agent: Agent) -> ConversationBuilder {
        Conversation::builder(&self.server, agent)
    }

    /// Runs a shell command and waits until it ends.
    ///
    /// # Errors
    /// [`ExecError`].
    pub async fn execute_command(&self, command: impl Into<Command>) -> Result<Executed, ExecError> {
        exec::execute(&self.server, &command.into()).await
    }

    /// Starts a shell command. [`Running::follow`] passes on its output as it arrives.
    ///
    /// # Errors
    /// [`ExecError`].
    pub async fn start_command(&self, command: impl Into<Command>) -> Result<Running<'_>, ExecError> {
        exec::start(&self.server, &command.into()).await
    }

    /// Copies a file or a folder into the sandbox, as `cp -r` does.
    ///
    /// # Errors
    /// [`CopyError`].
    pub async fn upload(&self, from: impl AsRef<Path>, to: &str) -> Result<Copied, CopyError> {
        copy::upload(&self.server, from.as_ref(), to).await
    }

    /// Writes bytes to a file in the sandbox, and creates its parent folders.
    ///
    /// # Errors
    /// [`CopyError`].
    pub async fn upload_bytes(&self, content: impl Into<Bytes>, to: &str) -> Result<(), CopyError> {
        copy::upload_bytes(&self.server, content.into(), to).await
    }

    /// Copies a file or a folder out of the sandbox, as `cp -r` does.
    ///
    /// # Errors
    /// [`CopyError`].
    pub async fn download(&self, from: &str, to: impl AsRef<Path>) -> Result<Copied, CopyError> {
        copy::download(&self.server, from, to.as_ref()).await
    }

    /// Reads a file of the sandbox into memory.
    ///
    /// # Errors
    /// [`CopyError`].
    pub async fn download_bytes(&self, from: &str) -> Result<Bytes, CopyError> {
        copy::download_bytes(&self.server, from).await
    }

    /// Returns what has changed in the git repository at this path, compared with the remote's default branch.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn git_changes(&self, repository: &str) -> Result<Vec<GitChange>, HttpError> {
        self.server.client.git_changes(repository).await
    }

    /// Returns a file of a git repository in its old and its current version.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn git_diff(&self, file: &str) -> Result<GitDiff, HttpError> {
        self.server.client.git_diff(file).await
    }

    /// Returns the agent profiles of the agent-server.
    ///
    /// # Errors
    /// [`HttpError`]; [`HttpError::Unsupported`] if the version has no agent profiles.
    pub async fn agent_profiles(&self) -> Result<AgentProfileList, HttpError> {
        self.server.client.agent_profiles().await
    }
}
