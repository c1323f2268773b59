//! Runs a command of the task file in the sandbox, through the agent-server and in the place where the agent works.

use std::mem;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use openhands_client::agent_server::AgentServer;
use openhands_client::sandbox::exec::{self, Command, Exit, Output};
use openhands_client::text;
use tokio::time::{Instant, timeout};

use crate::outcome::{CommandResult, CommandStatus, Failure};
use crate::plan::commands::CommandPlan;

/// Runs a command line with standard error in standard output, so that both are in the order in which they were written.
const LINE: &str = "exec 2>&1; if command -v bash >/dev/null; then exec bash -c \"$1\"; fi; exec sh -c \"$1\"";

/// The number of bytes that are kept from the end of an output.
const KEPT: usize = 64 * 1024;

/// The agent-server enforces the time limit of a command. If it has restarted in the meantime it does not, and then the runner
/// ends the command this long after the limit.
const BEYOND_LIMIT: Duration = Duration::from_secs(30);

/// Runs the commands of a run, one at a time.
#[derive(Debug, Default)]
pub(super) struct TaskCommands {
    /// The folder of the command that may be running.
    folder: Mutex<Option<String>>,
}

impl TaskCommands {
    async fn run(&self, server: &AgentServer, working_dir: &str, plan: &CommandPlan) -> Result<CommandResult, Failure> {
        let started = Instant::now();
        let command = Command::program(["sh", "-c", LINE, "sh", &plan.run]).directory(working_dir).limit(plan.timeout);
        let folder = exec::new_folder_on(server);
        self.may_be_under_way(Some(folder.clone()));
        let mut running = exec::start_in(server, &command, &folder).await?;
        let mut tail = Tail::default();
        let followed = timeout(plan.timeout + BEYOND_LIMIT, running.follow(async |output| tail.take(&output))).await;
        let exit = match followed {
            Ok(exit) => exit?,
            Err(_) => {
                running.terminate().await?;
                Exit::TimedOut
            }
        };
        self.may_be_under_way(None);
        let (status, exit_code) = match exit {
            Exit::Code(0) => (CommandStatus::Passed, Some(0)),
            Exit::Code(code) => (CommandStatus::Failed, Some(code)),
            Exit::TimedOut => (CommandStatus::TimedOut, None),
        };
        let seconds = (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        Ok(CommandResult { name: plan.name.clone(), status, exit_code, seconds, output: tail.text() })
    }

    /// Ends a command that was still running when the run ended, within this time.
    pub(super) async fn end(&self, server: &AgentServer, limit: Duration) {
        let Some(folder) = self.may_be_under_way(None) else { return };
        let reason = match timeout(limit, exec::end_in(server, &folder)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => text::chain(&error),
            Err(_) => "the agent-server has not confirmed its end in time".to_owned(),
        };
        tracing::warn!(reason, "a command of the task may still be running");
    }

    fn may_be_under_way(&self, folder: Option<String>) -> Option<String> {
        mem::replace(&mut *self.folder.lock().unwrap_or_else(PoisonError::into_inner), folder)
    }
}

/// The place where the commands of a run are executed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'p> {
    pub(super) commands: &'p TaskCommands,
    pub(super) server: &'p AgentServer,
    pub(super) working_dir: &'p str,
}

impl Place<'_> {
    /// Runs a command to its end. Dropping the future does not end the command; [`TaskCommands::end`] does.
    ///
    /// # Errors
    /// The [`Failure`] that ends the run: the command could not be run. A command that fails is not an error.
    pub(super) async fn run(&self, plan: &CommandPlan) -> Result<CommandResult, Failure> {
        self.commands.run(self.server, self.working_dir, plan).await
    }
}

/// The end of an output.
#[derive(Debug, Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn take(&mut self, output: &Output) {
        let (Output::Stdout(bytes) | Output::Stderr(bytes)) = output;
        self.0.extend_from_slice(&bytes[bytes.len().saturating_sub(KEPT)..]);
        self.0.drain(..self.0.len().saturating_sub(KEPT));
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_output_is_kept() {
        let mut tail = Tail::default();
        for piece in ["a".repeat(2 * KEPT), "b".repeat(10), "c".repeat(5)] {
            tail.take(&Output::Stdout(piece.into_bytes().into()));
        }
        let text = tail.text();
        assert!(text.len() == KEPT && text.ends_with("abbbbbbbbbbccccc"), "{}", text.len());
    }
}
