//! What the examples read from the environment.

#![allow(dead_code, reason = "the examples use different parts")]

use std::error::Error;

use openhands_client::agent_server::wire::Llm;
use openhands_client::cloud::{CloudKey, DEFAULT_URL};
use openhands_client::conversation::DEFAULT_WORKING_DIR;
use openhands_client::secret::Secret;

pub(crate) struct Settings {
    pub(crate) cloud: CloudKey,
    pub(crate) sandbox_spec_id: Option<String>,
    pub(crate) working_dir: String,
    pub(crate) model: Option<String>,
    pub(crate) callback_url: Option<String>,
}

#[expect(clippy::disallowed_methods, reason = "an example reads its environment where it needs it")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

pub(crate) fn read() -> Result<Settings, Box<dyn Error>> {
    let key = variable("OPENHANDS_CLOUD_API_KEY").ok_or("OPENHANDS_CLOUD_API_KEY is not set")?;
    let url = variable("OPENHANDS_CLOUD_API_URL").unwrap_or_else(|| DEFAULT_URL.to_owned());
    Ok(Settings {
        cloud: CloudKey { url: url.parse()?, api_key: Secret::new(key) },
        sandbox_spec_id: variable("OPENHANDS_SANDBOX_SPEC_ID"),
        working_dir: variable("WORKSPACE_BASE").unwrap_or_else(|| DEFAULT_WORKING_DIR.to_owned()),
        model: variable("LLM_MODEL"),
        callback_url: variable("AUTOMATION_CALLBACK_URL").or_else(|| variable("CALLBACK_URL")),
    })
}

impl Settings {
    /// The LLM that the variables describe.
    pub(crate) fn own_llm(&self) -> Result<Llm, &'static str> {
        let key = variable("LLM_API_KEY").ok_or("LLM_API_KEY is not set")?;
        let mut llm = Llm::new(self.model.as_deref().unwrap_or("anthropic/claude-sonnet-4-5-20250929"), &key);
        if let Some(url) = variable("LLM_BASE_URL") {
            llm.0.insert("base_url".to_owned(), url.into());
        }
        Ok(llm)
    }
}
