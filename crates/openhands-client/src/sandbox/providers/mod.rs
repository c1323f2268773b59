//! Providers of sandboxes.

pub mod cloud;
#[cfg(feature = "docker")]
pub mod docker;
#[cfg(feature = "runtime-api")]
pub mod runtime_api;
