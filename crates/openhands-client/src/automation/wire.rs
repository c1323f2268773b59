//! Automations as the service describes them. Read leniently: what a version lacks is left out.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::trigger::Trigger;
use crate::ids::AutomationId;

/// Where the service has a tarball, or downloads it: `oh-internal://uploads/…` for an upload, or an `https://` address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tarball(String);

impl Tarball {
    /// A tarball at an address that the service can download.
    pub fn at(address: impl Into<String>) -> Self {
        Self(address.into())
    }

    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the upload, if the service has the tarball itself.
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
    /// Its id.
    pub id: AutomationId,
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// What starts its runs.
    pub trigger: Trigger,
    /// The LLM profile of its runs.
    #[serde(default)]
    pub model: Option<String>,
    /// The agent profile of its runs.
    #[serde(default)]
    pub agent_profile_id: Option<String>,
    /// What its runs unpack.
    pub tarball_path: Tarball,
    /// What its runs start.
    pub entrypoint: String,
    /// How long a run may take, in seconds.
    #[serde(default)]
    timeout: Option<u64>,
    /// `ACTIVE`, `INACTIVE` or `DRAFT`. Empty for a service that reports it in another way.
    #[serde(default)]
    pub state: String,
    /// Why it is not active.
    #[serde(default)]
    pub disabled_reason: Option<String>,
    /// Its tags; none before 1.26.0.
    #[serde(default)]
    pub tags: Vec<String>,
    /// When its last run was triggered (RFC 3339).
    #[serde(default)]
    pub last_triggered_at: Option<String>,
    /// When it was created (RFC 3339).
    #[serde(default)]
    pub created_at: Option<String>,
}

impl Automation {
    /// How long a run may take.
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

/// `POST /v1/uploads`. A failed upload is a 201 without a path.
#[derive(Debug, Deserialize)]
pub(super) struct Uploaded {
    pub(super) tarball_path: Option<Tarball>,
    #[serde(default)]
    pub(super) error_message: Option<String>,
}
