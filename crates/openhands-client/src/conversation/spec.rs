//! The specification of a conversation.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::agent_server::hooks::HookConfig;
use crate::agent_server::mcp::McpServers;
use crate::agent_server::plugin::PluginSource;
use crate::agent_server::skill::Skill;
use crate::agent_server::trace::Trace;
use crate::agent_server::wire::{AgentSource, Secrets, SubAgent};
use crate::ids::{ConversationId, RunId};

/// The agent's default working directory in a sandbox.
pub const DEFAULT_WORKING_DIR: &str = "/workspace/project";

/// The specification of a conversation. [`super::ConversationBuilder`] is the shorter way to start one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConversationSpec {
    /// The conversation's id. If a conversation with this id exists, it is continued.
    pub id: ConversationId,
    /// The agent.
    pub agent: AgentSource,
    /// The agent's working directory, on the agent-server's machine.
    pub working_dir: String,
    /// A title for people.
    pub title: Option<String>,
    /// Tags: keys of lower-case letters and digits, values of up to 256 characters.
    pub tags: BTreeMap<String, String>,
    /// The account that the conversation belongs to.
    pub user_id: Option<String>,
    /// Where the conversation belongs in traces.
    pub trace: Trace,
    /// Secrets that the agent's commands see as environment variables.
    pub secrets: Secrets,
    /// MCP servers whose tools the agent can use.
    pub mcp: McpServers,
    /// The agent's skills.
    pub skills: Vec<Skill>,
    /// The agent's plugins.
    pub plugins: Vec<PluginSource>,
    /// JSON Schema of the fields that the finish tool gets in addition to its message, if the server supports it (from 1.50.1).
    pub finish_schema: Option<Value>,
    /// Commands that the agent-server runs when the agent finishes, if it supports a finish schema.
    pub hook_config: Option<HookConfig>,
    /// Agents that the agent can delegate work to, if the server supports them.
    #[doc(hidden)]
    pub sub_agents: Vec<SubAgent>,
    /// The maximum number of steps for each message; the server's default is 500.
    pub max_iterations: Option<u32>,
    /// How many US dollars this run may spend. An agent that exceeds the limit is stopped.
    pub cost_limit: Option<f64>,
    /// The time limit of the conversation, from its start. When it is reached, the agent is stopped.
    pub time_limit: Option<Duration>,
    /// The run that the conversation belongs to, if a restarted run has to find the conversation again.
    pub run: Option<RunSpec>,
}

/// A run of several turns that may be restarted. A restarted run finds the messages that it has sent, and sends none of them
/// twice.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RunSpec {
    /// The run's id, if it has one.
    pub id: Option<RunId>,
    /// The messages of the run, one for each turn.
    pub messages: Vec<String>,
    /// Whether the conversation may hold messages from elsewhere.
    pub continued: bool,
}

impl RunSpec {
    /// Creates a run with these messages, in a conversation that belongs to the run alone.
    #[must_use]
    pub fn new(id: Option<RunId>, messages: Vec<String>) -> Self {
        Self { id, messages, continued: false }
    }

    /// Sets whether the conversation may hold messages from elsewhere.
    #[must_use]
    pub fn continued(mut self, continued: bool) -> Self {
        self.continued = continued;
        self
    }
}

impl ConversationSpec {
    /// Creates a specification with this agent, the default working directory and no limits.
    #[must_use]
    pub fn new(id: ConversationId, agent: impl Into<AgentSource>) -> Self {
        Self {
            id,
            agent: agent.into(),
            working_dir: DEFAULT_WORKING_DIR.to_owned(),
            title: None,
            tags: BTreeMap::new(),
            user_id: None,
            trace: Trace::default(),
            secrets: Secrets::new(),
            mcp: McpServers::default(),
            skills: Vec::new(),
            plugins: Vec::new(),
            finish_schema: None,
            hook_config: None,
            sub_agents: Vec::new(),
            max_iterations: None,
            cost_limit: None,
            time_limit: None,
            run: None,
        }
    }

    /// Returns the messages of the run, if there is one.
    pub(super) fn messages(&self) -> &[String] {
        self.run.as_ref().map_or(&[], |run| &run.messages)
    }

    /// Returns whether the conversation may hold messages from elsewhere.
    pub(super) fn is_continued(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.continued)
    }

    /// Returns the run's id, if it has one.
    pub(super) fn run_id(&self) -> Option<&RunId> {
        self.run.as_ref()?.id.as_ref()
    }
}
