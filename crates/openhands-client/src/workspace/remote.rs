//! A sandbox from outside: a workspace that is deleted at its end.

use std::ops::Deref;

use super::{AccountClient, Workspace};
use crate::ids::SandboxId;
#[cfg(feature = "docker")]
use crate::sandbox::providers::docker::Docker;
#[cfg(feature = "runtime-api")]
use crate::sandbox::providers::runtime_api::RuntimeApi;
use crate::sandbox::ready::Ready;
use crate::sandbox::{Provider, Sandbox, SandboxError};

/// A sandbox that is ready, and the guard of its life. It derefs to [`Workspace`].
///
/// The sandbox is deleted at the end, unless it is kept alive: best by [`RemoteWorkspace::close`], else by `Drop`; see
/// [`Sandbox`] for what `Drop` can do.
#[derive(Debug)]
pub struct RemoteWorkspace<P: Provider> {
    sandbox: Sandbox<P>,
    id: SandboxId,
    ready: Ready,
    workspace: Workspace,
    account: AccountOf<P>,
}

/// The account behind a sandbox of this provider.
pub(super) type AccountOf<P> = fn(&P, &SandboxId, &Ready) -> AccountClient;

/// A runtime of the Runtime API. The agent-server's own settings give LLM and secrets.
#[cfg(feature = "runtime-api")]
pub type RuntimeApiWorkspace = RemoteWorkspace<RuntimeApi>;
/// A local container. The agent-server's own settings give LLM and secrets.
#[cfg(feature = "docker")]
pub type DockerWorkspace = RemoteWorkspace<Docker>;

fn settings_of_server<P: Provider>(_: &P, _: &SandboxId, ready: &Ready) -> AccountClient {
    AccountClient::agent_server(ready.server.client.clone())
}

impl<P: Provider> RemoteWorkspace<P> {
    /// Creates a sandbox and waits until it can be used. The agent-server's own settings give LLM and secrets; for those of a
    /// Cloud account, see [`super::CloudWorkspace::builder`]. Dropping the future deletes what it has created.
    ///
    /// # Errors
    /// [`SandboxError`]; then no sandbox is left, unless the error says so.
    pub async fn create(provider: P) -> Result<Self, SandboxError> {
        Self::of(Sandbox::create(provider), settings_of_server).await
    }

    /// Waits until this sandbox can be used. One that cannot is deleted, unless it is kept or existed before.
    pub(super) async fn of(mut sandbox: Sandbox<P>, account: AccountOf<P>) -> Result<Self, SandboxError> {
        let made_ready = async {
            let ready = sandbox.ready().await?;
            Ok((sandbox.made().await?, ready))
        };
        match made_ready.await {
            Ok((id, ready)) => {
                let workspace = Workspace::new(ready.server.clone(), account(sandbox.provider(), &id, &ready));
                Ok(Self { sandbox, id, ready, workspace, account })
            }
            Err(error) => {
                // A failure of the deletion is logged; the first error is the reason.
                if sandbox.is_taken() {
                    let _ = sandbox.delete().await;
                }
                Err(error)
            }
        }
    }

    /// The sandbox's id. [`super::CloudWorkspaceBuilder::sandbox_id`] attaches to it again.
    #[must_use]
    pub fn id(&self) -> &SandboxId {
        &self.id
    }

    /// The provider of the sandbox.
    #[doc(hidden)]
    pub fn provider(&self) -> &P {
        self.sandbox.provider()
    }

    /// How the agent-server is reached.
    #[doc(hidden)]
    #[must_use]
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Pauses the sandbox. Until [`RemoteWorkspace::resume`] nothing in it answers.
    ///
    /// # Errors
    /// [`SandboxError`].
    pub async fn pause(&self) -> Result<(), SandboxError> {
        self.provider().pause(&self.id).await
    }

    /// Resumes the sandbox, and waits until it can be used again.
    ///
    /// # Errors
    /// [`SandboxError`].
    pub async fn resume(&mut self) -> Result<(), SandboxError> {
        self.provider().resume(&self.id).await?;
        self.ready = self.sandbox.ready().await?;
        let account = (self.account)(self.sandbox.provider(), &self.id, &self.ready);
        self.workspace = Workspace::new(self.ready.server.clone(), account);
        Ok(())
    }

    /// Leaves the sandbox running at the end.
    pub fn keep_alive(&mut self) {
        self.sandbox.keep();
    }

    /// Deletes the sandbox, unless it is kept alive.
    ///
    /// # Errors
    /// [`SandboxError`]: the sandbox may be left.
    pub async fn close(mut self) -> Result<(), SandboxError> {
        self.sandbox.delete().await
    }
}

impl<P: Provider> Deref for RemoteWorkspace<P> {
    type Target = Workspace;

    fn deref(&self) -> &Workspace {
        &self.workspace
    }
}
