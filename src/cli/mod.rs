//! The command line: what can be typed, and its help. Knows no defaults that the configuration owns.

mod automation;
mod batch;
mod deferred;
mod examples;
mod familiar;
mod manual;
mod outside;
mod overrides;
mod report;
mod rows;
mod sandbox;
mod values;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use openhands_client::redact;
use openhands_client::secret::{MASK, Secret};
use url::Url;

use crate::input::time_limits::RunnerTimeLimits;
#[cfg(debug_assertions)]
use crate::input::time_scale::TimeScale;
use crate::input::values::misread;
use crate::problem::{self, nearest};

use self::examples::{
    COMPLETIONS_EXAMPLES, EXAMPLES, MAN_EXAMPLES, REPORT_EXAMPLES, RUN_EXAMPLES, SCHEMA_EXAMPLES, SHOW_EXAMPLES,
};
pub(crate) use automation::{AutomationCommand, CreateArgs, DetailArgs, PackArgs, RunnerSource, UpdateArgs};
pub(crate) use batch::{BatchArgs, BatchCommand, Place, StartArgs};
pub(crate) use deferred::Deferred;

use self::values::duration;
pub(crate) use familiar::FamiliarArgs;
pub(crate) use manual::{completions, manual};
pub(crate) use outside::{
    CheckArgs, CommonArgs, CopyPlace, CpArgs, ExecArgs, LaunchArgs, OutsideCommand, ResultFormat, SandboxCommand,
};
pub(crate) use overrides::OverrideArgs;
pub(crate) use report::{ReportArgs, ShowArgs};
pub(crate) use rows::{RowArgs, RowChoice, RowsArgs};
pub(crate) use sandbox::{NewSandboxArgs, ProviderArgs, ProvisionArgs, WorkspaceKind};
pub(crate) use values::{ColorChoice, HookEvent, LogFormat, OutputFormat};

/// Runs an OpenHands automation inside its sandbox.
#[derive(Debug, Parser)]
#[command(version, long_version = LONG_VERSION, about, long_about = None, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Without a command: `run` with the task in the working directory.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Number, commit and target.
const LONG_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BUILT_FROM"), ")");

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a task in this sandbox, and report its outcome.
    #[command(after_help = RUN_EXAMPLES)]
    Run(Deferred<RunArgs>),
    /// What the agent-server runs when the agent finishes. Not for people.
    #[command(hide = true)]
    Hook {
        /// When it is run.
        #[arg(value_enum)]
        event: HookEvent,
    },
    /// A command from outside of a sandbox.
    #[command(flatten)]
    Outside(Box<OutsideCommand>),
    /// Write what happened in a run as one HTML page.
    #[command(after_help = REPORT_EXAMPLES)]
    Report(Deferred<ReportArgs>),
    /// Print what happened in a run.
    #[command(after_help = SHOW_EXAMPLES)]
    Show(Deferred<ShowArgs>),
    /// Print the completions of a shell.
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    #[command(after_help = MAN_EXAMPLES)]
    Man,
    /// Print the JSON Schema of the task file or of the JSON result.
    #[command(after_help = SCHEMA_EXAMPLES)]
    Schema {
        /// The schema to print.
        #[arg(value_enum, default_value_t)]
        of: SchemaOf,
    },
}

impl Command {
    /// What is wrong with flags for a sandbox that there is not, or that its provider does not know.
    fn refusal(&self) -> Option<String> {
        match self {
            Self::Run(Deferred(args)) => match args.workspace {
                WorkspaceKind::Outside(provider) => args.sandbox.provision.refusal(provider),
                WorkspaceKind::Inside => args.sandbox.given().map(|flag| {
                    let provider = if matches!(flag, "--image" | "--volume") { "docker" } else { "cloud" };
                    format!("`{flag}` is for a sandbox that is used from outside: add `--workspace {provider}`")
                }),
            },
            Self::Outside(command) => command.refusal(),
            _ => None,
        }
    }
}

/// Which schema to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum SchemaOf {
    /// The task file.
    #[default]
    Task,
    /// The JSON result, as `--format json` and `--result` give it.
    Result,
}

/// Arguments of `run`.
#[derive(Debug, Clone, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct RunArgs {
    /// The task file (Markdown with optional YAML front matter, YAML or JSON), or `-` for standard input.
    ///
    /// Default: the first of task.md, task.yaml, task.json and prompt.txt in the working directory.
    pub(crate) task: Option<PathBuf>,

    /// Run this text as the task; `-` reads it from standard input.
    #[arg(short, long, value_name = "TEXT", conflicts_with = "task")]
    pub(crate) prompt: Option<String>,

    /// Send the text below the front matter as it is, without fields and templates.
    #[arg(long)]
    pub(crate) plain: bool,

    /// The row of the run.
    #[command(flatten)]
    pub(crate) row: RowArgs,

    /// Choose what to print on stdout.
    #[arg(long, visible_alias = "output-format", value_enum, default_value_t)]
    pub(crate) format: OutputFormat,

    /// Also write the JSON result into this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) result: Option<PathBuf>,

    /// Write the result, the events, the answer and the patch into this new folder, outside the agent's workspace.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Also write what other tools read into that folder.
    #[command(flatten)]
    pub(crate) exports: ExportArgs,

    /// Keep the state of the run in this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) status: Option<PathBuf>,

    /// Choose the format of log lines; RUST_LOG sets the level.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,

    /// What people see on stderr.
    #[command(flatten)]
    pub(crate) view: ViewArgs,

    /// What beats the task and the environment.
    #[command(flatten)]
    pub(crate) overrides: OverrideArgs,

    /// Under the names of other programs.
    #[command(flatten)]
    pub(crate) familiar: FamiliarArgs,

    /// Wait this long for the agent-server [default: 120s].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) ready_timeout: Option<Duration>,

    /// Ask the agent to wrap up this long before the time limit [default: 10s].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) soft_landing: Option<Duration>,

    /// Do not ask the agent to wrap up before the time limit.
    #[arg(long, conflicts_with = "soft_landing")]
    pub(crate) no_soft_landing: bool,

    /// Start the agent-server with this command, and end it after the run.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) server_command: Option<String>,

    /// Write the output of that agent-server into this file. Default: the log.
    #[arg(long, value_name = "FILE", requires = "server_command")]
    pub(crate) server_log: Option<PathBuf>,

    /// Refuse to run if another process was tracing this one when it started, and can read its keys.
    #[arg(long)]
    pub(crate) refuse_tracer: bool,

    /// Let the guardian retry for this long if the runner cannot deliver the callback [default: 15m].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) guardian_budget: Option<Duration>,

    /// Let a new runner of the same run take over for this long after this one is killed [default: 3s].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) restart_grace: Option<Duration>,

    /// Use the agent-server at this address. Default: localhost at AGENT_SERVER_PORT.
    #[arg(long, value_name = "URL", value_parser = http_url)]
    pub(crate) agent_server_url: Option<Url>,

    /// Choose where the agent works.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) workspace: WorkspaceKind,

    /// A sandbox for the run.
    #[command(flatten)]
    pub(crate) sandbox: NewSandboxArgs,

    /// Panic once there is a conversation; for tests of what becomes of the outcome.
    #[cfg(debug_assertions)]
    #[arg(long, hide = true)]
    pub(crate) panic: bool,

    /// Multiply time limits; for tests that wait for them.
    #[cfg(debug_assertions)]
    #[arg(long, hide = true, value_name = "FACTORS")]
    pub(crate) time_scale: Option<TimeScale>,
}

/// What people see on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Args)]
pub(crate) struct ViewArgs {
    /// Show only warnings and errors on stderr.
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Show complete commands on stderr, with their exit codes.
    #[arg(short, long, conflicts_with = "quiet")]
    pub(crate) verbose: bool,

    /// Use colors on stderr.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub(crate) color: ColorChoice,
}

/// Further files of the run folder.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct ExportArgs {
    /// Write junit.xml into the folder of --out: the run as a test report.
    #[arg(long, requires = "out")]
    pub(crate) junit: bool,

    /// Write trajectory.json into the folder of --out: the agent's steps in ATIF.
    #[arg(long, requires = "out")]
    pub(crate) trajectory: bool,
}

impl RunArgs {
    /// The time limits of this run.
    #[must_use]
    pub(crate) fn time_limits(&self) -> RunnerTimeLimits {
        let mut limits = RunnerTimeLimits::default();
        #[cfg(debug_assertions)]
        if let Some(scale) = &self.time_scale {
            scale.apply(&mut limits);
        }
        for (limit, flag) in [
            (&mut limits.run.ready_timeout, self.ready_timeout),
            (&mut limits.run.soft_landing, self.soft_landing),
            (&mut limits.guardian.budget, self.guardian_budget),
            (&mut limits.guardian.takeover_window, self.restart_grace),
        ] {
            *limit = flag.unwrap_or(*limit);
        }
        limits
    }
}

impl Cli {
    /// The command line of this process.
    ///
    /// # Errors
    /// What is wrong with it, or the help that it asks for.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        Self::read_from(std::env::args_os())
    }

    fn read_from(words: impl IntoIterator<Item: Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
        let first = words.get(1).cloned();
        let cli = Self::try_parse_from(words)
            .map_err(|error| if means_a_run(first.as_deref()) { familiar::with_hint(error) } else { error })?;
        match cli.command.as_ref().and_then(Command::refusal) {
            None => Ok(cli),
            Some(words) => Err(Self::command().error(ErrorKind::ArgumentConflict, words)),
        }
    }
}

/// Whether a command line that cannot be understood was to be a run: its first word is `run`, or no command at all.
#[must_use]
pub(crate) fn means_a_run(first: Option<&OsStr>) -> bool {
    let Some(first) = first.and_then(OsStr::to_str) else { return true };
    let cli = Cli::command();
    let names: Vec<&str> = cli.get_subcommands().map(clap::Command::get_name).chain(["help"]).collect();
    if names.contains(&first) {
        return first == "run";
    }
    // A task file, or a word that is misspelt itself.
    Path::new(first).exists() || nearest(first, names).is_none_or(|command| command == "run")
}

/// Arguments that are keys, whatever they were meant as. They are still seen in the list of processes; no more should show them.
pub(crate) fn misplaced_keys(arguments: impl IntoIterator<Item = OsString>) -> impl Iterator<Item = Secret> {
    arguments.into_iter().filter_map(|argument| argument.into_string().ok()).filter_map(|argument| {
        let value = argument.split_once('=').map_or(&*argument, |(_, value)| value).trim();
        // What is random and in lower case is the id of a conversation or a container.
        let is_random = redact::is_token(value) && value.contains(|char: char| char.is_ascii_uppercase());
        (redact::begins_as_key(value) || is_random).then(|| Secret::new(value))
    })
}

/// An error of the command line without the arguments in it that may be keys.
#[must_use]
pub(crate) fn without_keys(message: &str, arguments: impl IntoIterator<Item = OsString>) -> String {
    let mut shown = message.to_owned();
    for argument in arguments.into_iter().filter_map(|argument| argument.into_string().ok()) {
        let value =
            argument.split_once('=').filter(|_| argument.starts_with('-')).map_or(&*argument, |(_, value)| value);
        if problem::may_be_key(value) {
            shown = shown.replace(value, MASK);
        }
    }
    redact::mask_suspected(&shown)
}

fn http_url(text: &str) -> Result<Url, String> {
    if let Some(found) = misread(text.trim()) {
        return Err(format!("{found}; give the address alone"));
    }
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        Ok(_) => Err("give an address that starts with http:// or https://".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_misspelt_command_from_outside_is_no_run() {
        let means = |first: &str| means_a_run(Some(OsStr::new(first)));
        assert!(means_a_run(None));
        for first in ["run", "rnu", "--timeout", "-x", "task.md", "my/task.yaml", "Cargo.toml"] {
            assert!(means(first), "{first}");
        }
        for first in [
            "sandbox", "sandbx", "exec", "exce", "cp", "launch", "batch", "lauch", "check", "report", "show", "schema",
            "hook", "help",
        ] {
            assert!(!means(first), "{first}");
        }
    }

    #[test]
    fn a_run_inside_has_no_flags_for_its_sandbox() {
        for flag in [&["--keep-alive"][..], &["--sandbox", "x"], &["--sandbox-spec", "x"], &["--init-timeout", "1s"]] {
            let words = |before: &[&'static str]| [before, flag].concat();
            let refused = Cli::read_from(words(&["openhands-runner", "run"])).unwrap_err().to_string();
            assert!(refused.contains(flag[0]) && refused.contains("add `--workspace cloud`"), "{refused}");
            Cli::read_from(words(&["openhands-runner", "run", "--workspace", "cloud"])).unwrap();
        }
    }

    #[test]
    fn an_error_of_the_command_line_shows_no_key() {
        for (words, key) in [
            (&["--timeout", "sk-ant-api03-abcdef"][..], "sk-ant"),
            (&["--timeout=a1b2c3d4e5f6a7b8"], "a1b2c3d4"),
            (&["--agent-server-url", "ftp://me:hunter22@h/"], "hunter22"),
            (&["--nope", "ghp_0123456789abcdef"], "ghp_"),
            (&["--conversation-id", "session-key-0123456789"], "0123456789"),
        ] {
            let words: Vec<&str> = ["openhands-runner", "run"].iter().chain(words).copied().collect();
            let error = Cli::read_from(words.clone()).unwrap_err().to_string();
            let shown = without_keys(&error, words.iter().map(OsString::from));
            assert!(!shown.contains(key) && shown.contains("Usage") || shown.contains("For more"), "{shown}");
        }
        let error = Cli::read_from(["openhands-runner", "run", "--timeout", "soon"]).unwrap_err().to_string();
        assert!(without_keys(&error, ["soon".into()]).contains("'soon'"));
    }

    #[test]
    fn the_names_of_other_programs_work_or_say_what_to_use() {
        let run = |words: &[&'static str]| Cli::read_from([&["openhands-runner", "run"][..], words].concat());
        for words in [
            &["-p", "x", "--model", "m", "--max-turns", "3", "--max-budget-usd", "2", "--output-format", "stream-json"]
                [..],
            &["-p", "x", "-o", "last.txt", "--headless"],
        ] {
            run(words).unwrap();
        }
        for (words, hint) in [
            (&["-p", "x", "a.md"][..], "give one of the two"),
            (&["-p", "fix", "the"], "in quotes"),
            (&["-p", "fix", "the", "tests"], "in quotes"),
            (&["fix", "the", "tests"], "in quotes"),
            (&["a.md", "b.md"], "one task"),
            (&["--resume"], "--conversation-id"),
            (&["-C", "dir"], "--working-dir"),
            (&["-f", "task.md"], "without a flag"),
            (&["-t", "Do it."], "-p TEXT"),
            (&["--full-auto"], "no permission"),
            (&["--json"], "--format jsonl"),
            (&["--mcp-config=x"], "`mcp`"),
        ] {
            let error = run(words).unwrap_err().to_string();
            assert!(
                error.contains(hint) && !error.contains("'-- --") && error.contains("run [OPTIONS] [TASK]"),
                "{error}"
            );
        }
        let copy = Cli::read_from(["openhands-runner", "cp", "-r", "a", "b"]).unwrap_err().to_string();
        assert!(!copy.contains("--conversation-id"), "{copy}");
        Cli::read_from(["openhands-runner", "launch", "--max-turns", "3", "--max-budget-usd", "2", "--model", "m"])
            .unwrap();
    }

    #[test]
    fn no_arguments_are_a_run() {
        assert!(Cli::try_parse_from(["openhands-runner"]).unwrap().command.is_none());
    }
}
