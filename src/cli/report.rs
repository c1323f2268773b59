//! The commands that show what happened in a run.

use std::path::PathBuf;

use clap::Args;
use openhands_client::ids::ConversationId;
use url::Url;

use super::{NewSandboxArgs, ProviderArgs, http_url};

/// Arguments of `report`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReportArgs {
    /// A run folder, or a file with the output of `run --format jsonl`.
    #[arg(required_unless_present = "conversation")]
    pub(crate) path: Option<PathBuf>,

    /// Read this conversation from the agent-server instead.
    #[arg(long, value_name = "ID", conflicts_with = "path")]
    pub(crate) conversation: Option<ConversationId>,

    /// Read the conversation from this sandbox.
    #[arg(long, value_name = "ID", requires = "conversation")]
    pub(crate) sandbox: Option<String>,

    /// Who has made the sandbox.
    #[command(flatten)]
    pub(crate) provider: ProviderArgs,

    /// Use the agent-server at this address. Default: AGENT_SERVER_URL, else localhost at AGENT_SERVER_PORT.
    #[arg(long, value_name = "URL", value_parser = http_url, requires = "conversation", conflicts_with = "sandbox")]
    pub(crate) agent_server_url: Option<Url>,

    /// Write the page into this file, or `-` for standard output. Default: report.html in the run folder, else the name of the file or
    /// the id of the conversation with `.html`.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

impl ReportArgs {
    /// The sandbox of the conversation, which stays.
    pub(crate) fn sandbox(&self) -> Option<NewSandboxArgs> {
        self.sandbox.as_deref().map(NewSandboxArgs::existing)
    }
}

/// Arguments of `show`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ShowArgs {
    /// A run folder, or a file with the output of `run --format jsonl`.
    pub(crate) path: PathBuf,
}
