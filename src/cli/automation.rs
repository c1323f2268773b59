//! `automation`: runs on a schedule or on an event.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use openhands_client::automation::{AutomationId, RunId, Trigger};
use url::Url;

use super::examples::{
    AUTOMATION_CREATE_EXAMPLES, AUTOMATION_DELETE_EXAMPLES, AUTOMATION_LIST_EXAMPLES, AUTOMATION_LOGS_EXAMPLES,
    AUTOMATION_RUN_EXAMPLES, AUTOMATION_SHOW_EXAMPLES, AUTOMATION_UPDATE_EXAMPLES,
};
use super::outside::CommonArgs;
use super::overrides::key_and_value;
use crate::input::task;

/// Arguments of `automation`.
#[derive(Debug, Args)]
pub(crate) struct AutomationArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub(crate) command: AutomationCommand,
    /// Output and log.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// What to do with automations.
#[derive(Debug, Subcommand)]
pub(crate) enum AutomationCommand {
    /// Check a task, and run it on a schedule or on an event.
    #[command(after_help = AUTOMATION_CREATE_EXAMPLES)]
    Create(Box<CreateArgs>),
    /// List the automations, the newest first.
    #[command(after_help = AUTOMATION_LIST_EXAMPLES)]
    List,
    /// Print an automation and its last runs.
    #[command(after_help = AUTOMATION_SHOW_EXAMPLES)]
    Show {
        /// Its id.
        #[arg(value_parser = automation_id)]
        id: AutomationId,
    },
    /// Start a run of an automation now.
    #[command(after_help = AUTOMATION_RUN_EXAMPLES)]
    Run {
        /// Its id.
        #[arg(value_parser = automation_id)]
        id: AutomationId,
        /// Show the phases of the run, and wait for its end. The exit code is 0 if it completes.
        #[arg(long)]
        wait: bool,
    },
    /// Show the phases of a run until it ends, and how it ended.
    #[command(after_help = AUTOMATION_LOGS_EXAMPLES)]
    Logs {
        /// The automation's id.
        #[arg(value_parser = automation_id)]
        id: AutomationId,
        /// The run's id [default: the last run].
        #[arg(value_parser = run_id)]
        run: Option<RunId>,
    },
    /// Change an automation; everything that is not named stays as it is.
    #[command(after_help = AUTOMATION_UPDATE_EXAMPLES)]
    Update(Box<UpdateArgs>),
    /// Delete automations, with their tarballs.
    #[command(after_help = AUTOMATION_DELETE_EXAMPLES)]
    Delete {
        /// Their ids.
        #[arg(required = true, value_parser = automation_id)]
        ids: Vec<AutomationId>,
    },
}

/// What starts the runs.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TriggerArgs {
    /// Run on this schedule: minute, hour, day of the month, month, day of the week.
    #[arg(long, value_name = "SCHEDULE")]
    cron: Option<String>,

    /// Use this IANA time zone for the schedule, such as Europe/Berlin [default: UTC].
    #[arg(long, value_name = "ZONE", requires = "cron")]
    timezone: Option<String>,

    /// Run on events of this source: github, or the source of a custom webhook.
    #[arg(long, value_name = "SOURCE", requires = "on", conflicts_with = "cron")]
    event: Option<String>,

    /// Run only on these events, such as push or pull_request.*. May be repeated.
    #[arg(long, value_name = "PATTERN", requires = "event", conflicts_with = "cron")]
    on: Vec<String>,

    /// Run only on events for which this JMESPath expression is true.
    #[arg(long, value_name = "EXPRESSION", requires = "event", conflicts_with = "cron")]
    filter: Option<String>,
}

impl TriggerArgs {
    /// The trigger, if there is one.
    #[must_use]
    pub(crate) fn trigger(&self) -> Option<Trigger> {
        let schedule = self.cron.clone().map(|schedule| Trigger::Cron {
            schedule,
            timezone: self.timezone.clone().unwrap_or_else(|| "UTC".to_owned()),
        });
        let event = self.event.clone().map(|source| Trigger::Event {
            source,
            on: self.on.clone(),
            filter: self.filter.clone(),
        });
        schedule.or(event)
    }
}

/// What is the same for a new automation and an existing one.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DetailArgs {
    /// Give the automation this name [default: the task's, else that of its file].
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// End each run after this time [default: the task's limit and a minute, else the service's].
    #[arg(long, value_name = "DURATION", value_parser = task::parse_duration)]
    pub(crate) timeout: Option<Duration>,

    /// Use this LLM profile of the account.
    #[arg(long, value_name = "NAME", conflicts_with = "agent_profile")]
    pub(crate) profile: Option<String>,

    /// Use this agent profile.
    #[arg(long, value_name = "UUID")]
    pub(crate) agent_profile: Option<String>,

    /// Add this tag to the automation (service 1.26.0 or later). May be repeated.
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
}

/// How the runner gets into the sandbox, and its parameters.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PackArgs {
    /// Choose where the sandbox gets the runner: `wheel` from its package index, `image`, or an address [default: wheel].
    ///
    /// `wheel`: uv in the sandbox installs it. `image`: it is on the PATH of the sandbox. An address (https://, http:// or file://): curl in
    /// the sandbox downloads it. An upload has at most 1 MiB, so the tarball cannot hold the program.
    #[arg(long, value_name = "wheel|image|URL", value_parser = RunnerSource::from_str)]
    pub(crate) runner: Option<RunnerSource>,

    /// Set `{{ params.KEY }}` of the task. May be repeated.
    #[arg(long = "param", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub(crate) params: Vec<(String, String)>,
}

/// Where a sandbox gets the runner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum RunnerSource {
    /// uv installs the wheel of this version.
    #[default]
    Wheel,
    /// The image has it on its PATH.
    Image,
    /// The sandbox downloads it from there.
    Address(Url),
}

impl FromStr for RunnerSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "wheel" => Ok(Self::Wheel),
            "image" => Ok(Self::Image),
            _ => match Url::parse(text) {
                Ok(url) if matches!(url.scheme(), "http" | "https" | "file") => Ok(Self::Address(url)),
                _ => {
                    Err("give `wheel`, `image`, or an address that starts with https://, http:// or file://".to_owned())
                }
            },
        }
    }
}

/// Arguments of `automation create`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("trigger").args(["cron", "event"]).required(true))]
pub(crate) struct CreateArgs {
    /// The task file, or `-` for standard input. Default: as in `run`.
    pub(crate) task: Option<PathBuf>,
    /// What starts the runs.
    #[command(flatten)]
    pub(crate) trigger: TriggerArgs,
    /// Name, limits, profiles, tags.
    #[command(flatten)]
    pub(crate) detail: DetailArgs,
    /// How it is packed.
    #[command(flatten)]
    pub(crate) pack: PackArgs,
}

/// Arguments of `automation update`.
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Its id.
    #[arg(value_parser = automation_id)]
    pub(crate) id: AutomationId,
    /// The new task file, or `-` for standard input.
    pub(crate) task: Option<PathBuf>,
    /// What starts the runs.
    #[command(flatten)]
    pub(crate) trigger: TriggerArgs,
    /// Name, limits, profiles, tags.
    #[command(flatten)]
    pub(crate) detail: DetailArgs,
    /// Remove all tags.
    #[arg(long, conflicts_with = "tags")]
    pub(crate) no_tags: bool,
    /// Let its trigger start runs again.
    #[arg(long, conflicts_with = "disable")]
    pub(crate) enable: bool,
    /// Let its trigger start no runs.
    #[arg(long)]
    pub(crate) disable: bool,
    /// How the new task is packed.
    #[command(flatten)]
    pub(crate) pack: PackArgs,
}

fn automation_id(text: &str) -> Result<AutomationId, String> {
    text.trim().parse().map_err(|_| "give an id (a UUID) that `automation list` shows".to_owned())
}

fn run_id(text: &str) -> Result<RunId, String> {
    let id: Result<uuid::Uuid, _> = text.trim().parse();
    id.map(|id| RunId::new(id.to_string())).map_err(|_| "give an id (a UUID) that `automation show` lists".to_owned())
}
