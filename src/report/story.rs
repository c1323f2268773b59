//! The story of a run as a plain value. Its texts are bounded, however long the run was.

use serde::Serialize;

use super::extract::{Extract, cost};
use super::timeline::{Costs, Timeline};
use crate::outcome::FailureKind;

/// Bytes of HTML for the patch.
const PATCH_BUDGET: usize = 512 << 10;
/// Bytes of HTML around a line of the patch.
const LINE_MARKUP: usize = 40;

/// What happened in a run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Story {
    /// How it ended, if the lines say so.
    pub(crate) verdict: Option<Ending>,
    /// Whether it is that of a conversation, which does not know of runs.
    pub(crate) is_conversation: bool,
    /// The messages to the agent.
    pub(crate) messages: Vec<Extract>,
    /// Further messages.
    pub(crate) messages_left_out: usize,
    /// What the agent said at its end.
    pub(crate) answer: Option<Extract>,
    /// What is known of the run, as names and values.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// The checks of the task, as they ended last.
    pub(crate) checks: Vec<Check>,
    /// The number of further checks.
    pub(crate) checks_left_out: usize,
    /// What the run did not have, or did not find.
    pub(crate) warnings: Vec<String>,
    /// Further warnings.
    pub(crate) warnings_left_out: usize,
    /// The limit that ended the run.
    pub(crate) limit: Option<LimitReached>,
    /// What the agent did, one after the other.
    pub(crate) steps: Vec<Step>,
    /// Steps without their texts.
    pub(crate) left_out: usize,
    /// Steps in all.
    pub(crate) count: usize,
    /// Seconds from the first to the last event.
    pub(crate) seconds: f64,
    /// Seconds in which the agent waited for its LLM.
    pub(crate) llm_seconds: f64,
    /// Seconds in which tools worked.
    pub(crate) tool_seconds: f64,
    /// The steps to scale.
    pub(crate) timeline: Timeline,
    /// Cost and tokens over time.
    pub(crate) costs: Costs,
    /// The changes in the repositories.
    pub(crate) patch: Option<Patch>,
}

/// The beginning of a patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Patch {
    /// Its lines.
    pub(crate) lines: Vec<String>,
    /// Bytes that are left out.
    pub(crate) left_out: u64,
}

impl Patch {
    /// Describes a patch of this many bytes that begins with this text.
    pub(super) fn new(text: &str, size: u64) -> Self {
        let (mut lines, mut spent, mut read) = (Vec::new(), 0, 0);
        for line in text.split_inclusive('\n') {
            let shown = line.trim_end_matches(['\n', '\r']);
            spent += cost(shown) + LINE_MARKUP;
            if spent > PATCH_BUDGET {
                break;
            }
            read += line.len() as u64;
            lines.push(shown.to_owned());
        }
        Self { lines, left_out: size.saturating_sub(read) }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Ending {
    /// COMPLETED or FAILED.
    pub(crate) status: String,
    /// Whether it is COMPLETED.
    pub(crate) completed: bool,
    /// Why it failed, in one word.
    pub(crate) code: Option<String>,
    /// Why it failed, for people.
    pub(crate) detail: Option<Extract>,
    /// What to do about it.
    pub(crate) help: Option<String>,
}

/// A limit that ended a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct LimitReached {
    /// Which one, and that it was reached.
    pub(crate) name: &'static str,
    /// Seconds since the first event.
    pub(crate) at: f64,
}

impl LimitReached {
    /// The limit that a failure with this code names.
    pub(super) fn of(code: &str, at: f64) -> Option<Self> {
        let limits = [
            (FailureKind::Timeout.code(), "Time limit reached"),
            (FailureKind::CostLimitReached.code(), "Cost limit reached"),
            // The agent-server's.
            ("MaxIterationsReached", "Limit of iterations reached"),
        ];
        let (_, name) = limits.into_iter().find(|(of, _)| *of == code)?;
        Some(Self { name, at })
    }
}

/// A check of the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) passed: bool,
    /// How it ended.
    pub(crate) ending: String,
    /// Files that it calls and that were changed since the agent started.
    pub(crate) changed: Vec<String>,
}

/// What a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StepKind {
    /// The agent used a tool.
    Tool,
    /// The agent said something.
    Agent,
    /// A message to the agent.
    User,
    /// Something went wrong outside of a tool.
    Error,
}

/// One step.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Step {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) kind: StepKind,
    /// Seconds since the first event.
    pub(crate) at: Option<f64>,
    /// Seconds of the LLM before it.
    pub(crate) llm: Option<f64>,
    /// Seconds of the tool.
    pub(crate) tool_seconds: Option<f64>,
    /// The tool's name.
    pub(crate) tool: String,
    /// In one line.
    pub(crate) title: String,
    /// The command, the path, or the whole message.
    pub(crate) command: Option<Extract>,
    /// What the tool gave.
    pub(crate) output: Option<Extract>,
    /// The exit code of a command.
    pub(crate) exit_code: Option<i64>,
    /// Whether it went wrong.
    pub(crate) failed: bool,
    /// Whether its texts are left out.
    pub(crate) left_out: bool,
}
