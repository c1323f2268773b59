//! The agent-server's own settings, for a server without a Cloud account: `/api/settings`, `/api/profiles` and
//! `/api/settings/secrets`, from 1.22.1.

use serde::Deserialize;
use serde_json::Value;

use super::mcp::McpServers;
use super::wire::Llm;

/// `GET /api/settings`. With `X-Expose-Secrets: plaintext`, the response contains keys in plain text.
#[derive(Debug, Default, Deserialize)]
pub struct ServerSettings {
    /// The active LLM profile, from 1.29.3.
    #[serde(default)]
    pub active_profile: Option<String>,
    #[serde(default)]
    agent_settings: AgentSettings,
}

#[derive(Default, Deserialize)]
struct AgentSettings {
    #[serde(default)]
    agent_kind: Value,
    #[serde(default)]
    llm: Value,
    #[serde(default)]
    mcp_config: Value,
}

impl std::fmt::Debug for AgentSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AgentSettings")
    }
}

impl ServerSettings {
    /// Returns the LLM, if one with a model is set.
    #[must_use]
    pub fn llm(&self) -> Option<Llm> {
        Llm::of_settings(&self.agent_settings.llm)
    }

    /// Returns whether the agent is another program with an LLM of its own.
    #[must_use]
    pub fn is_acp(&self) -> bool {
        self.agent_settings.agent_kind == "acp"
    }

    /// Returns the MCP servers.
    #[must_use]
    pub fn mcp_servers(&self) -> McpServers {
        McpServers::of_settings(Some(&self.agent_settings.mcp_config))
    }
}

/// `GET /api/profiles/{name}`.
#[derive(Deserialize)]
pub struct Profile {
    #[serde(default)]
    config: Value,
}

impl Profile {
    /// Returns the LLM, if it has a model.
    #[must_use]
    pub fn llm(&self) -> Option<Llm> {
        Llm::of_settings(&self.config)
    }
}

/// `GET /api/profiles`.
#[derive(Debug, Deserialize)]
pub struct ProfileList {
    /// Only the names are read.
    #[serde(default)]
    pub profiles: Vec<ProfileName>,
}

/// An LLM profile in the list.
#[derive(Debug, Deserialize)]
pub struct ProfileName {
    /// The name of the profile.
    pub name: String,
}

/// `GET /api/settings/secrets`, and the list of the Cloud API, which has the same form.
#[derive(Debug, Default, Deserialize)]
pub struct SecretList {
    /// The names, without values.
    #[serde(default)]
    pub secrets: Vec<SecretEntry>,
}

/// Returns the query parameters for a list of secrets. Servers without agent profiles ignore them.
pub(crate) fn of_profile(agent_profile: Option<&str>) -> Vec<(&'static str, &str)> {
    agent_profile.map(|id| ("agent_profile_id", id)).into_iter().collect()
}

/// A secret of an account.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SecretEntry {
    /// The name, which is also the name of the variable that commands see.
    pub name: String,
    /// What the secret is for.
    #[serde(default)]
    pub description: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_read_whatever_is_missing_in_them() {
        let fresh: ServerSettings = serde_json::from_value(json!({})).unwrap();
        assert_eq!(fresh.llm(), None);
        assert!(fresh.mcp_servers().is_empty());
        let set: ServerSettings = serde_json::from_value(json!({
            "active_profile": "fast",
            "agent_settings": {"agent_kind": "openhands", "llm": {"model": "m", "api_key": "k", "base_url": null}, "mcp_config": {"a": {"url": "u"}}},
        }))
        .unwrap();
        assert_eq!(set.active_profile.as_deref(), Some("fast"));
        assert_eq!(Value::from(set.llm().unwrap().0), json!({"model": "m", "api_key": "k"}));
        assert_eq!(set.mcp_servers().names(), ["a"]);
        assert!(!set.is_acp());
        let acp = json!({"agent_settings": {"agent_kind": "acp", "llm": {"model": "acp-managed"}}});
        assert!(serde_json::from_value::<ServerSettings>(acp).unwrap().is_acp());
    }
}
