//! The user's input, except for the command line: the environment, read once ([`mod@env`]); its part for reporting, which is read
//! first and leniently ([`reporting`]); the other variables as typed values, with all problems reported together ([`settings`]);
//! the task file ([`task`]), whose texts may be templates ([`template`]); and the rows of a batch ([`rows`]).

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
pub(crate) mod values;
pub(crate) mod working_dirs;

use std::ffi::OsString;

use openhands_client::secret::Redactor;

use self::env::{Faults, RawEnv};
use self::time_limits::RunnerTimeLimits;

/// The environment of the process, and its time limits.
#[derive(Debug)]
pub(crate) struct Environment {
    /// The known variables.
    pub(crate) raw: RawEnv,
    /// Known variables whose value is not text.
    pub(crate) not_text: Vec<String>,
    /// Known variables whose values had quotes or a byte order mark, which were removed.
    pub(crate) quoted: Vec<String>,
    /// The redactor, which the log shares.
    pub(crate) redactor: Redactor,
    /// The time limits of this process.
    pub(crate) time_limits: RunnerTimeLimits,
}

impl Environment {
    /// Reads the environment of this process. The redactor learns its secrets at once.
    pub(crate) fn of_process() -> Self {
        Self::of_variables(env::whole())
    }

    /// Does the same with any set of variables.
    pub(crate) fn of_variables(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let (raw, Faults { not_text, quoted }) = RawEnv::from_vars(variables);
        let redactor = Redactor::default();
        raw.secrets().for_each(|secret| redactor.learn(&secret));
        Self { raw, not_text, quoted, redactor, time_limits: RunnerTimeLimits::default() }
    }

    /// Logs the variables whose values were changed.
    pub(crate) fn warn_of_quotes(&self) {
        for name in &self.quoted {
            tracing::warn!(variable = name, "removed the quotes around the value of the variable");
        }
    }
}
