//! OpenHands Cloud as a provider of sandboxes.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::sleep;

use super::sandboxes::{SandboxInfo, SandboxStatus, Sandboxes, is_account_limit};
use crate::display;
use crate::http::{Http, HttpError};
use crate::ids::SandboxId;
use crate::retry::Policy;
use crate::sandbox::{Access, Look, Provider, SandboxError};

/// Makes sandboxes in an OpenHands Cloud account. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CloudProvider {
    /// The account.
    pub sandboxes: Sandboxes,
    /// The sandbox spec, instead of the account's default one.
    pub spec: Option<String>,
    /// Time for a new sandbox until it is ready.
    pub init_timeout: Duration,
}

/// The ids of the newest sandboxes.
type Newest = BTreeSet<String>;

impl CloudProvider {
    async fn newest(&self) -> Result<Vec<SandboxInfo>, SandboxError> {
        let page = self.sandboxes.search(None).await.map_err(SandboxError::request("looking at the sandboxes"))?;
        Ok(page.items)
    }
}

/// What a sandbox's description says of it.
#[must_use]
pub fn look_of(info: Option<&SandboxInfo>) -> Look {
    let Some(info) = info else { return Look::Gone };
    match &info.status {
        SandboxStatus::Missing => Look::Gone,
        SandboxStatus::Paused => Look::Paused,
        SandboxStatus::Error => Look::Failed("ERROR".to_owned()),
        // With an address and a key it can be tried, whatever it says.
        status => match (info.agent_server(), &info.session_api_key) {
            (Some(exposed), Some(key)) => {
                Look::Usable(Access::new(exposed.url.clone(), Some(key.clone()), exposed.port))
            }
            _ => Look::Waiting(status.to_string()),
        },
    }
}

fn create_failed(error: HttpError) -> SandboxError {
    match &error {
        HttpError::Status { detail, .. } if is_account_limit(&error) => {
            SandboxError::LimitReached { detail: detail.clone() }
        }
        _ => SandboxError::request("creating the sandbox")(error),
    }
}

impl Provider for CloudProvider {
    type Mark = Newest;

    async fn mark(&self) -> Result<Newest, SandboxError> {
        Ok(self.newest().await?.into_iter().map(|info| info.id).collect())
    }

    async fn create(&self, _: &Newest) -> Result<SandboxId, SandboxError> {
        let mut delays = Policy::cloud().delays();
        loop {
            let error = match self.sandboxes.create(self.spec.as_deref(), self.init_timeout).await {
                Ok(info) => return Ok(SandboxId::new(info.id)),
                Err(error) => error,
            };
            // The one refusal that says for certain that nothing was made, and that goes away by itself.
            let HttpError::Status { status: 429, retry_after, .. } = &error else { return Err(create_failed(error)) };
            match delays.next_delay() {
                Some(delay) if !is_account_limit(&error) => {
                    tracing::warn!(error = %display::chain(&error), "creating the sandbox: trying again");
                    sleep(retry_after.unwrap_or(delay)).await;
                }
                _ => return Err(create_failed(error)),
            }
        }
    }

    async fn made_since(&self, mark: &Newest) -> Result<Vec<SandboxId>, SandboxError> {
        let is_new = |info: &SandboxInfo| {
            let spec_fits = self.spec.is_none() || info.sandbox_spec_id.is_none() || info.sandbox_spec_id == self.spec;
            !mark.contains(&info.id) && spec_fits
        };
        Ok(self.newest().await?.into_iter().filter(is_new).map(|info| SandboxId::new(info.id)).collect())
    }

    async fn look(&self, id: &SandboxId) -> Result<Look, SandboxError> {
        let info = self.sandboxes.get(id).await.map_err(SandboxError::request("looking at the sandbox"))?;
        Ok(look_of(info.as_ref()))
    }

    async fn pause(&self, id: &SandboxId) -> Result<(), SandboxError> {
        self.sandboxes.pause(id).await.map_err(|error| of_existing(id, "pausing the sandbox", error))
    }

    async fn resume(&self, id: &SandboxId) -> Result<(), SandboxError> {
        let resumed = self.sandboxes.resume(id, self.init_timeout).await;
        resumed.map_err(|error| of_existing(id, "resuming the sandbox", error))
    }

    async fn delete(&self, id: &SandboxId) -> Result<(), SandboxError> {
        self.sandboxes.delete(id).await.map(drop).map_err(SandboxError::request("deleting the sandbox"))
    }

    fn http(&self) -> &Http {
        self.sandboxes.http()
    }

    fn init_timeout(&self) -> Duration {
        self.init_timeout
    }

    fn anew(&self) -> Option<Self> {
        Some(Self { sandboxes: self.sandboxes.anew().ok()?, ..self.clone() })
    }
}

fn of_existing(id: &SandboxId, doing: &'static str, error: HttpError) -> SandboxError {
    match error.status() {
        Some(404) => SandboxError::Gone { id: id.clone() },
        _ => SandboxError::Request { doing, source: error },
    }
}
