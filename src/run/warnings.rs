//! Warnings for the user of a run: logged at once, and listed in the result.

use std::sync::{Mutex, PoisonError};

/// The warnings of one run.
#[derive(Debug, Default)]
pub(super) struct Warnings(Mutex<Vec<String>>);

impl Warnings {
    /// Logs a warning and keeps it for the result.
    pub(super) fn warn(&self, warning: String) {
        tracing::warn!("{warning}");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
    }

    /// Returns all warnings, the oldest first.
    pub(super) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
