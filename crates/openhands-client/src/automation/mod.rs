//! The automation service, which schedules runs and receives their outcome.
//!
//! [`AutomationService`] creates, lists, starts and deletes automations from outside. A run sends a [`CompletionReport`] when it
//! ends. Observed on PyPI `openhands-automation` 1.25.0 and 1.26.0. This module knows nothing about conversations.
//!
//! ```no_run
//! # async fn example(api_key: &str, tarball: Vec<u8>) -> Result<(), Box<dyn std::error::Error>> {
//! use openhands_client::automation::{AutomationService, NewAutomation, Trigger};
//!
//! let service = AutomationService::cloud(api_key)?;
//! let tarball = service.upload("nightly", tarball).await?;
//! let trigger = Trigger::Cron { schedule: "0 3 * * *".to_owned(), timezone: "UTC".to_owned() };
//! let new = NewAutomation::new("nightly", trigger, tarball, "exec openhands-runner");
//! let automation = service.create(&new).await?;
//! let run = service.dispatch(automation.id).await?;
//! println!("{}", service.run(automation.id, &run.id).await?.status);
//! # Ok(())
//! # }
//! ```

#[doc(hidden)]
pub mod callback;
mod change;
#[doc(hidden)]
pub mod completion;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
#[doc(hidden)]
pub mod notice;
#[doc(hidden)]
pub mod phase;
mod run;
mod service;
mod trigger;
mod wire;

pub use crate::ids::{AutomationId, RunId};
pub use callback::{AttemptError, CallbackError};
pub use change::{AutomationUpdate, NewAutomation};
pub use completion::{CompletionReport, OutcomeStatus, TaskOutcome, TaskStatus};
pub use error::AutomationError;
pub use run::{AutomationRun, RunStatus, StatusDetail};
pub use service::{AutomationService, LARGEST_UPLOAD};
pub use trigger::Trigger;
pub use wire::{Automation, Tarball};
