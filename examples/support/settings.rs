//! What the examples read from the environment.

#![allow(dead_code, reason = "the examples use different parts")]

use openhands_runner::agent_server::wire::Llm;
use openhands_runner::cloud::CloudKey;
use openhands_runner::config::env::RawEnv;
use openhands_runner::config::settings::{DEFAULT_WORKING_DIR, cloud_api};
use openhands_runner::problem::Problems;

pub(crate) struct Settings {
    pub(crate) cloud: CloudKey,
    pub(crate) sandbox_spec_id: Option<String>,
    pub(crate) working_dir: String,
    pub(crate) model: Option<String>,
    pub(crate) callback_url: Option<String>,
    llm_api_key: Option<String>,
    llm_base_url: Option<String>,
}

pub(crate) fn read() -> Result<Settings, Problems> {
    let (raw, _) = RawEnv::of_process();
    Ok(Settings {
        cloud: cloud_api(&raw)?,
        sandbox_spec_id: raw.openhands_sandbox_spec_id,
        working_dir: raw.workspace_base.unwrap_or_else(|| DEFAULT_WORKING_DIR.to_owned()),
        model: raw.llm_model,
        callback_url: raw.automation_callback_url.or(raw.callback_url),
        llm_api_key: raw.llm_api_key,
        llm_base_url: raw.llm_base_url,
    })
}

impl Settings {
    /// The LLM that the variables describe.
    pub(crate) fn own_llm(&self) -> Result<Llm, &'static str> {
        let key = self.llm_api_key.as_deref().ok_or("LLM_API_KEY is not set")?;
        let mut llm = Llm::new(self.model.as_deref().unwrap_or("anthropic/claude-sonnet-4-5-20250929"), key);
        if let Some(url) = &self.llm_base_url {
            llm.0.insert("base_url".to_owned(), url.as_str().into());
        }
        Ok(llm)
    }
}
