//! The flags that beat the task and the environment.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use openhands_client::ids::ConversationId;

use super::values::duration;
use crate::input::deadline::parse_deadline;
use crate::input::task::Task;

/// Arguments that beat the task and the environment.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct OverrideArgs {
    /// End the run after this time, such as 30m. Overrides the task's limit.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,

    /// End the run at this time (RFC 3339, or seconds since 1970), unless another limit ends it earlier.
    #[arg(long, value_name = "TIME", value_parser = parse_deadline)]
    pub(crate) deadline: Option<Timestamp>,

    /// Continue this conversation, or create it with this id.
    #[arg(long, value_name = "UUID")]
    pub(crate) conversation_id: Option<ConversationId>,

    /// Use this LLM profile of the account.
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,

    /// Use this agent profile of the account, by name or id. It names the LLM, the tools and the secrets that the agent may have.
    #[arg(long, value_name = "NAME")]
    pub(crate) agent_profile: Option<String>,

    /// Use this model, such as anthropic/claude-sonnet-4-5. Overrides the task's; for a profile of the account use --profile.
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// End the run after this many iterations of the agent. Overrides the task's limit.
    #[arg(long, visible_alias = "max-turns", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_iterations: Option<u32>,

    /// End the run when the conversation has cost this many US dollars. Overrides the task's limit.
    #[arg(long, visible_alias = "max-budget-usd", value_name = "USD", value_parser = dollars)]
    pub(crate) max_cost: Option<f64>,

    /// Do not remind the agent when a quarter and a tenth of the time, the cost or the steps are left.
    #[arg(long)]
    pub(crate) no_reminders: bool,

    /// Let the agent work in this directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) working_dir: Option<String>,

    /// Set `{{ params.KEY }}` of the task. May be repeated.
    #[arg(long = "param", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub(crate) params: Vec<(String, String)>,
}

impl OverrideArgs {
    /// The task with what overrides it.
    #[must_use]
    pub(crate) fn applied_to(&self, mut task: Task) -> Task {
        if let Some(model) = &self.model {
            task.llm.fields.insert("model".to_owned(), model.as_str().into());
        }
        task.limits.iterations = self.max_iterations.or(task.limits.iterations);
        task.limits.cost = self.max_cost.or(task.limits.cost);
        task
    }
}

pub(super) fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("write it as key=value".to_owned()),
    }
}

pub(super) fn dollars(text: &str) -> Result<f64, String> {
    match text.trim_start_matches('$').parse::<f64>() {
        Ok(dollars) if dollars.is_finite() && dollars > 0.0 => Ok(dollars),
        _ => Err("give a number of US dollars above 0, such as 2.50".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_override_the_limits_and_the_model_of_the_task() {
        let args = OverrideArgs {
            model: Some("openai/x".to_owned()),
            max_iterations: Some(7),
            max_cost: Some(2.5),
            ..OverrideArgs::default()
        };
        let task = args.applied_to(Task::default());
        assert_eq!(task.llm.fields["model"], "openai/x");
        assert_eq!((task.limits.iterations, task.limits.cost), (Some(7), Some(2.5)));
    }

    #[test]
    fn an_amount_is_a_number_above_zero() {
        assert_eq!((dollars("2.50"), dollars("$3")), (Ok(2.5), Ok(3.0)));
        for text in ["0", "-1", "NaN", "inf", "cheap", ""] {
            assert!(dollars(text).is_err(), "{text}");
        }
    }
}
