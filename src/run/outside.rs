//! The sandbox of a run that is driven from outside.

use openhands_client::agent_server::AgentServer;
use openhands_client::http::Http;
use openhands_client::ids::SandboxId;
use openhands_client::retry::{Policy, retry};
use openhands_client::sandbox::ready::await_ready;
use openhands_client::sandbox::{Provider as _, Sandbox, SandboxState};
use openhands_client::workspace::AccountClient;

use crate::cli::RunArgs;
use crate::input::Environment;
use crate::input::services::ProviderSettings;
use crate::outcome::Failure;
use crate::prepare::provider::AnyProvider;
use crate::prepare::sandbox::{leave, sandbox_of};

/// Outlives the work in the sandbox, so that the sandbox can be deleted however the run ends.
#[derive(Debug, Default)]
pub(super) struct Outside {
    sandbox: tokio::sync::Mutex<Option<Sandbox<AnyProvider>>>,
}

impl Outside {
    /// Creates the sandbox, or attaches to the named one, and waits until it is ready.
    pub(super) async fn ready(
        &self,
        args: &RunArgs,
        provider: &ProviderSettings,
        http: Http,
        environment: &Environment,
    ) -> Result<(AccountClient, AgentServer), Failure> {
        let mut slot = self.sandbox.lock().await;
        let sandbox = slot.insert(sandbox_of(provider, &args.sandbox, http, &environment.raw));
        let ready = sandbox.ready().await.map_err(Failure::from)?;
        if let Some(key) = &ready.access.agent_server.session_key {
            environment.redactor.learn(key);
        }
        let id = sandbox.made().await.map_err(Failure::from)?;
        let account = sandbox.provider().account(&id, &ready);
        Ok((account, ready.server))
    }

    /// Resumes the sandbox if it was paused during the run, and returns whether the run can continue in it.
    ///
    /// # Errors
    /// The sandbox is no longer usable.
    pub(super) async fn wake(&self) -> Result<bool, Failure> {
        let slot = self.sandbox.lock().await;
        let Some((sandbox, id)) = slot.as_ref().and_then(|sandbox| Some((sandbox, sandbox.id()?))) else {
            return Ok(false);
        };
        let provider = sandbox.provider();
        let policy = Policy::cloud_read(provider.http().time_limits());
        // If the provider does not respond, the original failure is the reason.
        let look = retry("reading the status of the sandbox", policy, || provider.look(id)).await;
        if !matches!(look, Ok(SandboxState::Paused)) {
            return Ok(false);
        }
        tracing::warn!(sandbox = %id, "the sandbox was paused during the run; resuming it");
        await_ready(provider, id).await.map_err(Failure::from)?;
        Ok(true)
    }

    /// Returns the id of the sandbox, if it is known.
    pub(super) async fn id(&self) -> Option<SandboxId> {
        self.sandbox.lock().await.as_ref()?.id().cloned()
    }

    /// Deletes the sandbox, unless it is kept.
    pub(super) async fn delete(&self) {
        if let Some(sandbox) = self.sandbox.lock().await.as_mut() {
            // A failure is logged; it does not change the outcome of the run.
            let _ = sandbox.delete().await;
        }
    }

    /// Leaves an existing sandbox, because the process ends now, and informs the user.
    pub(super) fn forget(self) {
        if let Some(sandbox) = self.sandbox.into_inner() {
            leave(sandbox);
        }
    }
}
