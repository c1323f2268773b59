//! Environment variables that a sandbox sets for its programs.

use std::collections::HashMap;

use url::Url;

use super::{InsideWorkspaceBuilder, OpenError};

impl InsideWorkspaceBuilder {
    /// Sets the values of the builder from variables, such as `std::env::vars()`. An empty variable counts as unset.
    ///
    /// | variable | sets |
    /// | --- | --- |
    /// | `SANDBOX_ID` | [`InsideWorkspaceBuilder::sandbox_id`] |
    /// | `SESSION_API_KEY`, or else `OH_SESSION_API_KEYS_0` | [`InsideWorkspaceBuilder::session_key`] |
    /// | `AGENT_SERVER_PORT` | [`InsideWorkspaceBuilder::port`] |
    /// | `AGENT_SERVER_URL` | [`InsideWorkspaceBuilder::agent_server`] |
    /// | `OPENHANDS_API_KEY`, or else `OPENHANDS_CLOUD_API_KEY` | [`InsideWorkspaceBuilder::api_key`] |
    /// | `OPENHANDS_CLOUD_API_URL` | [`InsideWorkspaceBuilder::url`] |
    /// | `AUTOMATION_CALLBACK_URL`, or else `CALLBACK_URL` | [`InsideWorkspaceBuilder::callback_url`] |
    /// | `AUTOMATION_CALLBACK_API_KEY` | [`InsideWorkspaceBuilder::callback_key`] |
    /// | `AUTOMATION_RUN_ID`, or else `RUN_ID` | [`InsideWorkspaceBuilder::run_id`] |
    ///
    /// # Errors
    /// [`OpenError::Variable`]: a URL or the port is invalid.
    pub fn variables(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, OpenError> {
        let variables: HashMap<String, String> =
            variables.into_iter().filter(|(_, value)| !value.trim().is_empty()).collect();
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| variables.get(*name).map(|value| (*name, value.trim().to_owned())))
        };
        let url = |names: &[&'static str]| first(names).map(|(name, value)| parse_url(name, value)).transpose();
        if let Some((_, id)) = first(&["SANDBOX_ID"]) {
            self = self.sandbox_id(id);
        }
        if let Some((_, key)) = first(&["SESSION_API_KEY", "OH_SESSION_API_KEYS_0"]) {
            self = self.session_key(key);
        }
        if let Some((name, value)) = first(&["AGENT_SERVER_PORT"]) {
            let port =
                value.parse().map_err(|_| OpenError::Variable { name, value, expected: "a port from 1 to 65535" })?;
            self = self.port(port);
        }
        if let Some(url) = url(&["AGENT_SERVER_URL"])? {
            self = self.agent_server(url);
        }
        if let Some((_, key)) = first(&["OPENHANDS_API_KEY", "OPENHANDS_CLOUD_API_KEY"]) {
            self = self.api_key(key);
        }
        if let Some(url) = url(&["OPENHANDS_CLOUD_API_URL"])? {
            self = self.url(url);
        }
        if let Some(url) = url(&["AUTOMATION_CALLBACK_URL", "CALLBACK_URL"])? {
            self = self.callback_url(url);
        }
        if let Some((_, key)) = first(&["AUTOMATION_CALLBACK_API_KEY"]) {
            self = self.callback_key(key);
        }
        if let Some((_, id)) = first(&["AUTOMATION_RUN_ID", "RUN_ID"]) {
            self = self.run_id(id);
        }
        Ok(self)
    }
}

fn parse_url(name: &'static str, value: String) -> Result<Url, OpenError> {
    // The value may contain a key, so the error does not repeat it.
    let invalid = || OpenError::Variable { name, value: "***".to_owned(), expected: "an http or https URL" };
    let url = Url::parse(&value).map_err(|_| invalid())?;
    if matches!(url.scheme(), "http" | "https") { Ok(url) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use super::super::InsideWorkspace;

    #[test]
    fn invalid_variables_are_named_and_empty_ones_count_as_unset() {
        let fill =
            |name: &str, value: &str| InsideWorkspace::builder().variables([(name.to_owned(), value.to_owned())]);
        for (name, value, message) in [
            ("AGENT_SERVER_PORT", "x", "AGENT_SERVER_PORT: `x` is not valid: a port from 1 to 65535"),
            ("CALLBACK_URL", "ftp://k@h", "CALLBACK_URL: `***` is not valid: an http or https URL"),
        ] {
            assert_eq!(fill(name, value).unwrap_err().to_string(), message);
            fill(name, " ").unwrap();
        }
    }
}
