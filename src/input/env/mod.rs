//! The environment as text. Only this module knows the names of variables, and only it reads them.

mod git;
mod raw;
mod withheld;

use std::ffi::OsString;
use std::sync::OnceLock;

use openhands_client::secret::Secret;

pub(crate) use git::{chosen_git_configuration, inherited_git_variables};
#[cfg(test)]
pub(crate) use raw::NAMES;
pub(crate) use raw::{Faults, RawEnv, SECRET_NAMES};
pub(crate) use withheld::{Parted, part, withheld};

/// Variables that this process got from PID 1 and not in its environment.
static HIDDEN: OnceLock<Vec<(OsString, OsString)>> = OnceLock::new();

/// Adds variables that are not in the environment. Can be called once.
pub(crate) fn add_hidden(variables: Vec<(OsString, OsString)>) {
    let _ = HIDDEN.set(variables);
}

/// Returns all variables of this process, for a child that takes its place.
#[must_use]
pub(crate) fn whole() -> Vec<(OsString, OsString)> {
    #[expect(clippy::disallowed_methods, reason = "this module is the one home of the environment")]
    let open = std::env::vars_os().collect();
    Parted { open, hidden: HIDDEN.get().cloned().unwrap_or_default() }.joined()
}

/// Returns the proxy variables of this process, for a program that connects to servers on its behalf.
#[must_use]
pub(crate) fn proxies() -> Vec<(OsString, OsString)> {
    whole().into_iter().filter(|(name, _)| withheld::is_proxy(name)).collect()
}

/// Returns the value of any variable of this process, for a user who names it. `None` if it is not UTF-8.
#[must_use]
pub(crate) fn variable(name: &str) -> Option<Secret> {
    #[expect(clippy::disallowed_methods, reason = "this module is the one home of the environment")]
    std::env::var(name).ok().map(Secret::new)
}
