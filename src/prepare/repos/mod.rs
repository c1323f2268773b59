//! The repositories of a run: cloned with the system's git into the working directory, before the agent starts.
//!
//! [`crate::plan::repos`] decides which directory each gets. [`crate::plan::access`] knows the providers, [`git`] the
//! program, [`clone`] the order of things. Nothing here knows HTTP or where a token comes from.

pub(crate) mod clone;
pub(crate) mod git;

pub(crate) use clone::clone_all;
