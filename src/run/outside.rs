//! The sandbox of a run that is driven from outside.

use openhands_client::agent_server::AgentServer;
use openhands_client::cloud::CloudKey;
use openhands_client::http::Http;
use openhands_client::ids::SandboxId;
use openhands_client::sandbox::Sandbox;
use openhands_client::sandbox::providers::cloud::CloudProvider;
use openhands_client::workspace::{AccountClient, account_of};

use crate::cli::RunArgs;
use crate::input::Environment;
use crate::outcome::Failure;
use crate::prepare::sandbox::{leave, sandbox_of};

/// Outlives the work in it: whatever ends the run, the sandbox is still there to be deleted.
#[derive(Debug, Default)]
pub(super) struct Outside {
    sandbox: tokio::sync::Mutex<Option<Sandbox<CloudProvider>>>,
}

impl Outside {
    /// Makes the sandbox, or takes the named one, and waits until it can be used.
    pub(super) async fn ready(
        &self,
        args: &RunArgs,
        key: &CloudKey,
        http: Http,
        environment: &Environment,
    ) -> Result<(AccountClient, AgentServer), Failure> {
        let mut slot = self.sandbox.lock().await;
        let sandbox = slot.insert(sandbox_of(&args.sandbox, key, http, &environment.raw));
        let ready = sandbox.ready().await.map_err(Failure::from)?;
        if let Some(key) = &ready.access.agent_server.session_key {
            environment.redactor.learn(key);
        }
        let id = sandbox.made().await.map_err(Failure::from)?;
        let account = account_of(&id, &sandbox.provider().sandboxes, &ready);
        Ok((account, ready.server))
    }

    /// The sandbox's id, once it is known.
    pub(super) async fn id(&self) -> Option<SandboxId> {
        self.sandbox.lock().await.as_ref()?.id().cloned()
    }

    /// Deletes the sandbox, unless it is to stay.
    pub(super) async fn delete(&self) {
        if let Some(sandbox) = self.sandbox.lock().await.as_mut() {
            // A failure is in the log; the outcome of the run stands.
            let _ = sandbox.delete().await;
        }
    }

    /// The process ends now: what is still there stays, and the user is told.
    pub(super) fn forget(self) {
        if let Some(sandbox) = self.sandbox.into_inner() {
            leave(sandbox);
        }
    }
}
