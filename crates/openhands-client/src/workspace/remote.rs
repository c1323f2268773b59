//! A workspace used from outside, whose sandbox is deleted at the end.

use std::ops::Deref;

use super::{AccountClient, Workspace};
use crate::ids::SandboxId;
#[cfg(feature = "docker")]
use crate::sandbox::providers::docker::Docker;
#[cfg(feature = "runtime-api")]
use crate::sandbox::providers::runtime_api::RuntimeApi;
use crate::sandbox::ready::Ready;
use crate::sandbox::{Provider, Sandbox, SandboxError};

/// A ready sandbox, owned by this value. It derefs to [`Workspace`].
///
/// The sandbox is deleted at the end, unless it is kept alive. Use [`RemoteWorkspace::close`] for that; otherwise `Drop` deletes
/// it, within the limits that [`Sandbox`] describes.
#[derive(Debug)]
pub struct RemoteWorkspace<P: Provider> {
    sandbox: Sandbox<P>,
    id: SandboxId,
    ready: Ready,
    workspace: Workspace,
    account: AccountOf<P>,
}

/// Returns the account of a sandbox of this provider.
pub(super) type AccountOf<P> = fn(&P, &SandboxId, &Ready) -> AccountClient;

/// A runtime of the Runtime API. LLM and secrets come from the agent-server's own settings.
#[cfg(feature = "runtime-api")]
pub type RuntimeApiWorkspace = RemoteWorkspace<RuntimeApi>;
/// A local container. LLM and secrets come from the agent-server's own settings.
#[cfg(feature = "docker")]
pub type DockerWorkspace = RemoteWorkspace<Docker>;

fn settings_of_server<P: Provider>(_: &P, _: &SandboxId, ready: &Ready) -> AccountClient {
    AccountClient::agent_server(ready.server.client.clone())
}

impl<P: Provider> RemoteWorkspace<P> {
    /// Creates a sandbox and waits until it is ready. LLM and secrets come from the agent-server's own settings; to use those of
    /// a Cloud account, see [`super::CloudWorkspace::builder`]. If the future is dropped, what it has created is deleted.
    ///
    /// # Errors
    /// [`SandboxError`]. In this case no sandbox is left, unless the error says so.
    pub async fn create(provider: P) -> Result<Self, SandboxError> {
        Self::of(Sandbox::create(provider), settings_of_server).await
    }

    /// Waits until this sandbox is ready. If it does not become ready, it is deleted, unless it is kept or existed before.
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
                // A failure of the deletion is logged; the first error is returned.
                if sandbox.is_taken() {
                    let _ = sandbox.delete().await;
                }
                Err(error)
            }
        }
    }

    /// Returns the id of the sandbox. [`super::CloudWorkspaceBuilder::sandbox_id`] attaches to it again.
    #[must_use]
    pub fn id(&self) -> &SandboxId {
        &self.id
    }

    /// Returns the provider of the sandbox.
    #[doc(hidden)]
    pub fn provider(&self) -> &P {
        self.sandbox.provider()
    }

    /// Returns how to reach the agent-server.
    #[doc(hidden)]
    #[must_use]
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Pauses the sandbox. Until [`RemoteWorkspace::resume`], nothing in it responds.
    ///
    /// # Errors
    /// [`SandboxError`].
    pub async fn pause(&self) -> Result<(), SandboxError> {
        self.provider().pause(&self.id).await
    }

    /// Resumes the sandbox, and waits until it is ready again.
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

    /// Keeps the sandbox running at the end.
    pub fn keep_alive(&mut self) {
        self.sandbox.keep();
    }

    /// Deletes the sandbox, unless it is kept alive.
    ///
    /// # Errors
    /// [`SandboxError`]: the sandbox may still exist.
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
