//! The result object of a run.

use openhands_client::collections::inserted;
use std::collections::BTreeMap;

use openhands_client::agent_server::wire::{Cost, Metrics, Tokens, Usage};
use openhands_client::automation::completion::{OutcomeStatus, TaskOutcome};
use openhands_client::secret::Redactor;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::salvage::Salvage;
use super::{CheckResult, CommandResult};
use crate::problem::Problem;

/// The version of the schema below. It grows with every change that a test finds; a field is never removed or renamed within 1.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// The result of a run, as `--format json`, `--result` and the run folder give it. What is not known is left out.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "openhands-runner result", extend("$id" = "urn:openhands-runner:result:1"))]
pub(crate) struct RunResult {
    /// The version of this schema.
    pub(crate) schema_version: u32,
    /// COMPLETED or FAILED.
    pub(crate) status: OutcomeStatus,
    /// `AUTOMATION_RUN_ID`, else `RUN_ID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run_id: Option<String>,
    /// The agent-server's id of the conversation, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) conversation_id: Option<String>,
    /// The sandbox of a run that is driven from outside, also when it has been deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sandbox_id: Option<String>,
    /// US dollars that the conversation has cost; left out when unknown.
    #[serde(skip_serializing_if = "Cost::is_unknown")]
    pub(crate) cost: Cost,
    /// `true` where time ran out and the agent wrapped up when it was asked to: what it did may be a part of the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cut_short: Option<bool>,
    /// The agent's final message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// How the task went, where the agent was asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) task_outcome: Option<TaskOutcome>,
    /// The object of the task's `result.schema`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<Value>,
    /// Why the run failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ResultError>,
    /// What the run did not have, or did not find, without failing for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
    /// What was measured and counted.
    #[serde(flatten)]
    pub(crate) facts: Facts,
    /// The exit code of the process.
    pub(crate) exit_code: u8,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ResultError {
    /// The server's code, such as `LLMAuthenticationError`, else one of this program's.
    pub(crate) code: String,
    /// The reason for people.
    pub(crate) detail: String,
    /// What a user can do next.
    pub(crate) help: String,
    /// Each thing that the user has to correct, if the input is invalid.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) problems: Vec<Problem>,
}

impl ResultError {
    /// The problems, or the failure as one.
    #[must_use]
    pub(crate) fn to_problems(&self) -> Vec<Problem> {
        if self.problems.is_empty() {
            vec![Problem::new("", self.detail.as_str(), self.help.as_str())]
        } else {
            self.problems.clone()
        }
    }
}

/// What was measured and counted of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub(crate) struct Facts {
    /// The agent's model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    /// The account's LLM profile that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<String>,
    /// The version of the agent-server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_version: Option<String>,
    /// When the run started, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) started_at: Option<String>,
    /// How long the run took until its result, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seconds: Option<f64>,
    /// The stages of the run, in their order, and how long each took.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) stages: Vec<StageTime>,
    /// Messages that were sent to the agent, each a turn. One that a resumed run finds counts too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turns: Option<u64>,
    /// Steps of the agent that this run has seen: responses of its LLM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) iterations: Option<u64>,
    /// Seconds in which the agent waited for its LLM, by the times of the events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) llm_seconds: Option<f64>,
    /// Seconds in which the agent's tools were at work, by the times of the events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool_seconds: Option<f64>,
    /// Tokens of the whole conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tokens: Option<TokenCount>,
    /// Tokens and cost of each usage id, such as `agent` and `condenser`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) usage: BTreeMap<String, UsageOf>,
    /// What the commands of the task's `setup` did, as far as they were run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) setup: Vec<CommandResult>,
    /// What the checks of the task did when they ran last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) checks: Vec<CheckResult>,
    /// How often the checks ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) check_attempts: Option<u32>,
    /// What was kept of the agent's work.
    #[serde(flatten)]
    pub(crate) salvage: Salvage,
}

impl Facts {
    /// The same without secrets, which a name or an address may hold.
    #[must_use]
    pub(super) fn without_secrets(&self, redactor: &Redactor) -> Self {
        let clean = |text: &str| redactor.redact(text).into_owned();
        let mut facts = self.clone();
        for text in [&mut facts.model, &mut facts.profile, &mut facts.server_version].into_iter().flatten() {
            *text = clean(text);
        }
        facts.usage = inserted(std::mem::take(&mut facts.usage).into_iter().map(|(id, usage)| (clean(&id), usage)));
        for command in &mut facts.setup {
            *command = command.without_secrets(redactor);
        }
        for check in &mut facts.checks {
            *check = check.without_secrets(redactor);
        }
        for changes in &mut facts.salvage.changes {
            changes.repository = clean(&changes.repository);
            changes.files.iter_mut().for_each(|file| file.path = clean(&file.path));
        }
        facts
    }

    /// What the conversation has used, as far as the server says.
    pub(crate) fn set_usage(&mut self, usage: &Usage) {
        if usage.is_empty() {
            return;
        }
        self.tokens = Some(usage.tokens().into());
        self.usage = inserted(usage.iter().map(|(id, metrics)| (id.to_owned(), metrics.into())));
    }
}

/// A stage of a run.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct StageTime {
    /// `setup`, `repositories`, `skills`, `conversation`, `setup commands`, `turn 1`, `checks 1` …
    pub(crate) stage: String,
    /// How long it took.
    pub(crate) seconds: f64,
}

/// Numbers of tokens, as the server counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub(crate) struct TokenCount {
    /// Tokens of prompts.
    pub(crate) prompt: u64,
    /// Tokens of responses.
    pub(crate) completion: u64,
    /// Tokens of prompts that a cache held.
    pub(crate) cache_read: u64,
    /// Tokens of prompts that were written into a cache.
    pub(crate) cache_write: u64,
    /// Tokens of responses that the LLM spent on reasoning.
    pub(crate) reasoning: u64,
}

impl From<Tokens> for TokenCount {
    fn from(tokens: Tokens) -> Self {
        Self {
            prompt: tokens.prompt,
            completion: tokens.completion,
            cache_read: tokens.cache_read,
            cache_write: tokens.cache_write,
            reasoning: tokens.reasoning,
        }
    }
}

/// What one usage id has used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub(crate) struct UsageOf {
    /// US dollars; left out when unknown.
    #[serde(skip_serializing_if = "Cost::is_unknown")]
    pub(crate) cost: Cost,
    /// Its tokens.
    #[serde(flatten)]
    pub(crate) tokens: TokenCount,
}

impl From<&Metrics> for UsageOf {
    fn from(metrics: &Metrics) -> Self {
        Self { cost: metrics.cost, tokens: metrics.tokens.into() }
    }
}
