//! Values that must not be seen, and the removal of them from text that leaves the process.
//!
//! Nothing here knows where a secret comes from or what it opens.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use serde::Deserialize;

/// A key or token. `Debug` prints `***`; there is no `Display`, and [`Secret::expose`] is the one way to the value.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the moment in which it is sent.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self::new(value)
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What stands in the place of a removed secret.
pub const MASK: &str = "***";

/// A shorter value is not removed from text: it would take ordinary words with it.
const SHORTEST_REDACTED: usize = 6;

/// Removes the secrets that the process has learned so far from text that is about to leave it.
///
/// Clones share one list, so that a secret learned in the middle of a run is removed from the log from then on.
#[derive(Clone, Default)]
pub struct Redactor {
    secrets: Arc<RwLock<Vec<Secret>>>,
}

impl Redactor {
    /// Removes this value from now on. Values under 6 bytes are left alone.
    pub fn learn(&self, secret: &Secret) {
        if secret.expose().len() < SHORTEST_REDACTED {
            return;
        }
        let mut secrets = self.secrets.write().unwrap_or_else(PoisonError::into_inner);
        if !secrets.contains(secret) {
            secrets.push(secret.clone());
            // The longest first: one secret may hold another.
            secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        }
    }

    /// The text with every learned secret replaced by [`MASK`].
    #[must_use]
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let secrets = self.secrets.read().unwrap_or_else(PoisonError::into_inner);
        secrets.iter().fold(Cow::Borrowed(text), |text, secret| {
            if text.contains(secret.expose()) { Cow::Owned(text.replace(secret.expose(), MASK)) } else { text }
        })
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_value() {
        assert_eq!(format!("{:?}", Secret::new("sk-12345678")), "***");
    }

    #[test]
    fn learned_secrets_are_removed_longest_first() {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("abcdef"));
        redactor.clone().learn(&Secret::new("abcdef-123"));
        assert_eq!(redactor.redact("key abcdef-123, abcdef"), "key ***, ***");
    }

    #[test]
    fn short_values_are_left_alone() {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("a"));
        assert_eq!(redactor.redact("a banana"), "a banana");
    }
}
