//! An OpenHands Cloud account, used from inside a sandbox.

use url::Url;

use crate::ids::SandboxId;
use crate::secret::Secret;

/// The URL of OpenHands Cloud.
pub const DEFAULT_URL: &str = "https://app.all-hands.dev";

/// Returns the URL of OpenHands Cloud.
#[must_use]
pub fn default_url() -> Url {
    Url::parse(DEFAULT_URL).expect("a valid address")
}

/// The keys with which a sandbox reads the settings of an account.
#[derive(Debug, Clone)]
pub struct CloudAccount {
    /// The base URL of the Cloud API.
    pub url: Url,
    /// The API key of the account.
    pub api_key: Secret,
    /// The id of the sandbox.
    pub sandbox_id: SandboxId,
    /// The session key of the sandbox.
    pub session_key: Secret,
}
