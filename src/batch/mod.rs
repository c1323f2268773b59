//! The core of `batch`: which row runs next, what was done for each row, and how fast the provider of sandboxes may be asked.
//!
//! [`queue`] decides and does no I/O. [`ledger`] keeps on disk what a later process has to know. [`making`] knows the requests for
//! sandboxes that are under way. Nothing here knows a server.

pub(crate) mod ledger;
pub(crate) mod making;
pub(crate) mod pace;
pub(crate) mod queue;
