//! An OpenHands Cloud account, as a sandbox sees it.

use url::Url;

use crate::ids::SandboxId;
use crate::secret::Secret;

/// OpenHands Cloud.
pub const DEFAULT_URL: &str = "https://app.all-hands.dev";

/// OpenHands Cloud, as an address.
#[must_use]
pub fn default_url() -> Url {
    Url::parse(DEFAULT_URL).expect("a valid address")
}

/// What opens an account's settings to a sandbox.
#[derive(Debug, Clone)]
pub struct CloudAccount {
    /// Base of the Cloud API.
    pub url: Url,
    /// The account's key.
    pub api_key: Secret,
    /// The sandbox that asks.
    pub sandbox_id: SandboxId,
    /// Its session key.
    pub session_key: Secret,
}
