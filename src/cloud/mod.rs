//! The Cloud API: owner of sandboxes, LLM settings and secrets.
//!
//! Observed on the open-source app server (PyPI `openhands-ai` 1.11.0), which serves the same `/api/v1` paths as
//! OpenHands Cloud. Nothing here knows conversations.

pub mod client;
pub mod wire;

pub use client::Client;
