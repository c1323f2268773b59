//! Who provides sandboxes.

pub mod cloud;
pub mod docker;
pub mod runtime_api;
