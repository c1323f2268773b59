//! Names that users of other agents' command lines try first: flags that do the same here, and hints for those that do not.

use std::path::PathBuf;

use clap::Args;

use crate::input::task::Task;

/// What beats the task, under the names that other programs have for it.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct FamiliarArgs {
    /// The LLM's model, such as anthropic/claude-sonnet-4-5. Overrides the task's; for one of the account's profiles use --profile.
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// The most iterations of the agent. Overrides the task's limit.
    #[arg(long, visible_alias = "max-turns", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_iterations: Option<u32>,

    /// End the run when the conversation has cost so many US dollars. Overrides the task's limit.
    #[arg(long, visible_alias = "max-budget-usd", value_name = "USD", value_parser = dollars)]
    pub(crate) max_cost: Option<f64>,

    /// Also write the agent's final message into this file.
    #[arg(short = 'o', long, value_name = "FILE")]
    pub(crate) output_last_message: Option<PathBuf>,

    /// There is no other mode.
    #[arg(long, hide = true)]
    headless: bool,
}

impl FamiliarArgs {
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

fn dollars(text: &str) -> Result<f64, String> {
    match text.trim_start_matches('$').parse::<f64>() {
        Ok(dollars) if dollars.is_finite() && dollars > 0.0 => Ok(dollars),
        _ => Err("give a number of US dollars above 0, such as 2.50".to_owned()),
    }
}

/// What to use here in place of a flag of another program.
#[must_use]
pub(crate) fn hint(flag: &str) -> Option<&'static str> {
    let flag = flag.split('=').next().unwrap_or(flag);
    Some(match flag {
        "--resume" | "--continue" | "-c" | "-r" | "--session-id" => "`--conversation-id UUID` continues a conversation",
        "--cd" | "-C" | "--add-dir" => "`--working-dir DIR` is where the agent works",
        "--file" | "-f" | "--instructions" | "-i" | "--recipe" => "give the task file without a flag: `run task.md`",
        "--task" | "-t" | "--text" => "`-p TEXT` runs a text as the task",
        "--verbose-json" | "--stream-json" => "`--format jsonl` prints every event",
        "--allowedTools" | "--allowed-tools" | "--disallowedTools" | "--tools" | "--sandbox-mode" => {
            "the agent's tools are those of its agent-server; this program does not choose them"
        }
        "--dangerously-skip-permissions" | "--yolo" | "--full-auto" | "--permission-mode" | "--always-approve" => {
            "the agent asks for no permission here: its sandbox is the limit"
        }
        "--system-prompt" | "--append-system-prompt" => {
            "write instructions for the agent into the task, or into a skill"
        }
        "--mcp-config" => "write MCP servers into the task file: `mcp`",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_override_the_limits_and_the_model_of_the_task() {
        let args = FamiliarArgs {
            model: Some("openai/x".to_owned()),
            max_iterations: Some(7),
            max_cost: Some(2.5),
            ..FamiliarArgs::default()
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
