//! The automation service: what scheduled the run, and what wants to know its outcome.
//!
//! Observed on PyPI `openhands-automation` 1.25.0. Nothing here knows conversations.

#[doc(hidden)]
pub mod callback;
#[doc(hidden)]
pub mod completion;
#[doc(hidden)]
pub mod notice;
#[doc(hidden)]
pub mod phase;

pub use callback::{AttemptError, CallbackError};
pub use completion::{CompletionReport, OutcomeStatus, TaskOutcome, TaskStatus};
