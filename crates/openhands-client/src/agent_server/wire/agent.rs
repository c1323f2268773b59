//! The agent of a conversation.

use serde::Serialize;
use serde_json::{Map, Value};

use super::llm::Llm;
use crate::agent_server::skill::{AgentContext, Marketplace, Skill};

/// The agent of a conversation: described here, or an agent profile of the server.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum AgentSource {
    /// An agent that the client describes.
    Agent {
        /// The agent.
        agent: Box<Agent>,
    },
    /// An agent profile of the server.
    Profile(AgentProfile),
}

impl From<Agent> for AgentSource {
    fn from(agent: Agent) -> Self {
        Self::Agent { agent: Box::new(agent) }
    }
}

/// An agent profile of the server, which sets the LLM, the tools, the MCP servers and the secrets that the agent may use. Seen on
/// 1.58.0.
#[derive(Debug, Clone, Serialize)]
pub struct AgentProfile {
    agent_profile_id: String,
    #[serde(rename = "agent_launch_additions", skip_serializing_if = "LaunchAdditions::is_empty")]
    additions: LaunchAdditions,
}

/// What a conversation adds to the agent of a profile. The server merges skills by name, and the profile's own skills override
/// others (sdk 1.58.0, conversation/request.py, `AgentLaunchAdditions`).
#[derive(Debug, Clone, Default, Serialize)]
struct LaunchAdditions {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skills: Vec<Skill>,
    #[serde(skip_serializing_if = "Option::is_none")]
    llm_profile_ref: Option<String>,
}

impl LaunchAdditions {
    fn is_empty(&self) -> bool {
        self.skills.is_empty() && self.llm_profile_ref.is_none()
    }
}

impl AgentProfile {
    /// Selects the profile with this id.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self { agent_profile_id: id.into(), additions: LaunchAdditions::default() }
    }

    /// Uses this LLM profile instead of the one in the agent profile.
    #[must_use]
    pub fn llm_profile(mut self, name: Option<String>) -> Self {
        self.additions.llm_profile_ref = name;
        self
    }

    /// Adds these skills.
    #[must_use]
    pub(crate) fn with_skills(mut self, skills: Vec<Skill>) -> Self {
        self.additions.skills = skills;
        self
    }
}

/// An agent to which the agent of a conversation can delegate work. Seen on 1.58.0 (sdk, subagent/schema.py, `AgentDefinition`).
#[doc(hidden)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubAgent {
    /// The name. The server has one agent for each name, and keeps the first.
    pub name: String,
    /// What the agent is for. The delegating agent reads this to choose one.
    pub description: String,
    /// The system prompt.
    pub system_prompt: String,
    /// The names of the tools.
    pub tools: Vec<String>,
}

/// The maximum length of the history in events, and how many of the first events are kept.
#[doc(hidden)]
pub const DEFAULT_CONDENSER_SIZES: (u32, u32) = (80, 4);

/// The default agent, as the official client creates it for command-line use.
#[derive(Debug, Clone, Serialize)]
pub struct Agent {
    kind: &'static str,
    pub(crate) llm: Llm,
    tools: Vec<Tool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    include_default_tools: Option<[&'static str; 1]>,
    mcp_config: Value,
    condenser: Option<Condenser>,
    system_prompt_kwargs: SystemPromptArguments,
    #[serde(rename = "agent_context", skip_serializing_if = "Option::is_none")]
    context: Option<AgentContext>,
}

#[derive(Debug, Clone, Serialize)]
struct Tool {
    name: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    params: Map<String, Value>,
}

impl Tool {
    fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), params: Map::new() }
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
    /// Creates the default agent: terminal, file editor, task tracker, and a condenser that summarizes long histories with the
    /// same LLM.
    #[must_use]
    pub fn default_with(llm: Llm) -> Self {
        let condenser = llm.used_as("condenser");
        Self {
            kind: "Agent",
            llm,
            tools: ["terminal", "file_editor", "task_tracker"].map(Tool::named).to_vec(),
            include_default_tools: None,
            mcp_config: Value::Object(Map::new()),
            condenser: Some(Condenser {
                kind: "LLMSummarizingCondenser",
                llm: condenser,
                max_size: DEFAULT_CONDENSER_SIZES.0,
                keep_first: DEFAULT_CONDENSER_SIZES.1,
            }),
            system_prompt_kwargs: SystemPromptArguments { cli_mode: true },
            context: None,
        }
    }

    /// Uses these tools instead of the default ones.
    #[doc(hidden)]
    #[must_use]
    pub fn tools<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.tools = names.into_iter().map(Tool::named).collect();
        self
    }

    /// Adds a tool.
    #[doc(hidden)]
    #[must_use]
    pub fn tool(mut self, name: &str) -> Self {
        if self.tools.iter().all(|tool| tool.name != name) {
            self.tools.push(Tool::named(name));
        }
        self
    }

    /// Sets the maximum length of the history in events, and how many of the first events are kept when it is summarized. With
    /// `None`, the history grows without limit.
    #[doc(hidden)]
    #[must_use]
    pub fn condenser(mut self, sizes: Option<(u32, u32)>) -> Self {
        let condenser = self.condenser.take();
        self.condenser =
            condenser.zip(sizes).map(|(old, (max_size, keep_first))| Condenser { max_size, keep_first, ..old });
        self
    }

    /// Adds this text at the end of the system prompt.
    #[doc(hidden)]
    #[must_use]
    pub fn system_prompt_suffix(mut self, text: impl Into<String>) -> Self {
        self.context.get_or_insert_default().system_message_suffix = Some(text.into());
        self
    }

    /// Uses a finish tool that also accepts these fields (JSON Schema of an object).
    #[must_use]
    pub(crate) fn with_finish_fields(mut self, schema: Value) -> Self {
        let params = Map::from_iter([("response_schema".to_owned(), schema)]);
        self.tools.push(Tool { name: "FinishTool".to_owned(), params });
        // The default tools include a finish tool, and two of them are an error at the first message.
        self.include_default_tools = Some(["ThinkTool"]);
        self
    }

    /// Uses these MCP servers, in the form that the server's version expects.
    #[must_use]
    pub(crate) fn with_mcp(self, mcp_config: Value) -> Self {
        Self { mcp_config, ..self }
    }

    /// Adds a marketplace from which [`Conversation::load_plugin`](crate::Conversation::load_plugin) takes plugins:
    /// `github:owner/repo`, a git URL, or a directory on the agent-server's machine.
    #[must_use]
    pub fn marketplace(mut self, name: impl Into<String>, source: impl Into<String>) -> Self {
        let marketplace = Marketplace { name: name.into(), source: source.into() };
        self.context.get_or_insert_default().marketplaces.push(marketplace);
        self
    }

    /// Adds these skills.
    #[must_use]
    pub(crate) fn with_skills(mut self, skills: Vec<Skill>) -> Self {
        self.context.get_or_insert_default().skills = skills;
        self
    }
}
