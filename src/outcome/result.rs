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

/// The version of the schema below. It increases with every change that a test detects; within version 1, fields are never
/// removed or renamed.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// The result of a run, in `--format json`, `--result` and the run folder. Unknown values are left out.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "openhands-runner result", extend("$id" = "urn:openhands-runner:result:1"))]
pub(crate) struct RunResult {
    /// The version of this schema.
    pub(crate) schema_version: u32,
    /// COMPLETED or FAILED.
    pub(crate) status: OutcomeStatus,
    /// `AUTOMATION_RUN_ID`, or else `RUN_ID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run_id: Option<String>,
    /// The agent-server's id of the conversation, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) conversation_id: Option<String>,
    /// The sandbox of a run that is driven from outside, even if it has been deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sandbox_id: Option<String>,
    /// The cost of the conversation in US dollars; left out if it is unknown.
    #[serde(skip_serializing_if = "Cost::is_unknown")]
    pub(crate) cost: Cost,
    /// `true` if time ran out and the agent wrapped up when it was asked to. The task may be done only in part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cut_short: Option<bool>,
    /// The agent's final message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// The result of the task, if the agent was asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) task_outcome: Option<TaskOutcome>,
    /// The object for the task's `result.schema`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<Value>,
    /// Why the run failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ResultError>,
    /// Problems that did not make the run fail.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
    /// Measured and counted values.
    #[serde(flatten)]
    pub(crate) facts: Facts,
    /// The exit code of the process.
    pub(crate) exit_code: u8,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ResultError {
    /// The server's code, such as `LLMAuthenticationError`, or else a code of this program.
    pub(crate) code: String,
    /// The reason for people.
    pub(crate) detail: String,
    /// What a user can do next.
    pub(crate) help: String,
    /// The errors that the user has to correct, if the input is invalid.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) problems: Vec<Problem>,
}

impl ResultError {
    /// Returns the problems, or the failure as a problem.
    #[must_use]
    pub(crate) fn to_problems(&self) -> Vec<Problem> {
        if self.problems.is_empty() {
            vec![Problem::new("", self.detail.as_str(), self.help.as_str())]
        } else {
            self.problems.clone()
        }
    }
}

/// Measured and counted values of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub(crate) struct Facts {
    /// The agent's model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    /// The LLM profile of the account that was requested.
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
    /// The stages of the run in their order, with the time of each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) stages: Vec<StageTime>,
    /// The number of messages to the agent, one for each turn. Messages that a resumed run finds are included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turns: Option<u64>,
    /// The number of the agent's steps that this run has seen: responses of its LLM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) iterations: Option<u64>,
    /// Seconds in which the agent waited for its LLM, from the timestamps of the events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) llm_seconds: Option<f64>,
    /// Seconds in which the agent's tools ran, from the timestamps of the events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool_seconds: Option<f64>,
    /// Tokens of the whole conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tokens: Option<TokenCount>,
    /// Tokens and cost of each usage id, such as `agent` and `condenser`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) usage: BTreeMap<String, UsageOf>,
    /// The results of the task's `setup` commands, as far as they ran.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) setup: Vec<CommandResult>,
    /// The last results of the task's checks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) checks: Vec<CheckResult>,
    /// How many times the checks ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) check_attempts: Option<u32>,
    /// The collected work of the agent.
    #[serde(flatten)]
    pub(crate) salvage: Salvage,
}

impl Facts {
    /// Returns the same without secrets, which a name or an address may contain.
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

    /// Sets the usage of the conversation, as far as the server reports it.
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

/// Token counts, as the server reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub(crate) struct TokenCount {
    /// Prompt tokens.
    pub(crate) prompt: u64,
    /// Completion tokens.
    pub(crate) completion: u64,
    /// Prompt tokens that were read from a cache.
    pub(crate) cache_read: u64,
    /// Prompt tokens that were written to a cache.
    pub(crate) cache_write: u64,
    /// Completion tokens that the LLM used for reasoning.
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

/// The usage of one usage id.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub(crate) struct UsageOf {
    /// The cost in US dollars; left out if it is unknown.
    #[serde(skip_serializing_if = "Cost::is_unknown")]
    pub(crate) cost: Cost,
    /// The tokens.
    #[serde(flatten)]
    pub(crate) tokens: TokenCount,
}

impl From<&Metrics> for UsageOf {
    fn from(metrics: &Metrics) -> Self {
        Self { cost: metrics.cost, tokens: metrics.tokens.into() }
    }
}
