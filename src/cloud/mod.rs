//! The Cloud API: owner of sandboxes, LLM settings and secrets.
//!
//! Observed on the open-source app server (PyPI `openhands-ai` 1.11.0), which serves the same `/api/v1` paths as
//! OpenHands Cloud. Nothing here knows conversations.

pub mod client;
mod provider;
pub mod sandboxes;
pub mod wire;

pub use client::Client;
pub use provider::{CloudProvider, look_of};
pub use sandboxes::{CloudKey, Sandboxes};
