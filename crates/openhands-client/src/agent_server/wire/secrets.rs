//! Where an agent gets its secrets.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::secret::Secret;

/// Where the agent-server takes the value of a secret from.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind")]
#[non_exhaustive]
pub enum SecretSource {
    /// The server fetches the value when a command needs it: it never passes through us.
    #[serde(rename = "LookupSecret")]
    Lookup {
        /// Where it reads the value.
        url: String,
        /// What it sends with the request.
        headers: BTreeMap<String, String>,
        /// What the secret is for.
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<String>,
    },
    /// The value itself.
    #[serde(rename = "StaticSecret")]
    Static {
        /// It is not a secret to us.
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
