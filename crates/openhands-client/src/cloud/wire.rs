//! Responses of the Cloud API.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::agent_server::mcp::McpServers;
use crate::agent_server::wire::Llm;

/// `GET /api/v1/users/me?expose_secrets=true`: the account's settings.
///
/// Kept as JSON, because the LLM may be in one of several places.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct UserSettings(Map<String, Value>);

impl UserSettings {
    /// Returns the account's default LLM. It is searched in this order: top-level `llm_model`, `llm_api_key`, `llm_base_url`, and
    /// then `agent_settings.llm`.
    #[must_use]
    pub fn default_llm(&self) -> Option<Llm> {
        let old: Map<String, Value> = ["model", "api_key", "base_url"]
            .into_iter()
            .filter_map(|field| Some((field.to_owned(), present(self.0.get(&format!("llm_{field}"))?)?.clone())))
            .collect();
        if old.contains_key("model") {
            return Some(Llm(old));
        }
        let llm = Llm::of_settings(self.0.get("agent_settings")?.get("llm")?)?;
        // A new account has a model but no key for it (1.11.0).
        let is_chosen = |field: &String| ["api_key", "base_url"].contains(&field.as_str()) || field.starts_with("aws_");
        llm.0.keys().any(is_chosen).then_some(llm)
    }

    /// Returns whether the account's agent is another program with an LLM of its own.
    #[must_use]
    pub fn is_acp(&self) -> bool {
        self.0.get("agent_settings").and_then(|settings| settings.get("agent_kind")).is_some_and(|kind| kind == "acp")
    }

    /// Returns a named LLM profile: `llm_profiles.profiles.<name>`.
    #[must_use]
    pub fn profile(&self, name: &str) -> Option<Llm> {
        Llm::of_settings(self.profiles()?.get(name)?)
    }

    /// Returns the names of all profiles.
    #[must_use]
    pub fn profile_names(&self) -> Vec<&str> {
        self.profiles().into_iter().flat_map(Map::keys).map(String::as_str).collect()
    }

    /// Returns the account's MCP servers: top-level `mcp_config` with `sse_servers`, `shttp_servers` and `stdio_servers`, or else
    /// `agent_settings.mcp_config`.
    #[must_use]
    pub fn mcp_servers(&self) -> McpServers {
        match self.0.get("mcp_config").and_then(present).and_then(Value::as_object) {
            Some(lists) if LISTS.iter().any(|(list, ..)| lists.contains_key(*list)) => of_lists(lists),
            Some(servers) => McpServers::of_settings(Some(&Value::Object(servers.clone()))),
            None => McpServers::of_settings(self.0.get("agent_settings").and_then(|agent| agent.get("mcp_config"))),
        }
    }

    fn profiles(&self) -> Option<&Map<String, Value>> {
        self.0.get("llm_profiles")?.get("profiles")?.as_object()
    }
}

/// The lists of MCP servers of an older account: the field, the prefix for the name of a server without a name, and the
/// transport.
const LISTS: [(&str, &str, Option<&str>); 3] = [
    ("sse_servers", "sse", Some("sse")),
    ("shttp_servers", "shttp", Some("streamable-http")),
    ("stdio_servers", "stdio", None),
];

fn of_lists(lists: &Map<String, Value>) -> McpServers {
    let mut servers = Map::new();
    for (list, prefix, transport) in LISTS {
        let entries = lists.get(list).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object);
        for (index, entry) in entries.enumerate() {
            let mut server: Map<String, Value> = ["url", "timeout", "command", "args", "env"]
                .into_iter()
                .filter_map(|field| Some((field.to_owned(), present(entry.get(field)?)?.clone())))
                .collect();
            if let Some(transport) = transport {
                server.insert("transport".to_owned(), transport.into());
            }
            if let Some(key) = entry.get("api_key").and_then(Value::as_str).filter(|key| !key.is_empty()) {
                server.insert("headers".to_owned(), json!({"Authorization": format!("Bearer {key}")}));
            }
            let name = entry.get("name").and_then(Value::as_str).map(str::to_owned);
            servers.insert(name.unwrap_or_else(|| format!("{prefix}_{index}")), Value::Object(server));
        }
    }
    McpServers(servers)
}

fn present(value: &Value) -> Option<&Value> {
    Some(value).filter(|value| !value.is_null() && value.as_str() != Some(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(value: Value) -> UserSettings {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_llm_is_found_in_the_old_place_first() {
        let both = settings(json!({"llm_model": "old", "llm_api_key": "k", "llm_base_url": null,
            "agent_settings": {"llm": {"model": "new"}}}));
        assert_eq!(Value::from(both.default_llm().unwrap().0), json!({"model": "old", "api_key": "k"}));
    }

    #[test]
    fn the_llm_is_found_in_the_new_place() {
        let new = settings(json!({"llm_model": null,
            "agent_settings": {"llm": {"model": "new", "api_key": "k", "base_url": "", "timeout": null, "temperature": 0.5}}}));
        let expected = json!({"model": "new", "api_key": "k", "temperature": 0.5});
        assert_eq!(Value::from(new.default_llm().unwrap().0), expected);
    }

    #[test]
    fn an_account_without_an_llm_has_none() {
        for value in [
            json!({}),
            json!({"agent_settings": null}),
            json!({"agent_settings": {"llm": {"model": ""}}}),
            json!({"agent_settings": {"llm": {"model": "gpt-5.5", "api_key": null, "aws_region_name": null}}}),
        ] {
            assert_eq!(settings(value).default_llm(), None);
        }
    }

    #[test]
    fn mcp_servers_of_lists_get_names_transports_and_headers() {
        let old = settings(json!({"mcp_config": {
            "sse_servers": [{"url": "http://a/", "api_key": "k"}],
            "shttp_servers": [{"url": "http://b/", "api_key": null, "timeout": 30}],
            "stdio_servers": [{"name": "tool", "command": "c", "args": [], "env": {"A": "1"}}],
        }}));
        assert_eq!(
            Value::from(old.mcp_servers().0),
            json!({
                "sse_0": {"url": "http://a/", "transport": "sse", "headers": {"Authorization": "Bearer k"}},
                "shttp_0": {"url": "http://b/", "transport": "streamable-http", "timeout": 30},
                "tool": {"command": "c", "args": [], "env": {"A": "1"}},
            })
        );
        let new = settings(json!({"agent_settings": {"mcp_config": {"mcpServers": {"a": {"url": "u"}}}}}));
        assert_eq!(new.mcp_servers().names(), ["a"]);
        assert!(settings(json!({})).mcp_servers().is_empty());
    }

    #[test]
    fn profiles_are_whole_llms() {
        let settings =
            settings(json!({"llm_profiles": {"active": null, "profiles": {"fast": {"model": "f", "api_key": null}}}}));
        assert_eq!(Value::from(settings.profile("fast").unwrap().0), json!({"model": "f"}));
        assert_eq!(settings.profile("slow"), None);
        assert_eq!(settings.profile_names(), ["fast"]);
    }
}
