//! Request and response bodies of the agent-server.
//!
//! Requests contain only what every version accepts. Responses are parsed leniently.

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
    /// The conversation has no message yet, or a message waits for a run.
    Idle,
    /// The agent is working.
    Running,
    /// Stopped by `pause` or `interrupt`; `run` continues it.
    Paused,
    /// The agent waits until a person confirms an action.
    WaitingForConfirmation,
    /// The agent has finished. A stop hook may still send it back to work.
    Finished,
    /// The run has failed. The reason is in a `ConversationErrorEvent`, if there is one.
    Error,
    /// The agent repeats the same step.
    Stuck,
    /// The conversation is being deleted.
    Deleting,
    /// A status that only newer servers have.
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

/// Body of `POST /api/conversations`, in the form that every version accepts.
#[derive(Debug, Clone, Serialize)]
pub struct StartConversation {
    /// The id, chosen by the client. A second request with the same id returns the existing conversation.
    #[serde(serialize_with = "id_text")]
    pub conversation_id: ConversationId,
    /// The agent.
    #[serde(flatten)]
    pub agent: AgentSource,
    /// The agent's working directory.
    pub workspace: LocalWorkspace,
    /// The maximum number of steps for each message; the server's default is 500.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_iterations: Option<u32>,
    /// Secrets that terminal commands see as environment variables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: Secrets,
    /// Tags. 1.11.5 ignores them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The account of the user. Known from 1.29.3, ignored before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Plugins. The server loads them at the first message, and responds with 500 to it if one cannot be loaded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<PluginSource>,
    /// Whether the server generates a title with an LLM call. Known from 1.16.1.
    pub autotitle: bool,
    /// Commands that the server runs at certain events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook_config: Option<HookConfig>,
    /// Agents for delegation. Seen on 1.58.0, ignored by 1.11.5.
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
    /// Creates a workspace in this directory.
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
    /// Creates a user message that starts a run.
    #[must_use]
    pub fn and_run(text: &'m str) -> Self {
        Self { role: "user", content: [TextContent { r#type: "text", text }], run: true }
    }
}

/// Response of `GET /api/conversations/{id}`, with the fields that are read.
#[derive(Debug, Clone, Deserialize)]
pub struct ConversationInfo {
    /// The status.
    pub execution_status: Status,
    /// The usage of the conversation.
    #[serde(default, deserialize_with = "lenient_usage")]
    pub stats: Usage,
    /// The tags. Absent on 1.11.5.
    #[serde(default)]
    pub tags: Option<BTreeMap<String, String>>,
    /// The hooks. Absent on older versions.
    #[serde(default)]
    pub hook_config: Option<Value>,
    /// The event id of the last user message.
    #[serde(default)]
    pub last_user_message_id: Option<String>,
}

/// Reads the usage. Usage of an unexpected form counts as unknown and does not invalidate the whole state.
#[expect(clippy::unnecessary_wraps, reason = "the signature that serde asks for")]
fn lenient_usage<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Usage, D::Error> {
    Ok(Box::<RawValue>::deserialize(deserializer).map(|raw| Usage::parse(raw.get())).unwrap_or_default())
}

impl ConversationInfo {
    /// Returns the cost so far.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.stats.cost()
    }
}

/// A page of `GET /api/conversations/{id}/events/search`. Items are kept as they arrived.
#[derive(Debug, Deserialize)]
pub struct EventPage {
    /// The events.
    pub items: Vec<Box<RawValue>>,
    /// The id of the first event of the next page.
    #[serde(default)]
    pub next_page_id: Option<String>,
}

/// A command or its output in `GET /api/bash/bash_events/search`, with the fields that are read. Ids have no dashes here, and
/// times are in UTC.
#[derive(Debug, Clone, Deserialize)]
pub struct BashEvent {
    /// The event's id.
    pub id: String,
    /// The text of the command.
    #[serde(default)]
    pub command: Option<String>,
    /// The start time of the command.
    pub timestamp: String,
    /// The time in seconds after which the server ends the command.
    #[serde(default)]
    pub timeout: Option<f64>,
    /// The exit code, on the last output of a command.
    #[serde(default)]
    pub exit_code: Option<i64>,
}

/// A page of bash events.
#[derive(Debug, Deserialize)]
pub struct BashPage {
    /// The events.
    pub items: Vec<BashEvent>,
}

/// Response of `GET /server_info`, with the fields that are read.
#[derive(Debug, Deserialize)]
pub struct ServerInfo {
    /// The version, such as `1.58.0`; present on all versions.
    pub version: String,
    /// The names of the available tools. Seen on 1.58.0, absent on 1.11.5.
    #[serde(default)]
    pub usable_tools: Option<Vec<String>>,
    /// `local`, or `docker` if each conversation has its own container. Seen on 1.58.0 (`server_details_router.py`), absent on
    /// 1.11.5.
    #[serde(default)]
    pub conversation_runtime: Option<String>,
}

/// Response of `GET /api/conversations/{id}/agent_final_response`.
#[derive(Debug, Deserialize)]
pub struct FinalResponse {
    /// The message; empty if there is none.
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
