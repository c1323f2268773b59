//! Answers of the Cloud API.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::agent_server::wire::Llm;

/// `GET /api/v1/users/me?expose_secrets=true`: the account's settings.
///
/// Kept as JSON, because the LLM stands in one of several places.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct UserSettings(Map<String, Value>);

impl UserSettings {
    /// The account's default LLM, in the order of places: top-level `llm_model`, `llm_api_key`, `llm_base_url`; else
    /// `agent_settings.llm`.
    #[must_use]
    pub fn default_llm(&self) -> Option<Llm> {
        let old: Map<String, Value> = ["model", "api_key", "base_url"]
            .into_iter()
            .filter_map(|field| Some((field.to_owned(), present(self.0.get(&format!("llm_{field}"))?)?)))
            .collect();
        if old.contains_key("model") {
            return Some(Llm(old));
        }
        let new = self.0.get("agent_settings")?.get("llm")?.as_object()?;
        let llm = without_null(new);
        llm.contains_key("model").then_some(Llm(llm))
    }

    /// A named LLM profile: `llm_profiles.profiles.<name>`.
    #[must_use]
    pub fn profile(&self, name: &str) -> Option<Llm> {
        let profile = self.profiles()?.get(name)?.as_object()?;
        Some(Llm(without_null(profile)))
    }

    /// The names of all profiles.
    #[must_use]
    pub fn profile_names(&self) -> Vec<&str> {
        self.profiles().into_iter().flat_map(Map::keys).map(String::as_str).collect()
    }

    fn profiles(&self) -> Option<&Map<String, Value>> {
        self.0.get("llm_profiles")?.get("profiles")?.as_object()
    }
}

fn present(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        value => Some(value.clone()),
    }
}

fn without_null(fields: &Map<String, Value>) -> Map<String, Value> {
    fields.iter().filter_map(|(name, value)| Some((name.clone(), present(value)?))).collect()
}

/// `GET /api/v1/sandboxes/{id}/settings/secrets`.
#[derive(Debug, Deserialize)]
pub struct SecretList {
    /// Names, never values.
    #[serde(default)]
    pub secrets: Vec<SecretEntry>,
}

/// One secret of the account.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SecretEntry {
    /// Its name, as commands see it.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        for value in [json!({}), json!({"agent_settings": null}), json!({"agent_settings": {"llm": {"model": ""}}})] {
            assert_eq!(settings(value).default_llm(), None);
        }
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
