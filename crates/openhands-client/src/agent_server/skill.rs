//! Skills: the form in which the agent-server lists them, and the form that a conversation expects.

use serde::{Deserialize, Serialize};

/// Sources of skills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four sources, each on or off")]
pub struct SkillSources {
    /// OpenHands' public skills.
    pub public: bool,
    /// The user's own skills, in the home directory of the agent-server.
    pub user: bool,
    /// The skills of the account's organisation.
    pub org: bool,
    /// The skills in the project's directory.
    pub project: bool,
}

/// Body of `POST /api/skills`, the same on all versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the wire has it so")]
pub struct SkillQuery {
    load_public: bool,
    load_user: bool,
    load_project: bool,
    load_org: bool,
    project_dir: String,
}

impl SkillQuery {
    /// Asks for the skills of these sources, with this directory as the project.
    pub fn new(sources: SkillSources, project_dir: impl Into<String>) -> Self {
        Self {
            load_public: sources.public,
            load_user: sources.user,
            load_project: sources.project,
            load_org: sources.org,
            project_dir: project_dir.into(),
        }
    }

    /// Returns whether no source is selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !(self.load_public || self.load_user || self.load_project || self.load_org)
    }
}

/// Response of `POST /api/skills`.
#[derive(Debug, Deserialize)]
pub struct SkillList {
    /// The skills.
    pub skills: Vec<SkillInfo>,
}

/// A listed skill, with the fields that are read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SkillInfo {
    /// The name of the skill.
    pub name: String,
    #[serde(default)]
    content: String,
    #[serde(default)]
    triggers: Vec<String>,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    is_agentskills_format: bool,
    // From 1.22.1.
    #[serde(default)]
    disable_model_invocation: bool,
}

/// A skill in a conversation's `agent.agent_context.skills`, in the form that the official client creates (`openhands-sdk`
/// 1.58.0).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skill {
    /// The name of the skill.
    pub name: String,
    content: String,
    trigger: Option<Trigger>,
    source: Option<String>,
    description: Option<String>,
    is_agentskills_format: bool,
    disable_model_invocation: bool,
}

/// When the agent uses a skill. Without a trigger, the skill is always active or the agent chooses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Trigger {
    Keyword { keywords: Vec<String> },
    Task { triggers: Vec<String> },
}

impl From<SkillInfo> for Skill {
    fn from(info: SkillInfo) -> Self {
        let SkillInfo { name, content, triggers, source, description, is_agentskills_format, disable_model_invocation } =
            info;
        let trigger = match triggers {
            none if none.is_empty() => None,
            triggers if triggers.iter().any(|trigger| trigger.starts_with('/')) => Some(Trigger::Task { triggers }),
            keywords => Some(Trigger::Keyword { keywords }),
        };
        Self { name, content, trigger, source, description, is_agentskills_format, disable_model_invocation }
    }
}

/// What the agent knows in addition to its tools.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct AgentContext {
    pub(crate) skills: Vec<Skill>,
    // The server has already returned these, in the response of `POST /api/skills`.
    load_public_skills: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) system_message_suffix: Option<String>,
    #[serde(rename = "registered_marketplaces", skip_serializing_if = "Vec::is_empty")]
    pub(crate) marketplaces: Vec<Marketplace>,
}

/// A marketplace, where plugins are found by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Marketplace {
    pub(crate) name: String,
    pub(crate) source: String,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_skill_is_sent_with_the_trigger_that_its_list_entry_means() {
        let sent = |entry: Value| {
            let info: SkillInfo = serde_json::from_value(entry).unwrap();
            serde_json::to_value(Skill::from(info)).unwrap()
        };
        // Recorded from 1.58.0.
        let listed = json!({"name": "shared", "type": "agentskills", "content": "body", "triggers": ["sharedkw"],
            "source": "/w/demo/.agents/skills/shared/SKILL.md", "description": "shared skill",
            "is_agentskills_format": true, "disable_model_invocation": false});
        assert_eq!(
            sent(listed),
            json!({"name": "shared", "content": "body", "trigger": {"type": "keyword", "keywords": ["sharedkw"]},
                "source": "/w/demo/.agents/skills/shared/SKILL.md", "description": "shared skill",
                "is_agentskills_format": true, "disable_model_invocation": false})
        );
        assert_eq!(sent(json!({"name": "agents", "content": "x", "triggers": []}))["trigger"], json!(null));
        let task = sent(json!({"name": "c", "content": "x", "triggers": ["kw", "/cmd"]}));
        assert_eq!(task["trigger"], json!({"type": "task", "triggers": ["kw", "/cmd"]}));
    }
}
