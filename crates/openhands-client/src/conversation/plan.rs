//! What a conversation is started with.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::agent_server::hooks::HookConfig;
use crate::agent_server::plugin::PluginSource;
use crate::agent_server::skill::Skill;
use crate::agent_server::trace::Trace;
use crate::ids::{ConversationId, RunId};

/// Where the agent works in a sandbox.
pub const DEFAULT_WORKING_DIR: &str = "/workspace/project";

/// The conversation that a run drives.
#[derive(Debug, Clone)]
pub struct ConversationPlan {
    /// Its id.
    pub id: ConversationId,
    /// Whether it may hold messages of earlier runs.
    pub continued: bool,
    /// The run, when it has an id: a run that starts again is known by it.
    pub run_id: Option<RunId>,
    /// The messages, each a turn.
    pub messages: Vec<String>,
    /// The agent's working directory.
    pub working_dir: String,
    /// A title for people.
    pub title: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// The account that it belongs to.
    pub user_id: Option<String>,
    /// Where it belongs in traces.
    pub trace: Trace,
    /// JSON Schema of the fields that the finish tool gets besides its message, where the server takes them.
    pub finish_schema: Option<Value>,
    /// Commands that the agent-server runs around the agent's finish.
    pub hook_config: Option<HookConfig>,
    /// Steps for one message.
    pub iterations: Option<u32>,
    /// US dollars that this run may spend.
    pub cost: Option<f64>,
    /// The agent's skills.
    pub skills: Vec<Skill>,
    /// The agent's plugins.
    pub plugins: Vec<PluginSource>,
    /// The task's MCP servers by name, in the flat form; they beat the account's of the same name.
    pub mcp: Map<String, Value>,
}

impl ConversationPlan {
    /// A new conversation with one message, in the sandbox's own directory and without limits.
    pub fn new(id: ConversationId, message: impl Into<String>) -> Self {
        Self {
            id,
            continued: false,
            run_id: None,
            messages: vec![message.into()],
            working_dir: DEFAULT_WORKING_DIR.to_owned(),
            title: None,
            tags: BTreeMap::new(),
            user_id: None,
            trace: Trace::default(),
            finish_schema: None,
            hook_config: None,
            iterations: None,
            cost: None,
            skills: Vec::new(),
            plugins: Vec::new(),
            mcp: Map::new(),
        }
    }
}
