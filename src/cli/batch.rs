//! Arguments of `batch`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};
use url::Url;

use super::RowsArgs;
use super::examples::{BATCH_REPORT_EXAMPLES, BATCH_STATUS_EXAMPLES};
use super::outside::CommonArgs;
use super::overrides::{OverrideArgs, dollars, key_and_value};
use super::sandbox::ProvisionArgs;
use super::values::duration;
use crate::input::services::ProviderKind;

/// Arguments of `batch`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct BatchArgs {
    /// What to do with a batch that has begun.
    #[command(subcommand)]
    pub(crate) command: Option<BatchCommand>,

    /// The batch.
    #[command(flatten)]
    pub(crate) start: StartArgs,

    /// Output and log.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// What to do with a batch that has begun.
#[derive(Debug, Subcommand)]
pub(crate) enum BatchCommand {
    /// Print the state of a batch, also while another process runs it.
    #[command(after_help = BATCH_STATUS_EXAMPLES)]
    Status {
        /// The folder of the batch: what `--out` was for its rows.
        folder: PathBuf,
    },
    /// Join the results of all rows: write report.html, results.csv and junit.xml into the folder of the batch.
    #[command(after_help = BATCH_REPORT_EXAMPLES)]
    Report {
        /// The folder of the batch: what `--out` was for its rows.
        folder: PathBuf,
    },
}

/// A batch that is started, or continued.
#[derive(Debug, Clone, Args)]
pub(crate) struct StartArgs {
    /// The task file. It runs once for each row, in a sandbox of its own; limits for one row stand in it.
    #[arg(required = true)]
    pub(crate) task: Option<PathBuf>,

    /// Which rows.
    #[command(flatten)]
    pub(crate) rows: RowsArgs,

    /// Keep the batch in this folder. Give the same folder again to run the rows that have no final result yet.
    #[arg(long, required = true, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Choose where the rows run: `cloud`, `docker` or `runtime-api` for a new sandbox for each row, or the URL of an agent-server.
    #[arg(long = "where", value_name = "WHERE", default_value = "cloud")]
    pub(crate) place: Place,

    /// Run at most this many rows at once.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = at_least_one)]
    pub(crate) concurrency: usize,

    /// Send at most this many requests per second to the provider of sandboxes.
    #[arg(long, value_name = "N", default_value_t = 10.0, value_parser = rate)]
    pub(crate) rate: f64,

    /// Retry a row up to this many times, each time in a new sandbox, when its sandbox or a server failed.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) retries: u32,

    /// Start no row that may bring the cost of the batch above this many US dollars.
    #[arg(long, value_name = "USD", value_parser = dollars)]
    pub(crate) cost: Option<f64>,

    /// End the batch and its running rows after this time, such as 8h.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,

    /// When the batch reaches its cost limit, end its running rows too.
    #[arg(long, requires = "cost")]
    pub(crate) strict: bool,

    /// Use this LLM profile of the account.
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,

    /// Use this agent profile of the account, by name or id.
    #[arg(long, value_name = "NAME")]
    pub(crate) agent_profile: Option<String>,

    /// Use this model. Overrides the task's.
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// Set `{{ params.KEY }}` of the task. May be repeated.
    #[arg(long = "param", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub(crate) params: Vec<(String, String)>,

    /// How each sandbox is made.
    #[command(flatten)]
    pub(crate) provision: ProvisionArgs,

    /// Upload this binary [default: this program].
    #[arg(long, value_name = "FILE")]
    pub(crate) binary: Option<PathBuf>,
}

impl StartArgs {
    /// What beats the task and the environment in each row.
    #[must_use]
    pub(crate) fn overrides(&self) -> OverrideArgs {
        OverrideArgs {
            profile: self.profile.clone(),
            agent_profile: self.agent_profile.clone(),
            model: self.model.clone(),
            params: self.params.clone(),
            ..OverrideArgs::default()
        }
    }
}

/// Where the rows of a batch run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Each in a new sandbox.
    Sandboxes(ProviderKind),
    /// All on this agent-server.
    Server(Url),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kinds = [ProviderKind::Cloud, ProviderKind::Docker, ProviderKind::RuntimeApi];
        if let Some(kind) = kinds.into_iter().find(|kind| kind.name() == text) {
            return Ok(Self::Sandboxes(kind));
        }
        match text.parse::<Url>() {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(Self::Server(url)),
            _ => Err("give `cloud`, `docker`, `runtime-api`, or the URL of an agent-server".to_owned()),
        }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "give a number from 1".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.01);
    number.ok_or_else(|| "give a number of requests a second, such as 10".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_provider_or_an_address() {
        assert_eq!("docker".parse(), Ok(Place::Sandboxes(ProviderKind::Docker)));
        let url = "http://host:8000";
        assert_eq!(url.parse(), Ok(Place::Server(url.parse().unwrap())));
        for wrong in ["", "clod", "file:///x", "host:8000"] {
            wrong.parse::<Place>().unwrap_err();
        }
    }
}
