//! The LLM of an agent.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::redact::secrets_of_field;
use crate::secret::Secret;

/// An LLM object of the agent-server. `Debug` shows only the model, because the object contains a key.
#[derive(Clone, PartialEq, Default, Serialize)]
#[serde(transparent)]
pub struct Llm(pub(crate) Map<String, Value>);

impl Llm {
    /// Creates an LLM from its model and key.
    #[must_use]
    pub fn new(model: &str, api_key: &str) -> Self {
        Self(Map::from_iter([("model".to_owned(), model.into()), ("api_key".to_owned(), api_key.into())]))
    }

    /// Sets a field of the server's LLM object.
    #[must_use]
    pub fn set(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.insert(field.into(), value.into());
        self
    }

    /// Sets the model, such as `anthropic/claude-sonnet-4-5-20250929`.
    #[must_use]
    pub fn model(self, name: &str) -> Self {
        self.set("model", name)
    }

    /// Sets the key of the provider.
    #[must_use]
    pub fn api_key(self, key: &str) -> Self {
        self.set("api_key", key)
    }

    /// Sets the provider's base URL, which must be reachable from the sandbox.
    #[must_use]
    pub fn base_url(self, url: &str) -> Self {
        self.set("base_url", url)
    }

    /// Sets the sampling temperature.
    #[must_use]
    pub fn temperature(self, temperature: f64) -> Self {
        self.set("temperature", temperature)
    }

    /// Returns the name of the model.
    #[must_use]
    pub fn model_name(&self) -> Option<&str> {
        self.text("model")
    }

    /// Returns the value of a field.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }

    /// Returns the value of a field if it is a non-empty text.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.0.get(field)?.as_str().filter(|text| !text.is_empty())
    }

    /// Returns its keys, whatever the provider calls them (`api_key`, `aws_secret_access_key`), and those in `extra_headers`.
    #[doc(hidden)]
    #[must_use]
    pub fn secrets(&self) -> Vec<Secret> {
        let headers = self.0.get("extra_headers").and_then(Value::as_object);
        let fields = self.0.iter().chain(headers.into_iter().flatten());
        fields
            .filter_map(|(name, value)| Some((name, value.as_str()?)))
            .flat_map(|(name, text)| secrets_of_field(name, text))
            .collect()
    }

    /// Creates an LLM from an account's settings, without the fields that are not set; `None` without a model.
    #[doc(hidden)]
    #[must_use]
    pub fn of_settings(settings: &Value) -> Option<Self> {
        let is_set = |value: &Value| !value.is_null() && value.as_str() != Some("");
        let fields = settings.as_object()?.iter().filter(|(_, value)| is_set(value));
        let llm = Self(fields.map(|(name, value)| (name.clone(), value.clone())).collect());
        llm.model_name().is_some().then_some(llm)
    }

    /// Returns the same LLM for another use, so that the server counts its cost separately.
    #[must_use]
    pub fn used_as(&self, usage_id: &str) -> Self {
        let mut fields = self.0.clone();
        fields.insert("usage_id".to_owned(), usage_id.into());
        Self(fields)
    }
}

impl From<Map<String, Value>> for Llm {
    fn from(fields: Map<String, Value>) -> Self {
        Self(fields)
    }
}

impl fmt::Debug for Llm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Llm({})", self.model_name().unwrap_or("no model"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_key_is_known_and_no_other_field() {
        let Value::Object(fields) = json!({"model": "bedrock/m", "api_key": "a-key", "aws_secret_access_key": "b-key",
            "aws_region_name": "eu-north-1", "max_output_tokens": 5, "usage_id": "agent",
            "extra_headers": {"X-Api-Key": "c-key", "Authorization": "Bearer d-key", "X-Title": "My title"}})
        else {
            unreachable!()
        };
        let secrets = Llm(fields).secrets();
        let mut values: Vec<&str> = secrets.iter().map(Secret::expose).collect();
        values.sort_unstable();
        assert_eq!(values, ["a-key", "b-key", "c-key", "d-key"]);
    }

    #[test]
    fn the_debug_form_of_an_llm_hides_its_key() {
        let Value::Object(fields) = json!({"model": "m", "api_key": "sk-1"}) else { unreachable!() };
        assert_eq!(format!("{:?}", Llm(fields)), "Llm(m)");
    }
}
