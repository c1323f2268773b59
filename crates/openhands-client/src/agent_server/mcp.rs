//! MCP servers, in the form that the server's version expects.

use std::fmt;

use serde_json::{Map, Value, json};
use url::Url;

use super::Capabilities;
use crate::redact;
use crate::secret::Secret;

/// MCP servers by name, each an object in the form of the agent-server's settings: `{"url","transport","headers"}` or
/// `{"command","args","env"}`. `Debug` shows only the names, because headers and environments may contain keys.
#[derive(Clone, Default, PartialEq)]
pub struct McpServers(pub(crate) Map<String, Value>);

impl McpServers {
    /// Reads MCP servers from settings, with or without a `mcpServers` wrapper. Entries that are not an object or not enabled are
    /// left out, and so are empty fields.
    #[doc(hidden)]
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

    /// Adds other servers, which override those with the same name.
    #[must_use]
    pub fn with(mut self, others: &Map<String, Value>) -> Self {
        self.0.extend(others.clone());
        self
    }

    /// Returns whether there are no servers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the names of the servers.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    /// Returns the names of the servers from which the agent has none of these tools. The agent-server prefixes tool names with
    /// the server's name, unless there is only one server.
    #[must_use]
    pub fn without_tools(&self, tools: &[String]) -> Vec<&str> {
        let is_alone = self.0.len() == 1;
        let gives = |name: &str| tools.iter().any(|tool| is_alone || tool.starts_with(&format!("{name}_")));
        self.names().into_iter().filter(|name| !gives(name)).collect()
    }

    /// Returns `mcp_config` of an agent: a map by name, in a wrapper for older versions.
    #[doc(hidden)]
    #[must_use]
    pub fn config(&self, capabilities: Capabilities) -> Value {
        let servers = Value::Object(self.0.clone());
        if capabilities.flat_mcp || self.is_empty() { servers } else { json!({ "mcpServers": servers }) }
    }

    /// Returns the secrets in the configuration: values whose names mark them as secrets, or that look like secrets. Other
    /// values, such as `production`, are words that also appear in ordinary text.
    #[doc(hidden)]
    #[must_use]
    pub fn secrets(&self) -> Vec<Secret> {
        let mut found = Vec::new();
        for server in self.0.values() {
            for place in ["headers", "env"] {
                for (name, value) in server[place].as_object().into_iter().flatten() {
                    found.extend(value.as_str().map(|text| redact::secrets_of_field(name, text)).unwrap_or_default());
                }
            }
            let arguments = server["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
            found.extend(redact::secrets_of_arguments(arguments));
            of_auth("", &server["auth"], &mut found);
            let url = server["url"].as_str().and_then(|url| Url::parse(url).ok());
            found.extend(url.as_ref().map(redact::secrets_of_address).unwrap_or_default());
        }
        found
    }
}

/// Collects the secrets of a server's `auth` (agent-server 1.58.0: `value`, `password`, `headers`, and the tokens and client
/// secret in OAuth's `state` and `authentication`).
fn of_auth(name: &str, value: &Value, found: &mut Vec<Secret>) {
    // `token_type` and similar names describe a secret and do not contain one.
    let describes = redact::describes_secret(name);
    match value {
        Value::String(text) if !describes && (name == "value" || redact::is_secret_name(name)) => {
            found.push(redact::key_of(name, text));
        }
        Value::String(text) => found.extend(redact::secrets_of_field(if describes { "id" } else { name }, text)),
        Value::Object(fields) if name == "headers" => {
            found.extend(fields.iter().filter_map(|(name, value)| Some(redact::key_of(name, value.as_str()?))));
        }
        Value::Object(fields) => fields.iter().for_each(|(name, value)| of_auth(name, value, found)),
        Value::Array(items) => items.iter().for_each(|value| of_auth(name, value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
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
    fn a_server_that_gives_no_tools_is_known() {
        let tools = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(servers().without_tools(&tools(&["probe_search"])), ["local"]);
        assert_eq!(servers().without_tools(&[]), ["probe", "local"]);
        let one = McpServers::of_settings(Some(&json!({"probe": {"url": "http://mcp/"}})));
        assert_eq!(one.without_tools(&tools(&["search"])), Vec::<&str>::new());
        assert_eq!(one.without_tools(&[]), ["probe"]);
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

    fn secrets(servers: &McpServers) -> Vec<String> {
        servers.secrets().iter().map(|secret| secret.expose().to_owned()).collect()
    }

    fn secrets_of(server: Value) -> Vec<String> {
        secrets(&McpServers::of_settings(Some(&json!({ "s": server }))))
    }

    #[test]
    fn ordinary_values_are_no_secrets() {
        for server in [
            json!({"command": "c", "env": {"NODE_ENV": "production", "MODEL": "claude-sonnet-4-5-20250929", "HOME": "/home/me"}}),
            json!({"command": "npx", "args": ["-y", "@scope/server@1.2.3", "/home/me", "--transport", "streamable-http",
                "--port=8080", "--token-file", "/run/the-token", "--auth-type", "oauth2", "-e", "API_KEY", "https://h/mcp"]}),
            json!({"command": "c", "env": {"GIT_AUTHOR": "Ada Lovelace", "AUTH_TYPE": "oauth2", "DATABASE_URL": "postgres://db/x",
                "PROJECT_ID": "0b0d5e3c-7d5c-4c2b-9d51-0d7a4b6c8e21", "PATH": "/usr/bin:/bin", "COOKIE_DOMAIN": "example.org"}}),
            json!({"command": "sh", "args": ["-c", "exec tool --token-file /run/the-token --author Ada --pass-through yes"]}),
            json!({"command": "tool", "args": ["--no-auth", "/workspace/project", "--max-tokens", "100000", "--keyspace", "production",
                "--key-prefix=development", "--primary-key", "order_id", "--token-file=/run/the-token", "--skip-auth", "Everything1"],
                "env": {"AUTH_REALM": "master"}}),
            json!({"url": "https://h/mcp?auth=google", "headers": {"X": "consent=accepted"}}),
            json!({"url": "https://h/mcp?project_id=0b0d5e3c-7d5c-4c2b-9d51-0d7a4b6c8e21"}),
            json!({"url": "https://me@h/mcp?mode=production", "headers": {"Accept": "application/json"}}),
            json!({"auth": {"strategy": "api_key", "header_name": "X-Api-Key"}}),
            json!({"auth": {"strategy": "oauth2", "state": {"tokens": {"token_type": "Bearer"}, "token_expires_at": 1_234_567.0},
                "authentication": {"type": "oauth", "client_auth_method": "client_secret_post"}}}),
        ] {
            assert_eq!(secrets_of(server.clone()), Vec::<String>::new(), "{server}");
        }
    }

    #[test]
    fn secrets_are_known_wherever_they_stand() {
        for (server, expected) in [
            (json!({"headers": {"Authorization": "Basic bWU6aHVudGVy"}}), "bWU6aHVudGVy"),
            (json!({"headers": {"authorization": "Any scheme-key"}}), "scheme-key"),
            (json!({"headers": {"X-Api-Key": "the api key"}}), "the api key"),
            (json!({"env": {"AUTH_HEADER": "token ghp_0123456789abcdef"}}), "ghp_0123456789abcdef"),
            (json!({"auth": "ghp_0123456789abcdef"}), "ghp_0123456789abcdef"),
            (json!({"auth": {"strategy": "bearer", "value": "the-value"}}), "the-value"),
            (json!({"auth": {"strategy": "basic", "username": "me", "password": "hunter22"}}), "hunter22"),
            (json!({"auth": {"strategy": "header", "headers": {"X-Any": "the-header"}}}), "the-header"),
            (json!({"auth": {"strategy": "oauth2", "state": {"tokens": {"access_token": "the-token"}}}}), "the-token"),
            (json!({"auth": {"authentication": {"client_id": "me", "client_secret": "hunter22"}}}), "hunter22"),
            (json!({"env": {"DATABASE_URL": "postgres://me:hunter22@db/x"}}), "hunter22"),
            (json!({"env": {"MONGO": "mongodb://me:hunter22@a:1,b:2/x"}}), "hunter22"),
            (json!({"env": {"DATABASE": "Server=db;User=me;Password=hunter22"}}), "hunter22"),
            (json!({"env": {"CONFIG": "{\"api_key\": \"hunter22\", \"port\": 1}"}}), "hunter22"),
            (json!({"env": {"CONFIG": "{\"a\":1,\"password\":\"hunter22\"}"}}), "hunter22"),
            (json!({"env": {"DB_PASS": "hunter22"}}), "hunter22"),
            (json!({"env": {"SMTP_PASS": "swordfish"}}), "swordfish"),
            (json!({"args": ["--pass", "swordfish"]}), "swordfish"),
            (json!({"args": ["-e", "POSTGRES_PASSWORD=20231105"]}), "20231105"),
            (json!({"args": ["-e", "AWS_SECRET_ACCESS_KEY=/Abcdefgh"]}), "/Abcdefgh"),
            (json!({"args": ["-e", "SIGNING_KEY=correct-horse"]}), "correct-horse"),
            (json!({"env": {"PASSPHRASE": "correct horse"}}), "correct horse"),
            (json!({"env": {"AZURE_DEVOPS_PAT": "hunter22"}}), "hunter22"),
            (
                json!({"env": {"ANYTHING": "0b0d5e3c-7d5c-4c2b-9d51-0d7a4b6c8e21"}}),
                "0b0d5e3c-7d5c-4c2b-9d51-0d7a4b6c8e21",
            ),
            (
                json!({"url": "https://h/mcp?k=0b0d5e3c-7d5c-4c2b-9d51-0d7a4b6c8e21"}),
                "0b0d5e3c-7d5c-4c2b-9d51-0d7a4b6c8e21",
            ),
            (json!({"headers": {"X-Auth": "Bearer abcdefgh"}}), "abcdefgh"),
            (json!({"args": ["--header", "Authorization: Bearer abcdefgh"]}), "abcdefgh"),
            (json!({"args": ["--header", "Authorization:Bearer abcdefgh"]}), "abcdefgh"),
            (json!({"args": ["-H", "X-Api-Key: abcdefgh"]}), "abcdefgh"),
            (json!({"args": ["--api-key", "abcdefgh"]}), "abcdefgh"),
            (json!({"args": ["--api-key=abcdefgh"]}), "abcdefgh"),
            (json!({"args": ["-e", "API_KEY=abcdefgh"]}), "abcdefgh"),
            (json!({"args": ["postgresql://me:hunter22@db/x"]}), "hunter22"),
            (json!({"args": ["--url=postgresql://me:hunter22@db/x"]}), "hunter22"),
            (json!({"args": ["-c", "API_KEY=abcdefgh PORT=80 tool"]}), "abcdefgh"),
            (json!({"args": ["-c", "tool --api-key abcdefgh"]}), "abcdefgh"),
            (json!({"args": ["-c", "curl -H 'Authorization: Bearer Abcdefgh' https://h/"]}), "Abcdefgh"),
            (json!({"url": "https://h/mcp?token=hunter22"}), "hunter22"),
            (json!({"url": "https://h/mcp?k=ghp_0123456789abcdef"}), "ghp_0123456789abcdef"),
        ] {
            let mut found = secrets_of(server.clone());
            found.dedup();
            assert_eq!(found, [expected], "{server}");
        }
    }

    #[test]
    fn a_cookie_is_known_as_a_whole_and_by_its_values() {
        let cookie = "session=Abcdefgh; user=1jklmnop; consent=accepted; SameSite=Strict";
        assert_eq!(secrets_of(json!({"headers": {"Cookie": cookie}})), [cookie, "Abcdefgh", "1jklmnop"]);
    }

    #[test]
    fn tokens_are_known_also_inside_of_a_value_that_is_secret_as_a_whole() {
        let npm = "//registry/:_authToken=npm_0123456789abcdef";
        assert_eq!(secrets_of(json!({"env": {"NPM_AUTH": npm}})), [npm, "npm_0123456789abcdef"]);
    }

    #[test]
    fn keys_are_known_and_never_shown() {
        assert_eq!(secrets(&servers()), ["key-of-probe", "token-of-local"]);
        assert_eq!(format!("{:?}", servers()), r#"["probe", "local"]"#);
    }
}
