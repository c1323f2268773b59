//! The automation service: what scheduled the run, and what wants to know its outcome.
//!
//! Observed on PyPI `openhands-automation` 1.25.0. Nothing here knows conversations.

pub mod callback;
pub mod completion;
pub mod phase;
