//! The conversation of a run, as the user and the environment specify it.

use std::collections::BTreeMap;

use openhands_client::agent_server::plugin::PluginSource;
use openhands_client::agent_server::trace::Trace;
use openhands_client::ids::{ConversationId, RunId};
use serde_json::{Map, Value};

/// The conversation of a run.
#[derive(Debug, Clone)]
pub(crate) struct ConversationPlan {
    /// The id of the conversation.
    pub(crate) id: ConversationId,
    /// Whether it may contain messages of earlier runs.
    pub(crate) continued: bool,
    /// The id of the run, if it has one. It identifies a run that is restarted.
    pub(crate) run_id: Option<RunId>,
    /// The messages, one for each turn.
    pub(crate) messages: Vec<String>,
    /// The agent's working directory.
    pub(crate) working_dir: String,
    /// A title for people.
    pub(crate) title: Option<String>,
    /// Tags.
    pub(crate) tags: BTreeMap<String, String>,
    /// The account that the conversation belongs to.
    pub(crate) user_id: Option<String>,
    /// Where the conversation belongs in traces.
    pub(crate) trace: Trace,
    /// The maximum number of steps for each message.
    pub(crate) iterations: Option<u32>,
    /// How many US dollars this run may spend.
    pub(crate) cost: Option<f64>,
    /// The agent's plugins.
    pub(crate) plugins: Vec<PluginSource>,
    /// The task's MCP servers by name, in the flat form. They replace servers of the account with the same name.
    pub(crate) mcp: Map<String, Value>,
}
