//! The commands that work from outside of a sandbox.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use openhands_client::secret::Secret;

use super::automation::AutomationArgs;
use super::batch::{BatchArgs, Place};
use super::examples::{
    AUTOMATION_EXAMPLES, BATCH_EXAMPLES, CHECK_EXAMPLES, CP_EXAMPLES, CREATE_EXAMPLES, DELETE_EXAMPLES, EXEC_EXAMPLES,
    LAUNCH_EXAMPLES, LIST_EXAMPLES, PAUSE_EXAMPLES, RESUME_EXAMPLES, SANDBOX_EXAMPLES, STATUS_EXAMPLES,
};
use super::overrides::key_and_value;
use super::sandbox::{NewSandboxArgs, ProviderArgs, ProvisionArgs};
use super::values::duration;
use super::{Deferred, ExportArgs, LogFormat, OverrideArgs, RowsArgs};
use crate::input::env;
use crate::input::time_limits::RunnerTimeLimits;
#[cfg(debug_assertions)]
use crate::input::time_scale::TimeScale;

/// What to do from outside.
#[derive(Debug, Subcommand)]
pub(crate) enum OutsideCommand {
    /// Create, list, pause, resume and delete sandboxes.
    #[command(after_help = SANDBOX_EXAMPLES)]
    Sandbox(Deferred<SandboxArgs>),
    /// Run a command in a sandbox; the exit code is the command's.
    #[command(after_help = EXEC_EXAMPLES)]
    Exec(Deferred<ExecArgs>),
    /// Copy files and folders into a sandbox or out of it.
    #[command(after_help = CP_EXAMPLES)]
    Cp(Deferred<CpArgs>),
    /// Upload this program and a task to a sandbox, start the run there, and detach.
    #[command(after_help = LAUNCH_EXAMPLES)]
    Launch(Deferred<LaunchArgs>),
    /// Run a task on a schedule or on an event, with the automation service.
    #[command(after_help = AUTOMATION_EXAMPLES)]
    Automation(Deferred<AutomationArgs>),
    /// Run a task for each row of a file, and join the results.
    #[command(after_help = BATCH_EXAMPLES)]
    Batch(Deferred<BatchArgs>),
    /// Check configuration and connectivity, and suggest fixes.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Deferred<CheckArgs>),
}

/// Arguments of `sandbox`.
#[derive(Debug, Args)]
pub(crate) struct SandboxArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub(crate) command: SandboxCommand,

    /// Output and log.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// What to do with sandboxes.
#[derive(Debug, Subcommand)]
pub(crate) enum SandboxCommand {
    /// Create a sandbox, wait until it is ready, and print its id. It stays until you delete it.
    #[command(after_help = CREATE_EXAMPLES)]
    Create {
        /// Who makes it.
        #[command(flatten)]
        provider: ProviderArgs,
        /// The sandbox.
        #[command(flatten)]
        new: ProvisionArgs,
    },
    /// List the sandboxes of the Cloud account, the newest first.
    #[command(after_help = LIST_EXAMPLES)]
    List,
    /// Print the status of a sandbox of the Cloud account.
    #[command(after_help = STATUS_EXAMPLES)]
    Status {
        /// Its id.
        id: String,
    },
    /// Pause a sandbox.
    #[command(after_help = PAUSE_EXAMPLES)]
    Pause {
        /// Its id.
        id: String,
        /// Who has made it.
        #[command(flatten)]
        provider: ProviderArgs,
    },
    /// Resume a sandbox, and wait until it is ready.
    #[command(after_help = RESUME_EXAMPLES)]
    Resume {
        /// Its id.
        id: String,
        /// Who has made it.
        #[command(flatten)]
        provider: ProviderArgs,
        /// Times.
        #[command(flatten)]
        times: ProvisionArgs,
    },
    /// Delete sandboxes.
    #[command(after_help = DELETE_EXAMPLES)]
    Delete {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<String>,
        /// Who has made them.
        #[command(flatten)]
        provider: ProviderArgs,
    },
}

/// What every command from outside takes.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct CommonArgs {
    /// Choose what to print on stdout.
    #[arg(long, visible_alias = "output-format", value_enum, default_value_t, global = true)]
    pub(crate) format: ResultFormat,

    /// Choose the format of log lines; RUST_LOG sets the level.
    #[arg(long, value_enum, default_value_t, global = true)]
    pub(crate) log_format: LogFormat,

    /// Multiply time limits, here and in the sandbox; for tests that wait for them.
    #[cfg(debug_assertions)]
    #[arg(long, hide = true, value_name = "FACTORS")]
    pub(crate) time_scale: Option<TimeScale>,
}

/// What to print on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ResultFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// Arguments of `exec`.
#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// Who makes the sandbox.
    #[command(flatten)]
    pub(crate) provider: ProviderArgs,

    /// The sandbox.
    #[command(flatten)]
    pub(crate) sandbox: NewSandboxArgs,

    /// Run the command in this directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<String>,

    /// Set a variable for the command: NAME=VALUE, or NAME to pass on its value here. May be repeated.
    #[arg(long = "env", value_name = "NAME[=VALUE]", value_parser = variable)]
    pub(crate) environment: Vec<(String, Secret)>,

    /// End the command after this time, such as 30m.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,

    /// Pass stdin on to the command, which starts when stdin ends. Default: an empty stdin.
    #[arg(short = 'i', long)]
    pub(crate) stdin: bool,

    /// Output and log.
    #[command(flatten)]
    pub(crate) common: CommonArgs,

    /// The command. One argument is a line for the shell; several are a program and its arguments.
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<String>,
}

fn variable(text: &str) -> Result<(String, Secret), String> {
    match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), Secret::new(value))),
        // Read now: afterwards our own keys are concealed.
        None => match env::variable(text) {
            Some(value) => Ok((text.to_owned(), value)),
            None => Err(format!("{text} is not set here; give {text}=VALUE")),
        },
    }
}

impl OutsideCommand {
    /// What is wrong with its flags for the provider of its sandbox.
    pub(super) fn refusal(&self) -> Option<String> {
        match self {
            Self::Sandbox(Deferred(args)) => match &args.command {
                SandboxCommand::Create { provider, new } => new.refusal(provider.kind),
                SandboxCommand::Resume { provider, times, .. } => times.refusal(provider.kind),
                _ => None,
            },
            Self::Exec(Deferred(args)) => args.sandbox.provision.refusal(args.provider.kind),
            Self::Launch(Deferred(args)) => args.sandbox.provision.refusal(args.provider.kind),
            Self::Batch(Deferred(args)) => match args.start.place {
                Place::Sandboxes(kind) => args.start.provision.refusal(kind),
                Place::Server(_) => None,
            },
            _ => None,
        }
    }

    /// Output and log of the command.
    #[must_use]
    pub(crate) fn common(&self) -> &CommonArgs {
        match self {
            Self::Sandbox(Deferred(args)) => &args.common,
            Self::Exec(Deferred(args)) => &args.common,
            Self::Cp(Deferred(args)) => &args.common,
            Self::Launch(Deferred(args)) => &args.common,
            Self::Automation(Deferred(args)) => &args.common,
            Self::Batch(Deferred(args)) => &args.common,
            Self::Check(Deferred(args)) => &args.common,
        }
    }

    /// The time limits of this command.
    #[must_use]
    pub(crate) fn time_limits(&self) -> RunnerTimeLimits {
        #[cfg_attr(not(debug_assertions), expect(unused_mut, reason = "only builds for tests change limits"))]
        let mut limits = RunnerTimeLimits::default();
        #[cfg(debug_assertions)]
        if let Some(scale) = &self.common().time_scale {
            scale.apply(&mut limits);
        }
        limits
    }
}

/// Arguments of `cp`.
#[derive(Debug, Args)]
pub(crate) struct CpArgs {
    /// The source: a file or folder here, or SANDBOX:PATH.
    pub(crate) from: CopyPlace,
    /// The destination. If it is an existing folder, the copy goes into it.
    pub(crate) to: CopyPlace,
    /// Who has made the sandbox.
    #[command(flatten)]
    pub(crate) provider: ProviderArgs,
    /// Output and log.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// A path here or in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CopyPlace {
    /// On this machine.
    Here(PathBuf),
    /// In a sandbox.
    Sandbox {
        /// Its id.
        id: String,
        /// The absolute path.
        path: String,
    },
}

impl fmt::Display for CopyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(path) => write!(f, "{}", path.display()),
            Self::Sandbox { id, path } => write!(f, "{id}:{path}"),
        }
    }
}

impl FromStr for CopyPlace {
    type Err = std::convert::Infallible;

    /// A `:` after a first part without `/` names a sandbox; `./a:b` is a path here.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once(':') {
            Some((id, path)) if !id.is_empty() && !id.contains('/') => {
                Self::Sandbox { id: id.to_owned(), path: path.to_owned() }
            }
            _ => Self::Here(text.into()),
        })
    }
}

/// Arguments of `launch`.
#[derive(Debug, Args)]
pub(crate) struct LaunchArgs {
    /// The task file, or `-` for standard input. Default: as in `run`.
    pub(crate) task: Option<PathBuf>,

    /// Who makes the sandbox.
    #[command(flatten)]
    pub(crate) provider: ProviderArgs,

    /// The sandbox.
    #[command(flatten)]
    pub(crate) sandbox: NewSandboxArgs,

    /// What beats the task and the environment.
    #[command(flatten)]
    pub(crate) overrides: OverrideArgs,

    /// Wait for the end of the run, print its result, and delete the sandbox.
    #[arg(long)]
    pub(crate) wait: bool,

    /// Like --wait, and show the run's log.
    #[arg(long)]
    pub(crate) follow: bool,

    /// Like --wait, and copy the folder of the run into this new folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Also write what other tools read into that folder.
    #[command(flatten)]
    pub(crate) exports: ExportArgs,

    /// Upload this binary [default: this program].
    #[arg(long, value_name = "FILE")]
    pub(crate) binary: Option<PathBuf>,

    /// Output and log.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The task file. Default: as in `run`.
    pub(crate) task: Option<PathBuf>,

    /// Rows with which the task is checked, each of them.
    #[command(flatten)]
    pub(crate) rows: RowsArgs,

    /// Set `{{ params.KEY }}` of the task. May be repeated.
    #[arg(long = "param", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub(crate) params: Vec<(String, String)>,

    /// Output and log.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_sandbox_has_its_id_before_a_colon() {
        let place = |text: &str| text.parse::<CopyPlace>().unwrap();
        let there = |id: &str, path: &str| CopyPlace::Sandbox { id: id.to_owned(), path: path.to_owned() };
        assert_eq!(place("abc:/x y"), there("abc", "/x y"));
        assert_eq!(place("abc:/x:y"), there("abc", "/x:y"));
        for here in ["a", "./a:b", "/a:b", ":b"] {
            assert_eq!(place(here), CopyPlace::Here(here.into()));
        }
    }
}
