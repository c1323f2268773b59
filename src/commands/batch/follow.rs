//! Follows the run of a row in its sandbox: waits for its end or causes it, and copies its files.

use std::time::Duration;

use openhands_client::agent_server::AgentServer;
use openhands_client::ids::SandboxId;
use openhands_client::off_thread::off_thread;
use openhands_client::sandbox::copy::{self, CopyError};
use openhands_client::sandbox::exec::{self, Running};
use openhands_client::sandbox::ready::{Ready, await_ready};
use openhands_client::sandbox::{Provider as _, SandboxError};
use openhands_client::text;
use tokio::time::{sleep, timeout};

use super::provider::RowProvider;
use super::row::{RowAttempt, Trouble};
use crate::batch::ledger::StartedRun;
use crate::batch_folder::ROW;
use crate::outcome::{Failure, FailureKind};
use crate::run_folder::RESULT;
use crate::sinks::status::State;

/// The interval between two checks of a run.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The number of checks after which the process of a run is checked itself, because a restarted agent-server does not know its
/// end.
const LOOKS_AT_THE_SERVER: u32 = 12;

/// How many bytes of the end of standard error are kept for a run without a result.
const LAST_WORDS: u32 = 600;

/// The time limit of a short command in the sandbox.
pub(super) const SHORT_COMMAND: Duration = Duration::from_secs(60);

/// The status file of the run in the working directory of its program.
pub(super) const STATUS: &str = "status.json";

/// The state of the process in the sandbox.
enum Life {
    Runs,
    /// It has written its result.
    Ended,
    /// It has ended without a result.
    Lost,
}

impl RowAttempt<'_> {
    /// Waits for the end of the run, and returns its exit code if the agent-server still knows it. A paused sandbox is resumed.
    pub(super) async fn follow(
        &self,
        provider: &RowProvider,
        id: &SandboxId,
        ready: &mut Ready,
        run: &StartedRun,
    ) -> Result<Option<u8>, Trouble> {
        let mut pause = SHORTEST_PAUSE;
        for look in 1_u32.. {
            let command = run.command.clone().unwrap_or_default();
            match Running::started(&ready.server, command, run.command_folder.clone()).exit().await {
                Ok(Some(code)) => return Ok(Some(code)),
                Ok(None) if look % LOOKS_AT_THE_SERVER != 0 => {}
                Ok(None) => match self.life(&ready.server, run).await {
                    Some(Life::Ended) => return Ok(None),
                    Some(Life::Lost) => return Err(lost().into()),
                    Some(Life::Runs) | None => {}
                },
                Err(error) => {
                    tracing::warn!(row = self.row.number, error = %text::chain(&error), "the sandbox does not respond; checking it");
                    *ready = await_ready(&provider.clone().of(id), id).await?;
                    match self.life(&ready.server, run).await {
                        Some(Life::Ended) => return Ok(None),
                        Some(Life::Lost) => return Err(lost().into()),
                        Some(Life::Runs) | None => {}
                    }
                }
            }
            self.tell_state(&ready.server, run).await;
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Err(lost().into())
    }

    /// Reports the current step and the cost of the run, if requested. If the state cannot be read, it does not exist yet.
    async fn tell_state(&self, server: &AgentServer, run: &StartedRun) {
        if let Some(states) = &self.batch.states
            && let Ok(text) = copy::download_bytes(server, &format!("{}/{STATUS}", run.program_folder)).await
            && let Ok(state) = serde_json::from_slice::<State>(&text)
        {
            let _ = states.send((self.index, state));
        }
    }

    /// Ends the run, which reports how it ended. A run that takes too long is killed.
    pub(super) async fn end(
        &self,
        provider: &RowProvider,
        id: &SandboxId,
        ready: &mut Ready,
        run: &StartedRun,
    ) -> Result<Option<u8>, Trouble> {
        let line = format!("kill -s TERM \"$(cat {}/pid)\"", run.command_folder);
        let _ = ready.server.client.execute(&line, SHORT_COMMAND).await;
        if let Ok(exit) = timeout(SHORT_COMMAND, self.follow(provider, id, ready, run)).await {
            return exit;
        }
        exec::end_in(&ready.server, &run.command_folder).await.map_err(Failure::from)?;
        Ok(None)
    }

    /// Checks the process and the result of the run. `None` if the sandbox does not respond.
    async fn life(&self, server: &AgentServer, run: &StartedRun) -> Option<Life> {
        let StartedRun { command_folder, program_folder, .. } = run;
        // The process is checked first: if it ends in between, its result is found.
        let line = format!(
            "if kill -0 \"$(cat {command_folder}/pid)\" 2>/dev/null; then echo runs; \
             elif [ -e {program_folder}/out/{RESULT} ]; then echo ended; else echo lost; fi"
        );
        let answer = server.client.execute(&line, SHORT_COMMAND).await.ok()?;
        match answer.stdout().trim() {
            "runs" => Some(Life::Runs),
            "ended" => Some(Life::Ended),
            "lost" => Some(Life::Lost),
            _ => None,
        }
    }

    pub(super) async fn last_words(&self, server: &AgentServer, run: &StartedRun) -> String {
        let line = format!("tail -c {LAST_WORDS} {}/stderr", run.command_folder);
        server
            .client
            .execute(&line, SHORT_COMMAND)
            .await
            .map(|done| done.stdout().trim().to_owned())
            .unwrap_or_default()
    }

    /// Copies the run folder out of the sandbox. A second copy replaces the first.
    pub(super) async fn fetch(
        &self,
        provider: &RowProvider,
        server: &AgentServer,
        run: &StartedRun,
    ) -> Result<(), Trouble> {
        let (from, to) = (format!("{}/out", run.program_folder), self.folder());
        let there = server.client.execute(&format!("test -d {from}"), SHORT_COMMAND).await;
        let is_there = there.map_err(|error| Failure::from(SandboxError::request("checking the run folder")(error)))?;
        self.empty_folder().await?;
        if !is_there.is_success() {
            return Ok(());
        }
        let limit =
            self.batch.context.environment.time_limits.run.last_delivery.max(provider.http().time_limits().stalled);
        let copied = timeout(limit, copy::download(server, &format!("{from}/."), &to)).await;
        match copied {
            Ok(Ok(_)) => Ok(()),
            // Such as a full disk. The next start of the batch copies it.
            Ok(Err(CopyError::Here { source, .. })) => Err(Trouble::Ledger(source)),
            Ok(Err(error)) => Err(Failure::from(error).into()),
            Err(_) => Err(Failure::new(
                FailureKind::SandboxUnavailable,
                format!("the run folder could not be copied within {} s", limit.as_secs()),
            )
            .into()),
        }
    }

    /// Recreates the folder of the row, with a file for the row.
    async fn empty_folder(&self) -> std::io::Result<()> {
        let (folder, row) = (self.folder(), serde_json::to_vec(self.row)?);
        off_thread("run folder", move || {
            match std::fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            std::fs::create_dir_all(&folder)?;
            std::fs::write(folder.join(ROW), row)
        })
        .await
    }
}

fn lost() -> Failure {
    Failure::new(FailureKind::SandboxUnavailable, "the process of the run is gone from its sandbox, without a result")
}
