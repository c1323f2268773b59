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

/// An error of `run` about a flag of another program says what to use here.
pub(super) fn with_hint(mut error: clap::Error) -> clap::Error {
    let flag = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(flag)) if error.kind() == ErrorKind::UnknownArgument => hint(flag),
        _ => None,
    };
    let Some(hint) = flag else { return error };
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
