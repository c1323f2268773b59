//! The end of a command in a sandbox: of its processes and of its files, also when nobody knows whether it has begun.

use tokio::time::timeout;

use super::duty::duty;
use super::exec::housekeeping;
use crate::conversation::Server;
use crate::timing;

/// A command that may be started, or be about to be: with its environment in a file. Unless it is handed over, it is ended and
/// its folder removed.
pub(super) struct Prepared<'s> {
    server: &'s Server,
    folder: Option<String>,
}

impl<'s> Prepared<'s> {
    pub(super) fn new(server: &'s Server, folder: &str) -> Self {
        Self { server, folder: Some(folder.to_owned()) }
    }

    /// The command is somebody's.
    pub(super) fn handed_over(mut self) {
        self.folder = None;
    }

    pub(super) async fn undo(mut self) {
        if let Some(folder) = self.folder.take() {
            undo(self.server, &folder).await;
        }
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        let Some(folder) = self.folder.take() else { return };
        let Some(client) = self.server.client.anew() else { return };
        let server = Server { client, capabilities: self.server.capabilities };
        // The runtime may be about to end, and cannot be awaited here.
        duty("command-cleanup", async move || undo(&server, &folder).await);
    }
}

async fn undo(server: &Server, folder: &str) {
    let undone = timeout(timing::TIDY_UP, housekeeping(server, "tidying up", &end(folder))).await;
    let error = match undone {
        Ok(Ok(())) => return,
        Ok(Err(error)) => crate::display::chain(&error),
        Err(_) => "no answer in time".to_owned(),
    };
    tracing::warn!(error, folder, "what was to start a command may be left in the sandbox, its environment included");
}

/// Ends the command with this folder, and what it has started, within 6 s; then removes the folder. Its processes are its group,
/// and where there is none, whoever writes into its files.
pub(super) fn end(folder: &str) -> String {
    format!(
        "pid=$(cat {folder}/pid 2>/dev/null) || pid=; \
         all() {{ \
           if kill -s 0 -- -$pid 2>/dev/null; then echo -$pid; return; fi; \
           kill -s 0 $pid 2>/dev/null && echo $pid; \
           for process in /proc/[0-9]*; do \
             {{ [ $process/fd/1 -ef {folder}/stdout ] || [ $process/fd/2 -ef {folder}/stderr ]; }} && echo ${{process#/proc/}}; \
           done; }}; \
         for signal in TERM KILL; do \
           [ -n \"$pid\" ] && [ -n \"$(all)\" ] || break; kill -s $signal -- $(all) 2>/dev/null; \
           for wait in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do [ -n \"$(all)\" ] || break 2; sleep 0.2; done; \
         done; rm -rf {folder}"
    )
}
