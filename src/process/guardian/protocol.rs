//! What runner and guardian say to each other: JSON, one message a line.

use std::time::Duration;

use openhands_client::automation::completion::CompletionReport;
use openhands_client::http::Network;
use openhands_client::secret::Secret;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::input::reporting::Reporting;

/// The guardian's one answer.
pub(super) const ARMED: &[u8] = b"armed";

/// From the runner to its guardian.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Message {
    /// First: where to deliver, how patiently, and what if no other message follows.
    GuardianConfig(Box<GuardianConfig>, CompletionReport),
    /// Deliver this if the runner ends without a word. The last one counts.
    IfSilent(CompletionReport),
    /// Deliver this in any case.
    Outcome(CompletionReport),
    /// End this process group when the runner ends.
    EndWithRunner(u32),
    /// There is nothing left to deliver.
    Settled,
}

/// Where to deliver, and how patiently. Goes through the line only: its key never stands in argv or environment.
#[derive(Serialize, Deserialize)]
pub(crate) struct GuardianConfig {
    callback_url: Url,
    key: Option<String>,
    pub(super) run_id: Option<String>,
    ca_file: Option<std::path::PathBuf>,
    http_proxy: Option<String>,
    https_proxy: Option<String>,
    no_proxy: Option<String>,
    pub(super) budget: Duration,
    pub(super) grace: Duration,
}

impl GuardianConfig {
    /// The charge for a run with a callback; `None` without one. `budget` limits the attempts to deliver, `grace` is how
    /// long a new runner of the same run may take over.
    #[must_use]
    pub(crate) fn new(reporting: &Reporting, network: &Network, budget: Duration, grace: Duration) -> Option<Self> {
        let text = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
        Some(Self {
            callback_url: reporting.callback_url.clone()?,
            key: text(&reporting.key),
            run_id: reporting.run_id.as_ref().map(|id| id.as_str().to_owned()),
            // A guardian works in another directory.
            ca_file: network.ca_file.as_ref().map(|file| std::path::absolute(file).unwrap_or_else(|_| file.clone())),
            http_proxy: text(&network.http_proxy),
            https_proxy: text(&network.https_proxy),
            no_proxy: network.no_proxy.clone(),
            budget,
            grace,
        })
    }

    pub(super) fn url(&self) -> &Url {
        &self.callback_url
    }

    pub(super) fn key(&self) -> Option<Secret> {
        self.key.clone().map(Secret::new)
    }

    pub(super) fn network(&self) -> Network {
        Network {
            ca_file: self.ca_file.clone(),
            http_proxy: self.http_proxy.clone().map(Secret::new),
            https_proxy: self.https_proxy.clone().map(Secret::new),
            no_proxy: self.no_proxy.clone(),
        }
    }
}

impl std::fmt::Debug for GuardianConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GuardianConfig")
    }
}
