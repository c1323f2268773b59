//! A sandbox from outside, whoever provides it: commands, files, conversations, and its end.

use std::path::Path;

use crate::agent_server::AgentServer;
use crate::agent_server::wire::Agent;
use crate::conversation::{Conversation, ConversationBuilder};
use crate::ids::SandboxId;
use crate::sandbox::copy::{self, Copied, CopyError};
use crate::sandbox::exec::{self, Command, ExecError, Executed};
use crate::sandbox::providers::docker::Docker;
use crate::sandbox::providers::runtime_api::RuntimeApi;
use crate::sandbox::ready::Ready;
use crate::sandbox::{Provider, Sandbox, SandboxError};

/// A sandbox that can be used.
///
/// It is deleted at the end, unless it is kept alive: best by [`RemoteWorkspace::close`], else by `Drop`; what that can and
/// cannot do is told at [`Sandbox`].
#[derive(Debug)]
pub struct RemoteWorkspace<P: Provider> {
    sandbox: Sandbox<P>,
    ready: Ready,
}

/// A runtime of the Runtime API. It has no account to inherit from.
pub type RuntimeApiWorkspace = RemoteWorkspace<RuntimeApi>;
/// A local container. It has no account to inherit from.
pub type DockerWorkspace = RemoteWorkspace<Docker>;

impl<P: Provider> RemoteWorkspace<P> {
    /// Makes a sandbox and waits until it can be used. Dropping the future deletes what it has made.
    ///
    /// # Errors
    /// [`SandboxError`]; nothing is left then, unless the error says so.
    pub async fn create(provider: P) -> Result<Self, SandboxError> {
        Self::of(Sandbox::create(provider)).await
    }

    /// Waits until this sandbox can be used. One that cannot is deleted, unless it is kept or was there before.
    ///
    /// # Errors
    /// [`SandboxError`], as in [`RemoteWorkspace::create`].
    pub async fn of(mut sandbox: Sandbox<P>) -> Result<Self, SandboxError> {
        match sandbox.ready().await {
            Ok(ready) => Ok(Self { sandbox, ready }),
            Err(error) => {
                // What fails now has been logged; the first error is the one to tell.
                if sandbox.is_taken() {
                    let _ = sandbox.delete().await;
                }
                Err(error)
            }
        }
    }

    /// The sandbox's id.
    ///
    /// # Panics
    /// Never: a sandbox that is ready has one.
    #[must_use]
    pub fn id(&self) -> &SandboxId {
        self.sandbox.id().expect("a sandbox that is ready has an id")
    }

    /// Who provides it.
    pub fn provider(&self) -> &P {
        self.sandbox.provider()
    }

    /// The agent-server, and what its version can do.
    #[must_use]
    pub fn server(&self) -> &AgentServer {
        &self.ready.server
    }

    /// How the agent-server is reached.
    #[must_use]
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Runs a shell command to its end. [`exec::start`] gives the output as it comes.
    ///
    /// # Errors
    /// [`ExecError`].
    pub async fn execute_command(&self, command: &Command) -> Result<Executed, ExecError> {
        exec::execute(self.server(), command).await
    }

    /// Copies a file or a folder into the sandbox, as `cp -r` does.
    ///
    /// # Errors
    /// [`CopyError`].
    pub async fn upload(&self, from: impl AsRef<Path>, to: &str) -> Result<Copied, CopyError> {
        copy::upload(self.server(), from.as_ref(), to).await
    }

    /// Copies a file or a folder out of the sandbox, as `cp -r` does.
    ///
    /// # Errors
    /// [`CopyError`].
    pub async fn download(&self, from: &str, to: impl AsRef<Path>) -> Result<Copied, CopyError> {
        copy::download(self.server(), from, to.as_ref()).await
    }

    /// A conversation of this agent in the sandbox, to be started.
    #[must_use]
    pub fn conversation(&self, agent: Agent) -> ConversationBuilder {
        Conversation::builder(self.server(), agent)
    }

    /// Pauses the sandbox. Until [`RemoteWorkspace::resume`] nothing in it answers.
    ///
    /// # Errors
    /// [`SandboxError`].
    pub async fn pause(&self) -> Result<(), SandboxError> {
        self.provider().pause(self.id()).await
    }

    /// Lets the sandbox go on, and waits until it can be used again.
    ///
    /// # Errors
    /// [`SandboxError`].
    pub async fn resume(&mut self) -> Result<(), SandboxError> {
        self.provider().resume(self.id()).await?;
        self.ready = self.sandbox.ready().await?;
        Ok(())
    }

    /// Leaves the sandbox alone at the end, after all.
    pub fn keep_alive(&mut self) {
        self.sandbox.keep();
    }

    /// Deletes the sandbox, unless it is kept alive.
    ///
    /// # Errors
    /// [`SandboxError`]: it may be left.
    pub async fn close(mut self) -> Result<(), SandboxError> {
        self.sandbox.delete().await
    }
}
