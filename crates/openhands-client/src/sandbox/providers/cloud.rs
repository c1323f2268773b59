//! OpenHands Cloud as a provider of sandboxes.

use crate::collections::inserted;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::cloud::sandboxes::{SandboxInfo, SandboxPage, SandboxStatus, Sandboxes, is_account_limit};
use crate::http::{Http, HttpError};
use crate::ids::SandboxId;
use crate::sandbox::{Access, Provider, SandboxError, SandboxState};

/// Creates sandboxes in an OpenHands Cloud account. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CloudProvider {
    /// The account in which sandboxes are created.
    pub sandboxes: Sandboxes,
    /// The sandbox spec; `None` uses the default spec of the account.
    pub spec: Option<String>,
    /// The time limit until a new sandbox is ready.
    pub init_timeout: Duration,
}

/// The newest sandboxes of an account at some moment.
#[derive(Debug, Clone)]
pub struct NewestSandboxes {
    ids: BTreeSet<String>,
    /// When the newest of them was created.
    last_made: Option<String>,
    /// Whether they are all sandboxes of the account.
    all: bool,
}

impl NewestSandboxes {
    fn of(page: &SandboxPage) -> Self {
        Self {
            ids: inserted(page.items.iter().map(|info| info.id.clone())),
            last_made: page.items.iter().filter_map(made_at).max().map(str::to_owned),
            all: page.next_page_id.is_none(),
        }
    }

    /// Returns whether this sandbox was created later. An older one may move to the first page when others are deleted.
    fn precedes(&self, info: &SandboxInfo) -> bool {
        !self.ids.contains(&info.id)
            && match (self.last_made.as_deref(), made_at(info)) {
                (Some(last), Some(made)) => last <= made,
                _ => self.all,
            }
    }
}

/// Returns the creation time in UTC, in a form that sorts by time.
fn made_at(info: &SandboxInfo) -> Option<&str> {
    info.created_at.as_deref().map(|time| time.trim_end_matches("+00:00").trim_end_matches('Z'))
}

impl CloudProvider {
    async fn newest(&self) -> Result<SandboxPage, SandboxError> {
        self.sandboxes.search(None).await.map_err(SandboxError::request("listing the sandboxes"))
    }
}

/// Returns the state that the description of a sandbox shows.
#[must_use]
pub fn look_of(info: Option<&SandboxInfo>) -> SandboxState {
    let Some(info) = info else { return SandboxState::Gone };
    match &info.status {
        SandboxStatus::Missing => SandboxState::Gone,
        SandboxStatus::Paused => SandboxState::Paused,
        SandboxStatus::Error => SandboxState::Failed { status: "ERROR".to_owned(), reason: info.failure_reason() },
        // With an address and a key, the agent-server can be tried whatever the status is.
        status => match (info.agent_server(), &info.session_api_key) {
            (Some((url, port)), Some(key)) => SandboxState::Usable(Access::new(url, Some(key.clone()), port)),
            (address, key) => SandboxState::Waiting(match status {
                SandboxStatus::Running => running_without(address.is_none(), key.is_none()),
                other => other.to_string(),
            }),
        },
    }
}

/// Describes a sandbox that is running but not usable.
fn running_without(address: bool, key: bool) -> String {
    let missing = match (address, key) {
        (true, true) => "the Cloud gives neither an address of its agent-server nor a session key",
        (true, false) => "the Cloud gives no valid address of its agent-server (AGENT_SERVER in exposed_urls)",
        (false, _) => "the Cloud gives no session key (session_api_key)",
    };
    format!("RUNNING, but {missing}")
}

fn create_failed(error: HttpError) -> SandboxError {
    match &error {
        HttpError::Status { detail, retry_after, .. } if is_account_limit(&error) => {
            SandboxError::LimitReached { detail: detail.clone(), retry_after: *retry_after }
        }
        _ => SandboxError::request("creating the sandbox")(error),
    }
}

impl Provider for CloudProvider {
    type Mark = NewestSandboxes;

    /// Another job of the account may create a sandbox at the same time.
    fn knows_its_own(&self) -> bool {
        false
    }

    async fn mark(&self) -> Result<NewestSandboxes, SandboxError> {
        Ok(NewestSandboxes::of(&self.newest().await?))
    }

    async fn create(&self, _: &NewestSandboxes) -> Result<SandboxId, SandboxError> {
        let made = self.sandboxes.create(self.spec.as_deref(), self.init_timeout).await;
        made.map(|info| SandboxId::new(info.id)).map_err(create_failed)
    }

    async fn made_since(&self, mark: &NewestSandboxes) -> Result<Vec<SandboxId>, SandboxError> {
        let is_new = |info: &SandboxInfo| {
            let spec_fits = self.spec.is_none() || info.sandbox_spec_id.is_none() || info.sandbox_spec_id == self.spec;
            mark.precedes(info) && spec_fits
        };
        Ok(self.newest().await?.items.into_iter().filter(is_new).map(|info| SandboxId::new(info.id)).collect())
    }

    async fn look(&self, id: &SandboxId) -> Result<SandboxState, SandboxError> {
        let info = self.sandboxes.get(id).await.map_err(SandboxError::request("reading the status of the sandbox"))?;
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
        let was_there = self.sandboxes.delete(id).await.map_err(SandboxError::request("deleting the sandbox"))?;
        if !was_there {
            tracing::info!(sandbox = %id, "the sandbox no longer exists");
        }
        Ok(())
    }

    fn http(&self) -> &Http {
        self.sandboxes.http()
    }

    fn init_timeout(&self) -> Duration {
        self.init_timeout
    }

    fn with_fresh_connections(&self) -> Option<Self> {
        Some(Self { sandboxes: self.sandboxes.with_fresh_connections().ok()?, ..self.clone() })
    }
}

fn of_existing(id: &SandboxId, doing: &'static str, error: HttpError) -> SandboxError {
    match error.status() {
        Some(404) => SandboxError::Gone { id: id.clone() },
        _ => SandboxError::Request { doing, source: error },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn look(info: Value) -> SandboxState {
        look_of(Some(&serde_json::from_value(info).unwrap()))
    }

    #[test]
    fn a_running_sandbox_that_cannot_be_used_says_what_is_missing() {
        let urls = json!([{"name": "AGENT_SERVER", "url": "http://h:1", "port": 1}]);
        let bad_urls = json!([{"name": "AGENT_SERVER", "url": "", "port": 1}]);
        for (urls, key, missing) in [
            (Value::Null, Value::Null, "neither an address of its agent-server nor a session key"),
            (Value::Null, json!("k"), "no valid address of its agent-server"),
            (bad_urls, json!("k"), "no valid address of its agent-server"),
            (urls, Value::Null, "no session key"),
        ] {
            let info = json!({"id": "x", "status": "RUNNING", "exposed_urls": urls, "session_api_key": key});
            let SandboxState::Waiting(text) = look(info) else { panic!("{missing}") };
            assert!(text.starts_with("RUNNING, but") && text.contains(missing), "{text}");
        }
    }

    #[test]
    fn a_failed_sandbox_gives_the_reason_of_the_cloud() {
        for (fields, expected) in [
            (json!({}), None),
            (json!({"error": null, "detail": 7}), None),
            (json!({"error": "no\nspace"}), Some("no space")),
            (json!({"status_reason": "image not found"}), Some("image not found")),
            (json!({"error": {"code": 1, "message": "quota"}}), Some("quota")),
        ] {
            let mut info = json!({"id": "x", "status": "ERROR"});
            info.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            let SandboxState::Failed { reason, .. } = look(info) else { panic!("{fields}") };
            assert_eq!(reason.as_deref(), expected, "{fields}");
        }
    }
}
