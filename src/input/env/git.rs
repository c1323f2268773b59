//! The parts of the environment that affect git.

use std::ffi::OsString;

/// Git variables that only set how a server is reached.
const HARMLESS_GIT_VARIABLES: &[&str] = &[
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_SSL_CERT",
    "GIT_SSL_KEY",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT",
    "GIT_HTTP_USER_AGENT",
];

/// Returns the names of this process's variables that change what git does: `GIT_DIR`, `GIT_CONFIG_*`, `GIT_TRACE*` and others,
/// except for those that only set how a server is reached.
#[must_use]
pub(crate) fn inherited_git_variables() -> Vec<OsString> {
    #[expect(clippy::disallowed_methods, reason = "this module is the one home of the environment")]
    let variables = std::env::vars_os();
    let is_harmful = |name: &OsString| {
        let name = name.to_string_lossy();
        name.starts_with("GIT_") && !HARMLESS_GIT_VARIABLES.contains(&&*name)
    };
    variables.map(|(name, _)| name).filter(is_harmful).collect()
}

/// Returns the git configuration files that the user has set for this process. Without them, git uses no configuration of the
/// machine.
#[must_use]
pub(crate) fn chosen_git_configuration() -> Vec<(&'static str, OsString)> {
    #[expect(clippy::disallowed_methods, reason = "this module is the one home of the environment")]
    let variable = |name: &'static str| Some((name, std::env::var_os(name).filter(|value| !value.is_empty())?));
    ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"].into_iter().filter_map(variable).collect()
}
