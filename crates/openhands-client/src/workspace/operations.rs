//! What a program does in a sandbox of any provider.

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

/// An agent-server that is ready, and the account behind it.
#[derive(Debug)]
pub struct Workspace {
    pub(super) server: AgentServer,
    account: AccountClient,
}

impl Workspace {
    /// A workspace of this agent-server and this account.
    #[doc(hidden)]
    #[must_use]
    pub fn new(server: AgentServer, account: AccountClient) -> Self {
        Self { server, account }
    }

    /// The agent-server, and what its version can do.
    #[doc(hidden)]
    #[must_use]
    pub fn server(&self) -> &AgentServer {
        &self.server
    }

    /// The account behind it.
    #[doc(hidden)]
    #[must_use]
    pub fn account(&self) -> &AccountClient {
        &self.account
    }

    /// The account's default LLM. Setters override its fields: `workspace.llm().await?.model("gpt-4o").temperature(0.5)`.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    pub async fn llm(&self) -> Result<Llm, WorkspaceError> {
        self.account.llm(None).await
    }

    /// The LLM of one of the account's profiles.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    pub async fn llm_profile(&self, name: &str) -> Result<Llm, WorkspaceError> {
        self.account.llm(Some(name)).await
    }

    /// References to all of the account's secrets. The agent-server reads a value when a command needs it.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    pub async fn secrets(&self) -> Result<Secrets, WorkspaceError> {
        self.account.secrets(&SecretSelection::All).await
    }

    /// References to these secrets of the account, each of which must exist.
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

    /// The account's MCP servers.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    pub async fn mcp_servers(&self) -> Result<McpServers, WorkspaceError> {
        self.account.mcp_servers().await
    }

    /// A conversation of this agent in the sandbox, to be started.
    #[must_use]
    pub fn conversation(&self, agent: Agent) -> ConversationBuilder {
        Conversation::builder(&self.server, agent)
    }

    /// Runs a shell command to its end.
    ///
    /// # Errors
    /// [`ExecError`].
    pub async fn execute_command(&self, command: impl Into<Command>) -> Result<Executed, ExecError> {
        exec::execute(&self.server, &command.into()).await
    }

    /// Starts a shell command. [`Running::follow`] passes on its output as it comes.
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

    /// Writes bytes to a file in the sandbox, and creates the folders above it.
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

    /// What has changed in the git repository at this path, compared with the remote's default branch.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn git_changes(&self, repository: &str) -> Result<Vec<GitChange>, HttpError> {
        self.server.client.git_changes(repository).await
    }

    /// A file of a git repository, as it was and as it is.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn git_diff(&self, file: &str) -> Result<GitDiff, HttpError> {
        self.server.client.git_diff(file).await
    }

    /// The agent profiles of the agent-server.
    ///
    /// # Errors
    /// [`HttpError`]; [`HttpError::Unsupported`] where the version has none.
    pub async fn agent_profiles(&self) -> Result<AgentProfileList, HttpError> {
        self.server.client.agent_profiles().await
    }
}
