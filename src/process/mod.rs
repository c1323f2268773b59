//! The process: its signals, its guardian, its role as PID 1, and what other processes may see of it.
//!
//! Delivers one serialised callback, and knows nothing of conversations.

pub(crate) mod ancestry;
pub(crate) mod footprint;
pub(crate) mod guardian;
pub(crate) mod hook;
pub(crate) mod init;
pub(crate) mod own_program;
pub(crate) mod parent;
pub(crate) mod resources;
pub(crate) mod scrub;
pub(crate) mod server;
pub(crate) mod signals;
