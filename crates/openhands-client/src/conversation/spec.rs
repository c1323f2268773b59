//! What a conversation is started with.

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

/// Where the agent works in a sandbox.
pub const DEFAULT_WORKING_DIR: &str = "/workspace/project";

/// The specification of a conversation. [`super::ConversationBuilder`] is the short way.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConversationSpec {
    /// Its id. A conversation that exists under it is continued.
    pub id: ConversationId,
    /// The agent.
    pub agent: AgentSource,
    /// The agent's working directory, on the agent-server's machine.
    pub working_dir: String,
    /// A title for people.
    pub title: Option<String>,
    /// Tags: keys of lower-case letters and digits, values of up to 256 characters.
    pub tags: BTreeMap<String, String>,
    /// The account that it belongs to.
    pub user_id: Option<String>,
    /// Where it belongs in traces.
    pub trace: Trace,
    /// Secrets that the agent's commands see as variables.
    pub secrets: Secrets,
    /// MCP servers whose tools the agent has.
    pub mcp: McpServers,
    /// The agent's skills.
    pub skills: Vec<Skill>,
    /// The agent's plugins.
    pub plugins: Vec<PluginSource>,
    /// JSON Schema of the fields that the finish tool gets besides its message, where the server takes them (1.50.1).
    pub finish_schema: Option<Value>,
    /// Commands that the agent-server runs around the agent's finish, where it takes a finish schema.
    pub hook_config: Option<HookConfig>,
    /// Agents that the agent can give a part of its work, where the server knows them.
    #[doc(hidden)]
    pub sub_agents: Vec<SubAgent>,
    /// Steps for one message; the server's default is 500.
    pub max_iterations: Option<u32>,
    /// US dollars that this run may spend. The agent is stopped when it has spent more.
    pub cost_limit: Option<f64>,
    /// Time for the conversation, from its start. The agent is stopped then.
    pub time_limit: Option<Duration>,
    /// The run that the conversation is for, if it is to be found again by a run that starts again.
    pub run: Option<RunSpec>,
}

/// A run of several turns, which may have to start again: it finds the messages that it has sent, and sends none twice.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RunSpec {
    /// The run's id, where it has one.
    pub id: Option<RunId>,
    /// Its messages, each a turn.
    pub messages: Vec<String>,
    /// Whether the conversation may hold messages of others.
    pub continued: bool,
}

impl RunSpec {
    /// A run with these messages, in a conversation of its own.
    #[must_use]
    pub fn new(id: Option<RunId>, messages: Vec<String>) -> Self {
        Self { id, messages, continued: false }
    }

    /// The same in a conversation that may hold messages of others.
    #[must_use]
    pub fn continued(mut self, continued: bool) -> Self {
        self.continued = continued;
        self
    }
}

impl ConversationSpec {
    /// A conversation of this agent, in the sandbox's own directory and without limits.
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

    /// The messages of the run, if there is one.
    pub(super) fn messages(&self) -> &[String] {
        self.run.as_ref().map_or(&[], |run| &run.messages)
    }

    /// Whether the conversation may hold messages of others.
    pub(super) fn is_continued(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.continued)
    }

    /// The run's id, where it has one.
    pub(super) fn run_id(&self) -> Option<&RunId> {
        self.run.as_ref()?.id.as_ref()
    }
}
