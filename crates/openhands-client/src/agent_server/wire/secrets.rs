//! Secrets of an agent, and where their values come from.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::secret::Secret;

/// The source from which the agent-server gets the value of a secret.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind")]
#[non_exhaustive]
pub enum SecretSource {
    /// The server fetches the value when a command needs it. The value never passes through this program.
    #[serde(rename = "LookupSecret")]
    Lookup {
        /// The URL of the value.
        url: String,
        /// The headers of the request.
        headers: BTreeMap<String, String>,
        /// What the secret is for.
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<String>,
    },
    /// The value itself.
    #[serde(rename = "StaticSecret")]
    Static {
        /// The value, as plain text.
        value: String,
    },
}

impl From<Secret> for SecretSource {
    fn from(secret: Secret) -> Self {
        Self::Static { value: secret.expose().to_owned() }
    }
}

impl From<&str> for SecretSource {
    fn from(value: &str) -> Self {
        Self::Static { value: value.to_owned() }
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lookup { url, .. } => write!(f, "LookupSecret({url})"),
            Self::Static { .. } => f.write_str("StaticSecret"),
        }
    }
}

/// Secrets by name.
pub type Secrets = BTreeMap<String, SecretSource>;
