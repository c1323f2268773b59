//! Clones the repositories of a run with the system's git into the working directory, before the agent starts.
//!
//! [`crate::plan::repos`] decides which directory each gets, and [`crate::plan::access`] knows the providers. [`git`] runs the program,
//! [`partial`] keeps a clone apart until it is complete, [`contents`] gets submodules and large files, and [`clone`] is the order of
//! the steps. Nothing here knows HTTP or where a token comes from.

pub(crate) mod clone;
mod contents;
pub(crate) mod git;
mod partial;

pub(crate) use clone::clone_all;
