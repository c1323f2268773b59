//! The Cloud API, which manages sandboxes, LLM settings and secrets.
//!
//! Observed on the open-source app server (PyPI `openhands-ai` 1.11.0), which serves the same `/api/v1` paths as OpenHands Cloud.
//! This module knows nothing about conversations.

mod account;
pub mod client;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
pub mod sandboxes;
pub mod wire;

pub use account::{CloudAccount, DEFAULT_URL, default_url};
pub use client::CloudClient;
pub use sandboxes::{CloudKey, Sandboxes};
