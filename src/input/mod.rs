//! All that the user gave, besides the command line: the environment, read once ([`mod@env`]), its part for reporting, first
//! and leniently ([`reporting`]), the rest typed and with every problem at once ([`settings`]), and the task file ([`task`]).

pub(crate) mod env;
pub(crate) mod payload;
pub(crate) mod problem;
pub(crate) mod reporting;
pub(crate) mod settings;
pub(crate) mod task;
mod title;

use openhands_client::secret::Redactor;

use self::env::RawEnv;

/// What the process was given, besides its command line.
#[derive(Debug)]
pub(crate) struct Environment {
    /// The known variables.
    pub(crate) raw: RawEnv,
    /// Known variables whose value is not text.
    pub(crate) not_text: Vec<String>,
    /// Shared with the log.
    pub(crate) redactor: Redactor,
}
