//! The field `agent` of the task file.

use std::fmt;

use openhands_client::agent_server::wire::DEFAULT_CONDENSER_SIZES;
use schemars::JsonSchema;
use serde::de::{MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, de};

/// The agent: one of the account's profiles, or the default agent with these changes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgentChoice {
    /// Name or id of one of the account's agent profiles. It sets the LLM, the tools, the MCP servers and the secrets of the
    /// agent.
    #[serde(default)]
    pub(crate) profile: Option<String>,
    /// The agent's tools. Default: `terminal`, `file_editor` and `task_tracker`.
    #[serde(default)]
    pub(crate) tools: Option<Vec<String>>,
    /// Whether the agent has a browser, in addition to its tools.
    #[serde(default)]
    pub(crate) browser: bool,
    /// A text at the end of the system prompt.
    #[serde(default)]
    pub(crate) system_prompt_suffix: Option<String>,
    /// When a long history is summarized; `false` to disable this.
    #[serde(default, deserialize_with = "condenser")]
    #[schemars(with = "Option<CondenserForm>")]
    pub(crate) condenser: Option<CondenserChoice>,
    /// The actions that the runner rejects. Default: none. The agent is informed, and continues without the action.
    #[serde(default)]
    pub(crate) confirmation_policy: Option<Confirmation>,
    /// How the risk of an action is determined.
    #[serde(default)]
    pub(crate) security_analyzer: Option<Analyzer>,
    /// Agents to which the agent can delegate work.
    #[serde(default, deserialize_with = "sub_agents")]
    pub(crate) sub_agents: Vec<SubAgentSource>,
}

/// The actions that need confirmation. No one can give it during a run, so they are rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Confirmation {
    /// No action.
    Never,
    /// Actions that the security analyzer considers risky or cannot assess.
    Risky,
    /// Every action.
    Always,
}

/// A security analyzer of the agent-server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Analyzer {
    /// The agent's LLM rates the risk of each action.
    Llm,
    /// Patterns in the action decide.
    Pattern,
    /// Rules for commands decide.
    PolicyRail,
}

impl Analyzer {
    /// Returns the name of its class on the agent-server.
    #[must_use]
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Llm => "LLMSecurityAnalyzer",
            Self::Pattern => "PatternSecurityAnalyzer",
            Self::PolicyRail => "PolicyRailSecurityAnalyzer",
        }
    }
}

/// An agent to which the agent can delegate work.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubAgentSource {
    /// The name. An agent-server keeps the first agent of a name until the server ends.
    pub(crate) name: String,
    /// What the agent is for. The delegating agent reads this to choose one.
    pub(crate) description: String,
    /// The system prompt.
    #[serde(default)]
    pub(crate) system_prompt: String,
    /// The tools. Default: `terminal` and `file_editor`.
    #[serde(default = "tools_of_sub_agent")]
    pub(crate) tools: Vec<String>,
}

fn tools_of_sub_agent() -> Vec<String> {
    ["terminal", "file_editor"].map(str::to_owned).to_vec()
}

fn sub_agents<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SubAgentSource>, D::Error> {
    let agents = Vec::<SubAgentSource>::deserialize(deserializer)?;
    for (index, agent) in agents.iter().enumerate() {
        if agent.name.trim().is_empty() {
            return Err(de::Error::custom("a sub-agent without a name: give it a name such as `tester`"));
        }
        if agents[..index].iter().any(|other| other.name == agent.name) {
            return Err(de::Error::custom(format!("two sub-agents with the name `{}`: give each its own", agent.name)));
        }
    }
    Ok(agents)
}

impl AgentChoice {
    /// Returns whether nothing of the default agent is changed.
    #[must_use]
    pub(crate) fn is_default_agent(&self) -> bool {
        *self == Self { profile: self.profile.clone(), ..Self::default() }
    }
}

/// When a long history is summarized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CondenserChoice {
    /// Never.
    Off,
    /// At this number of events, of which this many at the beginning are kept.
    At { max_size: u32, keep_first: u32 },
}

/// The forms of a condenser.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "documents the forms of a field that is read by hand")]
enum CondenserForm {
    /// `false` for none.
    Switch(bool),
    /// Sizes.
    Sizes(CondenserSizes),
}

/// The sizes of a condenser.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CondenserSizes {
    /// The number of events at which the history is summarized. Default: 80.
    #[serde(default = "default_size")]
    max_size: u32,
    /// The number of events at the beginning that are kept as they are. Default: 4.
    #[serde(default = "default_first")]
    keep_first: u32,
}

const fn default_size() -> u32 {
    DEFAULT_CONDENSER_SIZES.0
}

const fn default_first() -> u32 {
    DEFAULT_CONDENSER_SIZES.1
}

fn condenser<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<CondenserChoice>, D::Error> {
    struct Forms;
    impl<'de> Visitor<'de> for Forms {
        type Value = CondenserChoice;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("`false`, or sizes such as `{max_size: 80, keep_first: 4}`")
        }

        fn visit_bool<E: de::Error>(self, is_on: bool) -> Result<CondenserChoice, E> {
            let (max_size, keep_first) = DEFAULT_CONDENSER_SIZES;
            Ok(if is_on { CondenserChoice::At { max_size, keep_first } } else { CondenserChoice::Off })
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<CondenserChoice, A::Error> {
            let CondenserSizes { max_size, keep_first } = CondenserSizes::deserialize(MapAccessDeserializer::new(map))?;
            // The server needs room for a summary and for the newest events (sdk 1.58.0, llm_summarizing_condenser.py).
            if max_size / 2 <= keep_first.saturating_add(1) {
                return Err(de::Error::custom(format!(
                    "a condenser that keeps {keep_first} of {max_size} events has no room: give `max_size` at least {}",
                    (u64::from(keep_first) + 2) * 2
                )));
            }
            Ok(CondenserChoice::At { max_size, keep_first })
        }
    }
    deserializer.deserialize_any(Forms).map(Some)
}

#[cfg(test)]
mod tests {
    use crate::input::task::parse::{TaskFormat, parse};

    use super::*;

    fn agent(yaml: &str) -> Result<AgentChoice, String> {
        let task = parse(&format!("prompt: x\nagent: {yaml}"), TaskFormat::Yaml, "task");
        task.map(|task| task.agent).map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_condenser_is_off_or_has_sizes_that_the_server_takes() {
        let condenser = |yaml: &str| agent(&format!("{{condenser: {yaml}}}")).map(|agent| agent.condenser.unwrap());
        assert_eq!(condenser("false"), Ok(CondenserChoice::Off));
        assert_eq!(condenser("{max_size: 40}"), Ok(CondenserChoice::At { max_size: 40, keep_first: 4 }));
        assert_eq!(condenser("{max_size: 12}"), Ok(CondenserChoice::At { max_size: 12, keep_first: 4 }));
        assert!(condenser("{max_size: 11}").unwrap_err().contains("give `max_size` at least 12"));
        assert!(condenser("{size: 11}").unwrap_err().contains("max_size"));
        assert!(condenser("often").unwrap_err().contains("`false`, or sizes"));
    }

    #[test]
    fn each_sub_agent_has_a_name_of_its_own_and_tools() {
        let tools = |yaml: &str| agent(yaml).map(|agent| agent.sub_agents[0].tools.join(" "));
        assert_eq!(tools("{sub_agents: [{name: a, description: b}]}"), Ok("terminal file_editor".to_owned()));
        assert_eq!(tools("{sub_agents: [{name: a, description: b, tools: [grep]}]}"), Ok("grep".to_owned()));
        for (yaml, found) in [
            ("[{name: ' ', description: b}]", "a sub-agent without a name"),
            ("[{name: a, description: b}, {name: a, description: c}]", "two sub-agents with the name `a`"),
            ("[{name: a}]", "description"),
        ] {
            let error = agent(&format!("{{sub_agents: {yaml}}}")).unwrap_err();
            assert!(error.contains(found), "{yaml}: {error}");
        }
    }

    #[test]
    fn only_a_profile_changes_nothing_of_the_default_agent() {
        assert!(agent("{profile: reviewer}").unwrap().is_default_agent());
        for changed in [
            "{tools: [terminal]}",
            "{browser: true}",
            "{system_prompt_suffix: x}",
            "{condenser: false}",
            "{confirmation_policy: always}",
            "{security_analyzer: llm}",
            "{sub_agents: [{name: a, description: b}]}",
        ] {
            assert!(!agent(changed).unwrap().is_default_agent(), "{changed}");
        }
    }
}
