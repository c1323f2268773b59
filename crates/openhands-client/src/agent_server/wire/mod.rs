//! Bodies of the agent-server's HTTP calls.
//!
//! Requests hold only what every version takes; answers are read leniently.

mod agent;
mod cost;
mod llm;
mod secrets;
mod usage;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::hooks::HookConfig;
use super::trace::Trace;
use crate::agent_server::plugin::PluginSource;
use crate::ids::ConversationId;

pub use agent::{Agent, AgentProfile, AgentSource, DEFAULT_CONDENSER_SIZES, SubAgent};
pub use cost::Cost;
pub use llm::Llm;
pub use secrets::{SecretSource, Secrets};
pub use usage::{Metrics, Tokens, Usage};

/// `execution_status` of a conversation. The name is the same on all versions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
#[non_exhaustive]
pub enum Status {
    /// Nothing has been asked, or a message waits for a run.
    Idle,
    /// The agent works.
    Running,
    /// Stopped by `pause` or `interrupt`; `run` continues it.
    Paused,
    /// The agent waits for a person to allow an action.
    WaitingForConfirmation,
    /// The agent has finished; a stop hook may still send it back to work.
    Finished,
    /// The run has failed. The reason is in a `ConversationErrorEvent`, where there is one.
    Error,
    /// The agent does the same again and again.
    Stuck,
    /// The conversation is being deleted.
    Deleting,
    /// A status of a newer server.
    Other(String),
}

impl From<String> for Status {
    fn from(name: String) -> Self {
        match name.as_str() {
            "idle" => Self::Idle,
            "running" => Self::Running,
            "paused" => Self::Paused,
            "waiting_for_confirmation" => Self::WaitingForConfirmation,
            "finished" => Self::Finished,
            "error" => Self::Error,
            "stuck" => Self::Stuck,
            "deleting" => Self::Deleting,
            _ => Self::Other(name),
        }
    }
}

/// Body of `POST /api/conversations`, in the form that every version takes.
#[derive(Debug, Clone, Serialize)]
pub struct StartConversation {
    /// Chosen by us: a second request with the same id gives the existing conversation.
    #[serde(serialize_with = "id_text")]
    pub conversation_id: ConversationId,
    /// The agent.
    #[serde(flatten)]
    pub agent: AgentSource,
    /// Where it works.
    pub workspace: LocalWorkspace,
    /// Steps for one message; the server's default is 500.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_iterations: Option<u32>,
    /// Secrets that terminal commands see as variables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: Secrets,
    /// Ignored by 1.11.5.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// A known field from 1.29.3, ignored before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Loaded at the first message, where one that cannot be loaded is a 500.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<PluginSource>,
    /// Whether the server makes a title with an LLM call. Known to 1.16.1 and later.
    pub autotitle: bool,
    /// Commands that the server runs at certain events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook_config: Option<HookConfig>,
    /// Seen on 1.58.0, ignored by 1.11.5.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agent_definitions: Vec<SubAgent>,
    /// Where the conversation belongs in traces.
    #[serde(flatten)]
    pub trace: Trace,
}

fn id_text<S: serde::Serializer>(id: &ConversationId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// A directory on the agent-server's machine.
#[derive(Debug, Clone, Serialize)]
pub struct LocalWorkspace {
    kind: &'static str,
    working_dir: String,
}

impl LocalWorkspace {
    /// The workspace in this directory.
    pub fn new(working_dir: impl Into<String>) -> Self {
        Self { kind: "LocalWorkspace", working_dir: working_dir.into() }
    }
}

/// Body of `POST /api/conversations/{id}/events`.
#[derive(Debug, Clone, Serialize)]
pub struct SendMessage<'m> {
    role: &'static str,
    content: [TextContent<'m>; 1],
    run: bool,
}

#[derive(Debug, Clone, Serialize)]
struct TextContent<'m> {
    r#type: &'static str,
    text: &'m str,
}

impl<'m> SendMessage<'m> {
    /// A user's message that starts a run.
    #[must_use]
    pub fn and_run(text: &'m str) -> Self {
        Self { role: "user", content: [TextContent { r#type: "text", text }], run: true }
    }
}

/// What we read of `GET /api/conversations/{id}`.
#[derive(Debug, Clone, Deserialize)]
pub struct ConversationInfo {
    /// The status.
    pub execution_status: Status,
    /// What the conversation has used.
    #[serde(default, deserialize_with = "lenient_usage")]
    pub stats: Usage,
    /// Absent on 1.11.5.
    #[serde(default)]
    pub tags: Option<BTreeMap<String, String>>,
    /// Absent on older versions.
    #[serde(default)]
    pub hook_config: Option<Value>,
    /// The event id of the last message from our side.
    #[serde(default)]
    pub last_user_message_id: Option<String>,
}

/// Usage of another shape says nothing, and is no reason to refuse the whole state.
#[expect(clippy::unnecessary_wraps, reason = "the signature that serde asks for")]
fn lenient_usage<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Usage, D::Error> {
    Ok(Box::<RawValue>::deserialize(deserializer).map(|raw| Usage::parse(raw.get())).unwrap_or_default())
}

impl ConversationInfo {
    /// The cost so far.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.stats.cost()
    }
}

/// A page of `GET /api/conversations/{id}/events/search`. Items are kept as they came.
#[derive(Debug, Deserialize)]
pub struct EventPage {
    /// The events.
    pub items: Vec<Box<RawValue>>,
    /// The id of the first event of the next page.
    #[serde(default)]
    pub next_page_id: Option<String>,
}

/// What we read of a command or its output, `GET /api/bash/bash_events/search`. Ids have no dashes here, times are UTC.
#[derive(Debug, Clone, Deserialize)]
pub struct BashEvent {
    /// The event's id.
    pub id: String,
    /// The command's text.
    #[serde(default)]
    pub command: Option<String>,
    /// When it was started.
    pub timestamp: String,
    /// Seconds until the server ends it.
    #[serde(default)]
    pub timeout: Option<f64>,
    /// For an output: the exit code, on the last one.
    #[serde(default)]
    pub exit_code: Option<i64>,
}

/// A page of bash events.
#[derive(Debug, Deserialize)]
pub struct BashPage {
    /// The events.
    pub items: Vec<BashEvent>,
}

/// What we read of `GET /server_info`.
#[derive(Debug, Deserialize)]
pub struct ServerInfo {
    /// Such as `1.58.0`; present on all versions.
    pub version: String,
    /// The names of the tools that work here. Seen on 1.58.0, absent on 1.11.5.
    #[serde(default)]
    pub usable_tools: Option<Vec<String>>,
    /// `local`, or `docker` where each conversation has a container of its own. Seen on 1.58.0 (`server_details_router.py`), absent on 1.11.5.
    #[serde(default)]
    pub conversation_runtime: Option<String>,
}

/// Body of `GET /api/conversations/{id}/agent_final_response`.
#[derive(Debug, Deserialize)]
pub struct FinalResponse {
    /// Empty when there is none.
    #[serde(default)]
    pub response: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_profile_takes_the_place_of_the_agent() {
        let profile = |profile: AgentProfile| serde_json::to_value(AgentSource::Profile(profile)).unwrap();
        assert_eq!(profile(AgentProfile::new("p")), json!({"agent_profile_id": "p"}));
        let with_llm = AgentProfile::new("p").llm_profile(Some("fast".to_owned()));
        let expected = json!({"agent_profile_id": "p", "agent_launch_additions": {"llm_profile_ref": "fast"}});
        assert_eq!(profile(with_llm), expected);
    }

    #[test]
    fn a_conversation_is_started_in_the_form_that_every_version_takes() {
        let Value::Object(fields) = json!({"model": "m", "usage_id": "agent"}) else { unreachable!() };
        let body = StartConversation {
            conversation_id: "1b716b4b-78d1-5f02-9247-f78169819a82".parse().unwrap(),
            agent: Agent::default_with(Llm(fields)).into(),
            workspace: LocalWorkspace::new("/w"),
            max_iterations: None,
            secrets: BTreeMap::from([(
                "A".to_owned(),
                SecretSource::Lookup { url: "http://h/".to_owned(), headers: BTreeMap::new(), description: None },
            )]),
            tags: BTreeMap::new(),
            user_id: None,
            plugins: Vec::new(),
            autotitle: false,
            hook_config: None,
            agent_definitions: Vec::new(),
            trace: Trace::default(),
        };
        assert_eq!(
            serde_json::to_value(body).unwrap(),
            json!({
                "conversation_id": "1b716b4b-78d1-5f02-9247-f78169819a82",
                "agent": {
                    "kind": "Agent",
                    "llm": {"model": "m", "usage_id": "agent"},
                    "tools": [{"name": "terminal"}, {"name": "file_editor"}, {"name": "task_tracker"}],
                    "mcp_config": {},
                    "condenser": {"kind": "LLMSummarizingCondenser", "llm": {"model": "m", "usage_id": "condenser"},
                        "max_size": 80, "keep_first": 4},
                    "system_prompt_kwargs": {"cli_mode": true},
                },
                "workspace": {"kind": "LocalWorkspace", "working_dir": "/w"},
                "secrets": {"A": {"kind": "LookupSecret", "url": "http://h/", "headers": {}}},
                "autotitle": false,
            })
        );
    }
}
