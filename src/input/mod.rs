//! All that the user gave, besides the command line: the environment, read once ([`mod@env`]), its part for reporting, first
//! and leniently ([`reporting`]), the rest typed and with every problem at once ([`settings`]), and the task file ([`task`]).

pub(crate) mod env;
pub(crate) mod payload;
pub(crate) mod problem;
pub(crate) mod reporting;
pub(crate) mod settings;
pub(crate) mod task;
pub(crate) mod time_limits;
#[cfg(debug_assertions)]
pub(crate) mod time_scale;
mod title;

use openhands_client::secret::Redactor;

use self::env::RawEnv;
use self::time_limits::RunnerTimeLimits;

/// What the process was given, besides its command line, and its time limits.
#[derive(Debug)]
pub(crate) struct Environment {
    /// The known variables.
    pub(crate) raw: RawEnv,
    /// Known variables whose value is not text.
    pub(crate) not_text: Vec<String>,
    /// Shared with the log.
    pub(crate) redactor: Redactor,
    /// For everything that this process does.
    pub(crate) time_limits: RunnerTimeLimits,
}
