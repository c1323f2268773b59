//! Why an automation could not be used.

use std::fmt;

use crate::http::{HttpError, SetupError};
use crate::ids::{AutomationId, RunId};
use crate::text;

/// A call of the automation service has failed.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum AutomationError {
    /// The HTTP client cannot be made of these settings.
    #[error("the HTTP client cannot be set up")]
    Setup(#[from] SetupError),
    /// The request failed.
    #[error("{doing} failed")]
    Request {
        /// What was to be done.
        doing: &'static str,
        /// Why it failed.
        source: HttpError,
    },
    /// The account has no automation with this id.
    #[error("there is no automation {0}")]
    NoSuchAutomation(AutomationId),
    /// The automation has no run with this id.
    #[error("the automation {automation} has no run {run}")]
    NoSuchRun {
        /// The automation.
        automation: AutomationId,
        /// The run that it does not have.
        run: RunId,
    },
    /// The service takes smaller tarballs only.
    #[error("the tarball has {size} bytes; the automation service takes at most {limit}")]
    TooLarge {
        /// The size of the tarball, in bytes.
        size: usize,
        /// The most that the service takes, in bytes.
        limit: usize,
    },
    /// The service has not stored the tarball.
    #[error("the automation service has not stored the tarball: {0}")]
    NotStored(String),
}

impl fmt::Debug for AutomationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::chain(self))
    }
}

impl AutomationError {
    /// A failed request about an automation, for `map_err`.
    pub(super) fn about(doing: &'static str, id: AutomationId) -> impl FnOnce(HttpError) -> Self {
        // An address that the server does not know is a wrong base address.
        move |source| match source.status() {
            Some(404) if !source.is_unknown_route() => Self::NoSuchAutomation(id),
            _ => Self::Request { doing, source },
        }
    }

    /// A failed request, for `map_err`.
    pub(super) fn request(doing: &'static str) -> impl FnOnce(HttpError) -> Self {
        move |source| Self::Request { doing, source }
    }

    /// Whether the server does not know the address that was asked for: the service's base address is wrong.
    #[must_use]
    pub fn is_wrong_address(&self) -> bool {
        matches!(self, Self::Request { source, .. } if source.is_unknown_route() || matches!(source, HttpError::Page { .. }))
    }
}
