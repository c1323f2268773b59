//! Automations as the service describes them. Parsed leniently: fields that a version does not send are left out.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::trigger::Trigger;
use crate::ids::AutomationId;

/// Where the tarball is: `oh-internal://uploads/…` for an upload, or an `https://` URL from which the service downloads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tarball(String);

impl Tarball {
    /// Uses a tarball at a URL that the service can download.
    pub fn at(address: impl Into<String>) -> Self {
        Self(address.into())
    }

    /// Returns the URL as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the id of the upload, if the service stores the tarball.
    pub(super) fn upload_id(&self) -> Option<&str> {
        self.0.strip_prefix("oh-internal://uploads/").filter(|id| !id.is_empty())
    }
}

impl fmt::Display for Tarball {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An automation.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Automation {
    /// The id of the automation.
    pub id: AutomationId,
    /// The name.
    pub name: String,
    /// The description.
    #[serde(default)]
    pub description: Option<String>,
    /// The trigger of its runs.
    pub trigger: Trigger,
    /// The LLM profile of its runs.
    #[serde(default)]
    pub model: Option<String>,
    /// The agent profile of its runs.
    #[serde(default)]
    pub agent_profile_id: Option<String>,
    /// The tarball that its runs unpack.
    pub tarball_path: Tarball,
    /// The command that its runs start.
    pub entrypoint: String,
    /// The time limit of a run, in seconds.
    #[serde(default)]
    timeout: Option<u64>,
    /// `ACTIVE`, `INACTIVE` or `DRAFT`. Empty if the service reports the state in another way.
    #[serde(default)]
    pub state: String,
    /// The reason why it is not active.
    #[serde(default)]
    pub disabled_reason: Option<String>,
    /// The tags; empty before 1.26.0.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The time at which its last run was triggered (RFC 3339).
    #[serde(default)]
    pub last_triggered_at: Option<String>,
    /// The time at which it was created (RFC 3339).
    #[serde(default)]
    pub created_at: Option<String>,
}

impl Automation {
    /// Returns the time limit of a run.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout.map(Duration::from_secs)
    }
}

/// `GET /v1`.
#[derive(Debug, Deserialize)]
pub(super) struct AutomationPage {
    pub(super) automations: Vec<Automation>,
}

/// `POST /v1/uploads`. The response to a failed upload is a 201 without a path.
#[derive(Debug, Deserialize)]
pub(super) struct Uploaded {
    pub(super) tarball_path: Option<Tarball>,
    #[serde(default)]
    pub(super) error_message: Option<String>,
}
