//! The end of a command in a sandbox: of its processes and of its files, also when no one knows whether it has begun.

use tokio::time::timeout;

use super::blocking_cleanup::blocking_cleanup;
use super::shell::{housekeeping, with_argument};
use crate::agent_server::AgentServer;

/// A command that may be started, or be about to be: with its environment in a file. Unless it is handed over, it is ended and
/// its folder removed.
#[derive(Debug)]
pub struct Prepared<'s> {
    server: &'s AgentServer,
    folder: Option<String>,
}

impl<'s> Prepared<'s> {
    pub(super) fn new(server: &'s AgentServer, folder: &str) -> Self {
        Self { server, folder: Some(folder.to_owned()) }
    }

    /// The command is someone's.
    pub fn handed_over(mut self) {
        self.folder = None;
    }

    /// Leaves nothing, within 10 s ([`TimeLimits::tidy_up`](crate::time_limits::TimeLimits::tidy_up)).
    pub async fn undo(&mut self) {
        if let Some(folder) = &self.folder {
            tidy_up(self.server, &end(folder), &left(folder)).await;
        }
        self.folder = None;
    }

    /// Leaves it as it is, and says so.
    pub fn left(mut self) {
        if let Some(folder) = self.folder.take() {
            tracing::warn!("{}", left(&folder));
        }
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        if let Some(folder) = self.folder.take() {
            tidy_up_blocking(self.server, end(&folder), left(&folder));
        }
    }
}

/// The warning when that fails.
fn left(folder: &str) -> String {
    format!("files of a command may be left in the sandbox, including its environment: {folder}")
}

/// Removes what is ours, within 10 s ([`TimeLimits::tidy_up`](crate::time_limits::TimeLimits::tidy_up)); whether that worked. Otherwise the user learns what is left.
pub(super) async fn tidy_up(server: &AgentServer, line: &str, left: &str) -> bool {
    let limit = server.client.time_limits().tidy_up;
    let error = match timeout(limit, housekeeping(server, "tidying up", line)).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => crate::text::chain(&error),
        Err(_) => format!("no response within {} s", limit.as_secs()),
    };
    tracing::warn!(error, "{left}");
    false
}

/// The same where the runtime may be about to end, and cannot be awaited.
pub(super) fn tidy_up_blocking(server: &AgentServer, line: String, left: String) {
    let Some(client) = server.client.with_fresh_connections() else { return };
    let server = AgentServer { client, capabilities: server.capabilities };
    blocking_cleanup("sandbox-tidy-up", async move || {
        tidy_up(&server, &line, &left).await;
    });
}

/// Ends the command whose folder is `$1`.
const END: &str = include_str!("scripts/end_command.sh");

/// The command line that ends the command with this folder, and what it has started, within 6 s; then it removes the folder.
pub(super) fn end(folder: &str) -> String {
    format!("{}rm -rf {folder}", with_argument(END, folder))
}
