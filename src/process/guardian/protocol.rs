//! What runner and guardian say to each other: JSON, one message a line.

use std::io::{self, BufRead, Read as _, Write};
use std::path::PathBuf;
use std::time::Duration;

use openhands_client::automation::completion::CompletionReport;
use openhands_client::http::Network;
use openhands_client::secret::Secret;
use openhands_client::time_limits::{RetryDelays, TimeLimits};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use super::proof::RunKey;
use crate::input::reporting::Reporting;
use crate::input::time_limits::RunnerTimeLimits;
use crate::outcome::notice::Notice;

/// What becomes of an outcome that the guardian delivers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LastWill {
    /// For the automation service; nothing once it knows.
    pub(crate) report: Option<CompletionReport>,
    /// For the webhooks of the user, after the service.
    pub(crate) notices: Vec<Notice>,
    /// For the run folder: the terminal record, a line of JSON.
    pub(crate) record: String,
}

/// From the runner to its guardian. `R` is what becomes of an outcome.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Message<R = LastWill> {
    /// First: where to deliver, how patiently, and what if no other message follows.
    GuardianConfig(Box<GuardianConfig>, R),
    /// Deliver this if the runner ends without a word. The last one counts.
    IfSilent(R),
    /// Deliver this if the runner lives, but has named no outcome some time after so long from now: it is frozen. The last one
    /// counts.
    IfFrozen(Duration, R),
    /// Deliver this in any case.
    Outcome(R),
    /// End this process group when the runner ends.
    EndWithRunner(u32),
    /// The run has this folder, which ends with the outcome too.
    Folder(PathBuf),
    /// There is nothing left to deliver.
    Settled,
}

/// From a guardian: to its runner once, or to a new runner of the same run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Answer {
    /// To its runner: it knows what to deliver, and no other runner can have the run meanwhile.
    Armed,
    /// To its runner: it knows what to deliver, but something else has the name of the run.
    Occupied,
    /// To a new runner: an attempt to report the run is under way; one of the other two follows.
    Wait,
    /// The run stays with the runner or the guardian that it has.
    Busy,
    /// The run is the new runner's as soon as that has a guardian of its own ([`Reply::Taken`]).
    Yours,
}

/// From a new runner to whatever has the name of its run: shows that you know the run's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Knock {
    pub(super) drawn: Uuid,
}

/// The guardian's response to [`Knock`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shown {
    pub(super) drawn: Uuid,
    pub(super) proof: Vec<u8>,
}

/// The new runner's response to [`Shown`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Proof {
    pub(super) proof: Vec<u8>,
}

/// From a new runner to the guardian that has left the run to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reply {
    /// The run has a guardian of its own; the old one ends without a word.
    Taken,
}

/// A message as one line of JSON.
///
/// # Errors
/// The other end is gone, or too slow.
pub(super) fn send(mut to: impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// The next line, read as a message. `None` at the end, after which only a part of a line may have come.
///
/// # Errors
/// Those of reading; [`io::ErrorKind::InvalidData`] for something else than such a message.
pub(super) fn receive<M: DeserializeOwned>(from: &mut impl BufRead) -> io::Result<Option<M>> {
    let mut line = Vec::new();
    // No message of these is longer.
    let count = from.take(LONGEST_ANSWER).read_until(b'\n', &mut line)?;
    if count == 0 || line.last() != Some(&b'\n') {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

/// In bytes.
const LONGEST_ANSWER: u64 = 256;

/// Where to deliver, and how patiently. Goes through the line only: its key never stands in argv or environment.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct GuardianConfig {
    /// Nothing for a run that only has a folder.
    callback_url: Option<Url>,
    key: Option<String>,
    run_id: Option<String>,
    ca_file: Option<PathBuf>,
    http_proxy: Option<String>,
    https_proxy: Option<String>,
    all_proxy: Option<String>,
    no_proxy: Option<String>,
    pub(super) budget: Duration,
    pub(super) grace: Duration,
    pub(super) frozen: Duration,
    pub(super) undelivered: Duration,
    callback_attempt: Duration,
    callback_delays: (Duration, Duration),
}

impl GuardianConfig {
    /// The charge for a run.
    #[must_use]
    pub(crate) fn new(reporting: &Reporting, network: &Network, limits: &RunnerTimeLimits) -> Self {
        let RetryDelays { first, longest } = limits.client.callback_delays;
        let text = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
        Self {
            callback_url: reporting.callback_url.clone(),
            key: text(&reporting.key),
            run_id: reporting.run_id.as_ref().map(|id| id.as_str().to_owned()),
            // A guardian works in another directory.
            ca_file: network.ca_file.as_ref().map(|file| std::path::absolute(file).unwrap_or_else(|_| file.clone())),
            http_proxy: text(&network.http_proxy),
            https_proxy: text(&network.https_proxy),
            all_proxy: text(&network.all_proxy),
            no_proxy: network.no_proxy.clone(),
            budget: limits.guardian.budget,
            grace: limits.guardian.takeover_window,
            frozen: limits.guardian.frozen,
            undelivered: limits.guardian.undelivered,
            callback_attempt: limits.client.callback_attempt,
            callback_delays: (first, longest),
        }
    }

    /// The same for a run whose name something else has: no new runner can ask this guardian.
    #[must_use]
    pub(crate) fn without_name(self) -> Self {
        Self { run_id: None, ..self }
    }

    /// What proves that a process belongs to the run; nothing for a run without a name.
    pub(super) fn run_key(&self) -> Option<RunKey> {
        self.run_id.as_deref().map(|run| RunKey::new(run, self.key().as_ref()))
    }

    pub(super) fn url(&self) -> Option<&Url> {
        self.callback_url.as_ref()
    }

    pub(super) fn key(&self) -> Option<Secret> {
        self.key.clone().map(Secret::new)
    }

    /// The runner's own, as far as they bound the delivery.
    pub(super) fn time_limits(&self) -> TimeLimits {
        let (first, longest) = self.callback_delays;
        let mut limits = TimeLimits::default();
        limits.callback_attempt = self.callback_attempt;
        limits.callback_delays = RetryDelays { first, longest };
        limits
    }

    pub(super) fn network(&self) -> Network {
        Network {
            ca_file: self.ca_file.clone(),
            http_proxy: self.http_proxy.clone().map(Secret::new),
            https_proxy: self.https_proxy.clone().map(Secret::new),
            all_proxy: self.all_proxy.clone().map(Secret::new),
            no_proxy: self.no_proxy.clone(),
        }
    }
}

impl std::fmt::Debug for GuardianConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GuardianConfig")
    }
}
