//! MCP servers, in the shape that the server's version takes.

use std::fmt;

use serde_json::{Map, Value, json};

use super::Capabilities;
use crate::secret::Secret;

/// MCP servers by name, each an object as the agent-server's settings have it: `{"url","transport","headers"}` or
/// `{"command","args","env"}`. `Debug` shows the names only, because headers and environments hold keys.
#[derive(Clone, Default, PartialEq)]
pub struct McpServers(pub Map<String, Value>);

impl McpServers {
    /// Takes them from settings, in which they may stand in a `mcpServers` wrapper. What is no object and what is not
    /// enabled is left out, and so are empty fields.
    #[must_use]
    pub fn of_settings(settings: Option<&Value>) -> Self {
        let Some(servers) = settings.and_then(Value::as_object) else { return Self::default() };
        let servers = match servers.get("mcpServers") {
            Some(Value::Object(wrapped)) => wrapped,
            _ => servers,
        };
        let enabled = |server: &&Map<String, Value>| server.get("enabled") != Some(&Value::Bool(false));
        let taken = servers.iter().filter_map(|(name, server)| {
            let mut server = server.as_object().filter(enabled)?.clone();
            server.retain(|_, value| !value.is_null());
            Some((name.clone(), Value::Object(server)))
        });
        Self(taken.collect())
    }

    /// These, and others that beat them by name.
    #[must_use]
    pub fn with(mut self, others: &Map<String, Value>) -> Self {
        self.0.extend(others.clone());
        self
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their names.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    /// `mcp_config` of an agent: a map by name, for older versions in a wrapper.
    #[must_use]
    pub fn config(&self, capabilities: Capabilities) -> Value {
        let servers = Value::Object(self.0.clone());
        if capabilities.flat_mcp || self.is_empty() { servers } else { json!({ "mcpServers": servers }) }
    }

    /// The values of headers and environments: they may be keys.
    pub fn secrets(&self) -> impl Iterator<Item = Secret> {
        let places = self.0.values().flat_map(|server| [server.get("headers"), server.get("env")]);
        places.flatten().filter_map(Value::as_object).flat_map(Map::values).filter_map(Value::as_str).map(|text| {
            let (scheme, key) = text.split_once(' ').unwrap_or(("", text));
            Secret::new(if scheme.eq_ignore_ascii_case("bearer") { key } else { text })
        })
    }
}

impl fmt::Debug for McpServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent_server::capabilities::Version;

    fn servers() -> McpServers {
        McpServers::of_settings(Some(&json!({
            "probe": {"url": "http://mcp/", "headers": {"Authorization": "Bearer key-of-probe"}, "timeout": null},
            "local": {"command": "tool", "env": {"TOKEN": "token-of-local"}, "enabled": true},
            "off": {"url": "http://off/", "enabled": false},
            "nothing": null,
        })))
    }

    #[test]
    fn enabled_servers_are_taken_with_and_without_a_wrapper() {
        assert_eq!(servers().names(), ["probe", "local"]);
        let wrapped = json!({"mcpServers": servers().0});
        assert_eq!(McpServers::of_settings(Some(&wrapped)), servers());
        assert!(McpServers::of_settings(Some(&Value::Null)).is_empty());
    }

    #[test]
    fn older_versions_get_a_wrapper_and_none_at_all_is_an_empty_map_for_everyone() {
        let of = |version| Capabilities::of(Version::parse(version).unwrap());
        assert_eq!(servers().config(of("1.33.0"))["mcpServers"]["local"]["command"], "tool");
        assert_eq!(servers().config(of("1.34.0"))["local"]["command"], "tool");
        assert_eq!(McpServers::default().config(of("1.11.5")), json!({}));
    }

    #[test]
    fn a_tasks_server_beats_the_accounts_of_its_name() {
        let Value::Object(others) = json!({"probe": {"url": "http://other/"}, "new": {"command": "c"}}) else {
            unreachable!()
        };
        let both = servers().with(&others);
        assert_eq!(both.names(), ["probe", "local", "new"]);
        assert_eq!(both.0["probe"], json!({"url": "http://other/"}));
    }

    #[test]
    fn keys_are_known_and_never_shown() {
        let secrets: Vec<_> = servers().secrets().map(|secret| secret.expose().to_owned()).collect();
        assert_eq!(secrets, ["key-of-probe", "token-of-local"]);
        assert_eq!(format!("{:?}", servers()), r#"["probe", "local"]"#);
    }
}
