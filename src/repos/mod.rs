//! The repositories of a run: cloned with the system's git into the working directory, before the agent starts.
//!
//! [`plan`] is pure: which directory each gets, and which token may open it. [`access`] knows the providers, [`git`] the
//! program, [`clone`] the order of things. Nothing here knows HTTP or where a token comes from.

pub mod access;
pub mod clone;
pub mod git;
pub mod plan;

pub use clone::{CloneError, Cloned, clone_all};
pub use plan::RepoPlan;
