//! What the environment says: read once ([`mod@env`]), the part for reporting first and leniently ([`reporting`]), the
//! rest typed and with every problem at once ([`settings`]).

pub mod env;
pub mod reporting;
pub mod settings;
