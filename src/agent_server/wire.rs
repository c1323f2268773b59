//! Bodies of the agent-server's HTTP calls.
//!
//! Requests hold only what every version takes; answers are read leniently.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::hooks::HookConfig;
use super::skill::AgentContext;
use super::trace::Trace;
use crate::ids::ConversationId;
use crate::task::plugins::PluginSource;

/// `execution_status` of a conversation. The name is the same on all versions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum Status {
    /// Nothing has been asked, or a message waits for a run.
    Idle,
    /// The agent works.
    Running,
    /// Stopped by `pause` or `interrupt`; `run` goes on.
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

/// US dollars, or unknown. Unknown is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Cost(Option<f64>);

impl Cost {
    /// A known cost.
    #[must_use]
    pub const fn dollars(dollars: f64) -> Self {
        Self(Some(dollars))
    }

    /// US dollars, if known.
    #[must_use]
    pub fn known(self) -> Option<f64> {
        self.0
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.0.is_none()
    }

    /// This cost, or the other where this one is unknown.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0.or(other.0))
    }

    /// The sum over the entries of `stats.usage_to_metrics`; unknown when there is none, as before the first message.
    #[must_use]
    pub fn of_stats(stats: Option<&Value>) -> Self {
        let entries = stats.and_then(|stats| stats.get("usage_to_metrics")).and_then(Value::as_object);
        let costs: Vec<f64> = entries
            .into_iter()
            .flat_map(Map::values)
            .filter_map(|entry| entry.get("accumulated_cost")?.as_f64())
            .collect();
        if costs.is_empty() { Self(None) } else { Self(Some(costs.iter().sum())) }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(dollars) => write!(f, "${dollars:.4}"),
            None => f.write_str("unknown"),
        }
    }
}

/// An agent-server's LLM object. Its `Debug` shows only the model, because it holds a key.
#[derive(Clone, PartialEq, Default, Serialize)]
#[serde(transparent)]
pub struct Llm(pub Map<String, Value>);

impl Llm {
    /// An LLM by its model and key.
    #[must_use]
    pub fn new(model: &str, api_key: &str) -> Self {
        Self(Map::from_iter([("model".to_owned(), model.into()), ("api_key".to_owned(), api_key.into())]))
    }

    /// The model's name.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.text("model")
    }

    /// A field that is a text and not empty.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.0.get(field)?.as_str().filter(|text| !text.is_empty())
    }

    /// The LLM of an account's settings, without the fields that are not set; none without a model.
    #[must_use]
    pub fn of_settings(settings: &Value) -> Option<Self> {
        let is_set = |value: &Value| !value.is_null() && value.as_str() != Some("");
        let fields = settings.as_object()?.iter().filter(|(_, value)| is_set(value));
        let llm = Self(fields.map(|(name, value)| (name.clone(), value.clone())).collect());
        llm.model().is_some().then_some(llm)
    }

    /// The same LLM for another use, so that the server counts its cost apart.
    #[must_use]
    pub fn used_as(&self, usage_id: &str) -> Self {
        let mut fields = self.0.clone();
        fields.insert("usage_id".to_owned(), usage_id.into());
        Self(fields)
    }
}

impl fmt::Debug for Llm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Llm({})", self.model().unwrap_or("no model"))
    }
}

/// Where the agent-server takes the value of a secret from.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind")]
pub enum SecretSource {
    /// The server fetches the value when a command needs it: it never passes through us.
    #[serde(rename = "LookupSecret")]
    Lookup {
        /// Where it reads the value.
        url: String,
        /// What it sends with the request.
        headers: BTreeMap<String, String>,
        /// What the secret is for.
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<String>,
    },
    /// The value itself.
    #[serde(rename = "StaticSecret")]
    Static {
        /// It is no secret to us.
        value: String,
    },
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lookup { url, .. } => write!(f, "LookupSecret({url})"),
            Self::Static { .. } => f.write_str("StaticSecret"),
        }
    }
}

/// Secrets by name.
pub type Secrets = BTreeMap<String, SecretSource>;

/// Body of `POST /api/conversations`, in the form that every version takes.
#[derive(Debug, Clone, Serialize)]
pub struct StartConversation {
    /// Chosen by us: a second request with the same id gives the existing conversation.
    #[serde(serialize_with = "id_text")]
    pub conversation_id: ConversationId,
    /// The agent.
    pub agent: Agent,
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
    /// Where the conversation belongs in traces.
    #[serde(flatten)]
    pub trace: Trace,
}

fn id_text<S: serde::Serializer>(id: &ConversationId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// The default agent, as the official client makes it for command-line use.
#[derive(Debug, Clone, Serialize)]
pub struct Agent {
    kind: &'static str,
    llm: Llm,
    tools: Vec<Tool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    include_default_tools: Option<[&'static str; 1]>,
    mcp_config: Value,
    condenser: Condenser,
    system_prompt_kwargs: SystemPromptArguments,
    #[serde(rename = "agent_context", skip_serializing_if = "Option::is_none")]
    context: Option<AgentContext>,
}

#[derive(Debug, Clone, Serialize)]
struct Tool {
    name: &'static str,
    #[serde(skip_serializing_if = "Map::is_empty")]
    params: Map<String, Value>,
}

impl Tool {
    fn named(name: &'static str) -> Self {
        Self { name, params: Map::new() }
    }
}

#[derive(Debug, Clone, Serialize)]
struct Condenser {
    kind: &'static str,
    llm: Llm,
    max_size: u32,
    keep_first: u32,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct SystemPromptArguments {
    cli_mode: bool,
}

impl Agent {
    /// Terminal, file editor, task tracker, and a condenser that sums up long histories with the same LLM.
    #[must_use]
    pub fn default_with(llm: &Llm) -> Self {
        Self {
            kind: "Agent",
            llm: llm.clone(),
            tools: ["terminal", "file_editor", "task_tracker"].map(Tool::named).to_vec(),
            include_default_tools: None,
            mcp_config: Value::Object(Map::new()),
            condenser: Condenser {
                kind: "LLMSummarizingCondenser",
                llm: llm.used_as("condenser"),
                max_size: 80,
                keep_first: 4,
            },
            system_prompt_kwargs: SystemPromptArguments { cli_mode: true },
            context: None,
        }
    }

    /// With a finish tool that takes these fields too (JSON Schema of an object).
    #[must_use]
    pub fn with_finish_fields(mut self, schema: Value) -> Self {
        let params = Map::from_iter([("response_schema".to_owned(), schema)]);
        self.tools.push(Tool { name: "FinishTool", params });
        // The default tools have one of their own, and two are an error at the first message.
        self.include_default_tools = Some(["ThinkTool"]);
        self
    }

    /// With these MCP servers, in the shape that the server's version takes.
    #[must_use]
    pub fn with_mcp(self, mcp_config: Value) -> Self {
        Self { mcp_config, ..self }
    }

    /// The same agent with skills.
    #[must_use]
    pub fn with_context(self, context: AgentContext) -> Self {
        Self { context: Some(context), ..self }
    }
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
    /// `usage_to_metrics`.
    #[serde(default)]
    pub stats: Option<Value>,
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

impl ConversationInfo {
    /// The cost so far.
    #[must_use]
    pub fn cost(&self) -> Cost {
        Cost::of_stats(self.stats.as_ref())
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
    /// Of an output: the exit code, on the last one.
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
    fn unknown_cost_is_not_zero() {
        assert!(Cost::of_stats(None).is_unknown());
        assert!(Cost::of_stats(Some(&json!({"usage_to_metrics": {}}))).is_unknown());
        assert!(Cost::of_stats(Some(&json!([null]))).is_unknown());
        let free = json!({"usage_to_metrics": {"default": {"accumulated_cost": 0.0}}});
        assert_eq!(Cost::of_stats(Some(&free)), Cost::dollars(0.0));
    }

    #[test]
    fn the_debug_form_of_an_llm_hides_its_key() {
        let Value::Object(fields) = json!({"model": "m", "api_key": "sk-1"}) else { unreachable!() };
        assert_eq!(format!("{:?}", Llm(fields)), "Llm(m)");
    }

    #[test]
    fn a_conversation_is_started_in_the_form_that_every_version_takes() {
        let Value::Object(fields) = json!({"model": "m", "usage_id": "agent"}) else { unreachable!() };
        let body = StartConversation {
            conversation_id: "1b716b4b-78d1-5f02-9247-f78169819a82".parse().unwrap(),
            agent: Agent::default_with(&Llm(fields)),
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
