//! Errors of the automation service.

use std::fmt;

use crate::http::{HttpError, SetupError};
use crate::ids::{AutomationId, RunId};
use crate::text;

/// A call of the automation service failed.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum AutomationError {
    /// The HTTP client could not be created with these settings.
    #[error("the HTTP client cannot be set up")]
    Setup(#[from] SetupError),
    /// The request failed.
    #[error("{doing} failed")]
    Request {
        /// What the request was for.
        doing: &'static str,
        /// The error of the request.
        source: HttpError,
    },
    /// The account has no automation with this id.
    #[error("there is no automation {0}")]
    NoSuchAutomation(AutomationId),
    /// The automation has no run with this id.
    #[error("the automation {automation} has no run {run}")]
    NoSuchRun {
        /// The id of the automation.
        automation: AutomationId,
        /// The id of the missing run.
        run: RunId,
    },
    /// The tarball exceeds the service's limit.
    #[error("the tarball has {size} bytes; the automation service takes at most {limit}")]
    TooLarge {
        /// The size of the tarball, in bytes.
        size: usize,
        /// The limit of the service, in bytes.
        limit: usize,
    },
    /// The service did not store the tarball.
    #[error("the automation service has not stored the tarball: {0}")]
    NotStored(String),
}

impl fmt::Debug for AutomationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::chain(self))
    }
}

impl AutomationError {
    /// Converts a failed request about an automation, for `map_err`.
    pub(super) fn about(doing: &'static str, id: AutomationId) -> impl FnOnce(HttpError) -> Self {
        // A path that the server does not know means that the base URL is wrong.
        move |source| match source.status() {
            Some(404) if !source.is_unknown_route() => Self::NoSuchAutomation(id),
            _ => Self::Request { doing, source },
        }
    }

    /// Converts a failed request, for `map_err`.
    pub(super) fn request(doing: &'static str) -> impl FnOnce(HttpError) -> Self {
        move |source| Self::Request { doing, source }
    }

    /// Returns whether the server does not know the path, which means that the base URL of the service is wrong.
    #[must_use]
    pub fn is_wrong_address(&self) -> bool {
        matches!(self, Self::Request { source, .. } if source.is_unknown_route() || matches!(source, HttpError::Page { .. }))
    }
}
