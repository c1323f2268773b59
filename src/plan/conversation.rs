//! The conversation that a run drives, as the user and the environment ask for it.

use std::collections::BTreeMap;

use openhands_client::agent_server::plugin::PluginSource;
use openhands_client::agent_server::trace::Trace;
use openhands_client::ids::{ConversationId, RunId};
use serde_json::{Map, Value};

/// The conversation that a run drives.
#[derive(Debug, Clone)]
pub(crate) struct ConversationPlan {
    /// Its id.
    pub(crate) id: ConversationId,
    /// Whether it may hold messages of earlier runs.
    pub(crate) continued: bool,
    /// The run, when it has an id: a run that starts again is known by it.
    pub(crate) run_id: Option<RunId>,
    /// The messages, each a turn.
    pub(crate) messages: Vec<String>,
    /// The agent's working directory.
    pub(crate) working_dir: String,
    /// A title for people.
    pub(crate) title: Option<String>,
    /// Tags.
    pub(crate) tags: BTreeMap<String, String>,
    /// The account that it belongs to.
    pub(crate) user_id: Option<String>,
    /// Where it belongs in traces.
    pub(crate) trace: Trace,
    /// Steps for one message.
    pub(crate) iterations: Option<u32>,
    /// US dollars that this run may spend.
    pub(crate) cost: Option<f64>,
    /// The agent's plugins.
    pub(crate) plugins: Vec<PluginSource>,
    /// The task's MCP servers by name, in the flat form; they replace the account's of the same name.
    pub(crate) mcp: Map<String, Value>,
}
