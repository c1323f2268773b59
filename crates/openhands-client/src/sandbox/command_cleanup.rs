//! Cleanup of a command in a sandbox: ends its processes and removes its files, even if it is unknown whether the command has
//! started.

use tokio::time::timeout;

use super::blocking_cleanup::blocking_cleanup;
use super::shell::{housekeeping, with_argument};
use crate::agent_server::AgentServer;

/// A command that may have been started, with its environment in a file. Unless it is handed over, its processes are ended and
/// its folder is removed.
#[derive(Debug)]
pub struct Prepared<'s> {
    server: &'s AgentServer,
    folder: Option<String>,
}

impl<'s> Prepared<'s> {
    pub(super) fn new(server: &'s AgentServer, folder: &str) -> Self {
        Self { server, folder: Some(folder.to_owned()) }
    }

    /// Hands the command over: it is no longer cleaned up.
    pub fn handed_over(mut self) {
        self.folder = None;
    }

    /// Removes everything, within 10 s ([`TimeLimits::tidy_up`](crate::time_limits::TimeLimits::tidy_up)).
    pub async fn undo(&mut self) {
        if let Some(folder) = &self.folder {
            tidy_up(self.server, &end(folder), &left(folder)).await;
        }
        self.folder = None;
    }

    /// Leaves the command as it is, and logs a warning.
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

/// Returns the warning for the case that the cleanup fails.
fn left(folder: &str) -> String {
    format!("files of a command may be left in the sandbox, including its environment: {folder}")
}

/// Removes what we created, within 10 s ([`TimeLimits::tidy_up`](crate::time_limits::TimeLimits::tidy_up)), and returns whether
/// that succeeded. If not, it logs what is left.
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

/// Does the same from a place that cannot await because the runtime may be ending.
pub(super) fn tidy_up_blocking(server: &AgentServer, line: String, left: String) {
    let Some(client) = server.client.with_fresh_connections() else { return };
    let server = AgentServer { client, capabilities: server.capabilities };
    blocking_cleanup("sandbox-tidy-up", async move || {
        tidy_up(&server, &line, &left).await;
    });
}

/// The script that ends the command with the folder `$1`.
const END: &str = include_str!("scripts/end_command.sh");

/// Returns the command line that ends the command with this folder and everything it has started, within 6 s, and then removes
/// the folder.
pub(super) fn end(folder: &str) -> String {
    format!("{}rm -rf {folder}", with_argument(END, folder))
}
