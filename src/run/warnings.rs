//! What the user of a run is warned of: in the log at once, in the result at the end.

use std::sync::{Mutex, PoisonError};

/// The warnings of one run.
#[derive(Debug, Default)]
pub(super) struct Warnings(Mutex<Vec<String>>);

impl Warnings {
    /// Warns the user.
    pub(super) fn warn(&self, warning: String) {
        tracing::warn!("{warning}");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
    }

    /// All of them, the oldest first.
    pub(super) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
