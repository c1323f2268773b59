//! All that the user gave, besides the command line: the environment, read once ([`mod@env`]), its part for reporting, first
//! and leniently ([`reporting`]), the rest typed and with every problem at once ([`settings`]), the task file ([`task`]), whose
//! texts may have places to fill in ([`template`]), and the rows of a batch ([`rows`]).

pub(crate) mod deadline;
pub(crate) mod env;
mod labels;
pub(crate) mod notify;
pub(crate) mod payload;
pub(crate) mod plugin_spec;
mod python_json;
pub(crate) mod reporting;
pub(crate) mod rows;
pub(crate) mod services;
pub(crate) mod settings;
pub(crate) mod task;
pub(crate) mod template;
pub(crate) mod time_limits;
#[cfg(debug_assertions)]
pub(crate) mod time_scale;
mod title;
mod values;
pub(crate) mod working_dirs;

use std::ffi::OsString;

use openhands_client::secret::Redactor;

use self::env::{Faults, RawEnv};
use self::time_limits::RunnerTimeLimits;

/// What the process was given, besides its command line, and its time limits.
#[derive(Debug)]
pub(crate) struct Environment {
    /// The known variables.
    pub(crate) raw: RawEnv,
    /// Known variables whose value is not text.
    pub(crate) not_text: Vec<String>,
    /// Known variables around whose values quotes, or a byte order mark, were removed.
    pub(crate) quoted: Vec<String>,
    /// Shared with the log.
    pub(crate) redactor: Redactor,
    /// For everything that this process does.
    pub(crate) time_limits: RunnerTimeLimits,
}

impl Environment {
    /// What the process was given. The redactor knows the secrets in it from the start.
    pub(crate) fn of_process() -> Self {
        Self::of_variables(env::whole())
    }

    /// The same of any set of variables.
    pub(crate) fn of_variables(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let (raw, Faults { not_text, quoted }) = RawEnv::from_vars(variables);
        let redactor = Redactor::default();
        raw.secrets().for_each(|secret| redactor.learn(&secret));
        Self { raw, not_text, quoted, redactor, time_limits: RunnerTimeLimits::default() }
    }

    /// Tells the log about variables that were not used as they are set.
    pub(crate) fn warn_of_quotes(&self) {
        for name in &self.quoted {
            tracing::warn!(variable = name, "removed the quotes around the value of the variable");
        }
    }
}
