//! Names that users of other agents' command lines try first: flags that do the same here, and hints for those that do not.

use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory as _};

use super::Cli;

/// Flags that other programs have.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct FamiliarArgs {
    /// Also write the agent's final message into this file.
    #[arg(short = 'o', long, value_name = "FILE")]
    pub(crate) output_last_message: Option<PathBuf>,

    /// There is no other mode.
    #[arg(long, hide = true)]
    headless: bool,
}

/// An error of `run` about a flag of another program, or about a second task, says what to use here.
pub(super) fn with_hint(mut error: clap::Error) -> clap::Error {
    let about = |kind| match error.get(kind) {
        Some(ContextValue::String(argument)) => Some(argument.as_str()),
        _ => None,
    };
    let hint = match (error.kind(), about(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(flag)) if flag.starts_with('-') => hint(flag),
        (ErrorKind::UnknownArgument, Some(_)) => Some(ONE_TASK),
        (ErrorKind::ArgumentConflict, Some(argument)) if is_prompt_or_task(argument) => {
            about(ContextKind::PriorArg).filter(|prior| is_prompt_or_task(prior)).map(|_| PROMPT_OR_TASK)
        }
        _ => None,
    };
    let Some(hint) = hint else { return error };
    // The nearest flag of ours, and the usage of that, are guesses; this is not.
    error.remove(ContextKind::SuggestedArg);
    let mut command = Cli::command();
    command.build();
    if let Some(run) = command.find_subcommand_mut("run") {
        error.insert(ContextKind::Usage, ContextValue::StyledStr(run.render_usage()));
    }
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
    error
}

const ONE_TASK: &str =
    "`run` takes one task: name one task file, or write a prompt of several words in quotes: `run -p 'fix the tests'`";
const PROMPT_OR_TASK: &str =
    "give one of the two, a prompt or a task file; write a prompt of several words in quotes: `run -p 'fix the tests'`";

/// Whether an argument, as clap names it, is the prompt or the task file.
fn is_prompt_or_task(argument: &str) -> bool {
    argument.starts_with("--prompt") || argument == "[TASK]"
}

/// What to use here in place of a flag of another program.
fn hint(flag: &str) -> Option<&'static str> {
    let flag = flag.split('=').next().unwrap_or(flag);
    Some(match flag {
        "--resume" | "--continue" | "-c" | "-r" | "--session-id" => "`--conversation-id UUID` continues a conversation",
        "--cd" | "-C" | "--add-dir" => "`--working-dir DIR` is where the agent works",
        "--file" | "-f" | "--instructions" | "-i" | "--recipe" => "give the task file without a flag: `run task.md`",
        "--task" | "-t" | "--text" => "`-p TEXT` runs a text as the task",
        "--json" | "--verbose-json" | "--stream-json" => {
            "`--format jsonl` prints every event, and `--format json` the result"
        }
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
