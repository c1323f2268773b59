//! One attempt of a row: its sandbox, its run there, and the files that are kept. Each step is recorded before the next one, so
//! that another process can continue from there.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use openhands_client::agent_server::AgentServer;
use openhands_client::ids::SandboxId;
use openhands_client::off_thread::off_thread;
use openhands_client::sandbox::exec;
use openhands_client::sandbox::program::Program;
use openhands_client::sandbox::ready::Ready;
use openhands_client::sandbox::{Sandbox, SandboxError};
use serde_json::Value;

use super::follow::{SHORT_COMMAND, STATUS};
use super::provider::{RowProvider, Site};
use super::start::Batch;
use crate::batch::ledger::{StartedRun, Step, StepKind, UnderWay};
use crate::batch::queue::Ending;
use crate::batch_folder::{FailureClass, ROW, RowResult};
use crate::cli::ProvisionArgs;
use crate::input::rows::Row;
use crate::outcome::{Failure, FailureKind};
use crate::run_folder::RESULT;

/// Recorded instead of a sandbox id if there is no sandbox.
const NO_SANDBOX: &str = "agent-server";

/// How an attempt ended.
pub(super) struct Ended {
    pub(super) ending: Ending,
    pub(super) result: Option<RowResult>,
}

/// Why an attempt has no result of a run.
pub(super) enum Trouble {
    /// The failure counts as the result.
    Failed(Failure),
    /// The same, and a sandbox may be left that cannot be distinguished from those of others.
    MayBeLeft(Failure),
    /// The provider has no capacity for a sandbox.
    NoPlace(Option<Duration>),
    /// The batch is ending, and the run had not started.
    Stopped,
    /// The ledger cannot be written any more. The sandbox is kept for the next start of the batch.
    Ledger(std::io::Error),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<SandboxError> for Trouble {
    fn from(error: SandboxError) -> Self {
        match error {
            SandboxError::LimitReached { retry_after, .. } => Self::NoPlace(retry_after),
            error @ SandboxError::MayBeLeft { .. } => Self::MayBeLeft(Failure::from(error)),
            error => Self::Failed(Failure::from(error)),
        }
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Ledger(error)
    }
}

/// An attempt of a row.
pub(super) struct RowAttempt<'b> {
    pub(super) batch: &'b Batch<'b>,
    pub(super) row: &'b Row,
    /// How the sandbox is created.
    pub(super) provision: &'b ProvisionArgs,
    /// The index among the selected rows.
    pub(super) index: usize,
    pub(super) number: u32,
}

impl RowAttempt<'_> {
    /// Executes the attempt to its end, continuing where an earlier process stopped.
    ///
    /// # Errors
    /// The ledger cannot be written any more.
    pub(super) async fn run(&self, taken: Option<UnderWay>) -> std::io::Result<Ended> {
        let (began, started_at) = (Instant::now(), jiff::Timestamp::now().to_string());
        let provider = self.batch.provider(&self.row.key, self.number, self.provision);
        let UnderWay { requested, sandbox: id, run, .. } = taken.unwrap_or_default();
        let is_server = matches!(provider.site, Site::Server { .. });
        let id = id.map(SandboxId::new).or_else(|| is_server.then(|| SandboxId::new(NO_SANDBOX)));
        let (id, run) = match id {
            // Its creation was cut off, so its state is uncertain.
            Some(id) if requested.is_some() => {
                let _ = Sandbox::existing(provider.clone().of(&id), id).delete().await;
                (None, None)
            }
            id => (id, run),
        };
        let mut sandbox = match &id {
            Some(id) => Sandbox::existing(provider.clone().of(id), id.clone()),
            None => Sandbox::create(provider.clone()),
        };
        // Until its result is recorded, only this function deletes the sandbox.
        sandbox.keep();
        let worked = self.work(&mut sandbox, run).await;
        let id = sandbox.id().cloned();
        let may_be_left = matches!(worked, Err(Trouble::MayBeLeft(_)));
        let (ending, result) = match worked {
            Ok(result) => (ending_of(&result), Some(result)),
            Err(Trouble::NoPlace(retry_after)) => (Ending::NoPlace { retry_after }, None),
            Err(Trouble::Stopped) => (Ending::NotBegun, None),
            Err(Trouble::Ledger(error)) => return Err(error),
            Err(Trouble::Failed(failure) | Trouble::MayBeLeft(failure)) => {
                let mut result = self.result_of(&failure);
                result.seconds = Some(began.elapsed().as_secs_f64());
                result.started_at = Some(started_at);
                (ending_of(&result), Some(result))
            }
        };
        let shown_id = id.as_ref().filter(|_| !is_server).map(ToString::to_string);
        let result = result.map(|result| RowResult { sandbox: shown_id, ..result });
        if let Some(result) = &result {
            self.batch.ledger.result(result).await?;
        }
        let is_clean = self.clean_up(sandbox, &provider, id).await;
        provider.making.is_settled(&self.row.key);
        // The next start searches for a sandbox that may be left.
        if is_clean && !may_be_left {
            provider.note(StepKind::Deleted, None).await?;
        }
        Ok(Ended { ending, result })
    }

    /// Deletes the sandbox, and returns whether nothing is left.
    async fn clean_up(&self, mut sandbox: Sandbox<RowProvider>, provider: &RowProvider, id: Option<SandboxId>) -> bool {
        match id {
            Some(_) if matches!(provider.site, Site::Server { .. }) => {
                sandbox.forget();
                true
            }
            None => sandbox.delete().await.is_ok(),
            Some(id) => {
                sandbox.forget();
                Sandbox::existing(provider.clone().of(&id), id).delete().await.is_ok()
            }
        }
    }

    async fn work(&self, sandbox: &mut Sandbox<RowProvider>, run: Option<StartedRun>) -> Result<RowResult, Trouble> {
        let mut stop = self.batch.stop.subscribe();
        let provider = sandbox.provider().clone();
        let prepared = async {
            let id = sandbox.made().await?;
            let ready = sandbox.ready().await?;
            Ok::<_, Trouble>((id, ready))
        };
        let (id, mut ready) = tokio::select! {
            prepared = prepared => prepared?,
            _ = stop.wait_for(|stop| *stop) => return Err(Trouble::Stopped),
        };
        if let Some(key) = &ready.access.agent_server.session_key {
            self.batch.context.environment.redactor.learn(key);
        }
        let started = match run {
            Some(run) => self.find(&ready.server, run).await?,
            None => None,
        };
        let run = match started {
            Some(run) => {
                tracing::info!(row = self.row.number, id = self.row.key, sandbox = %id, "the run of the row is under way: following it");
                run
            }
            None => {
                let start = self.start(&provider, &id, &ready);
                tokio::select! {
                    run = start => run?,
                    _ = stop.wait_for(|stop| *stop) => return Err(Trouble::Stopped),
                }
            }
        };
        let (exit, is_ended_here) = tokio::select! {
            exit = self.follow(&provider, &id, &mut ready, &run) => (exit?, false),
            _ = stop.wait_for(|stop| *stop) => (self.end(&provider, &id, &mut ready, &run).await?, true),
        };
        let last_words = if exit.is_some() { self.last_words(&ready.server, &run).await } else { String::new() };
        self.fetch(&provider, &ready.server, &run).await?;
        let kept = self.kept_result().await;
        if let Site::Server { .. } = provider.site {
            let line = format!("rm -rf {} {}", run.program_folder, run.command_folder);
            let _ = ready.server.client.execute(&line, SHORT_COMMAND).await;
        }
        match kept {
            Some(result) => Ok(RowResult::of_run(self.row.number, &self.row.key, self.number, &result)),
            None => Err(without_result(exit, is_ended_here, &last_words).into()),
        }
    }

    /// Finds the run that an earlier process has started, or was about to start.
    async fn find(&self, server: &AgentServer, mut run: StartedRun) -> Result<Option<StartedRun>, Trouble> {
        if run.command.is_none() {
            let found = exec::find_in(server, &run.command_folder).await.map_err(Failure::from)?;
            run.command = found.map(|found| found.id().to_owned());
        }
        Ok(run.command.is_some().then_some(run))
    }

    /// Uploads everything to the sandbox and starts the run there.
    async fn start(&self, provider: &RowProvider, id: &SandboxId, ready: &Ready) -> Result<StartedRun, Trouble> {
        let program = provider.inside(Program::new(&self.batch.program).probe("--version"), id, ready);
        let program_folder = program.folder().to_owned();
        let row = serde_json::to_vec(self.row).map_err(std::io::Error::from)?;
        let program = program.file(ROW, row).arg("run").args([
            "--row-file",
            ROW,
            "--status",
            STATUS,
            "--out",
            &format!("{program_folder}/out"),
        ]);
        let program = self.batch.task.beside(program.args(self.batch.flags.iter().map(String::as_str)));
        let variables = self.batch.context.raw().of_a_row();
        let program = variables.fold(program, |program, (name, value)| program.env(name, value));
        let program = program.env("AUTOMATION_RUN_ID", self.run_id());
        let command = {
            // An upload of the program takes memory and processor time.
            let _place = self.batch.uploads.acquire().await;
            program.install(&ready.server).await.map_err(Failure::from)?
        };
        let mut run = StartedRun { command_folder: exec::new_folder(), program_folder, command: None };
        self.note_run(StepKind::Starting, &run).await?;
        let running = exec::start_in(&ready.server, &command, &run.command_folder).await.map_err(Failure::from)?;
        run.command = Some(running.id().to_owned());
        self.note_run(StepKind::Started, &run).await?;
        tracing::info!(row = self.row.number, id = self.row.key, attempt = self.number, sandbox = %id, "run started");
        Ok(run)
    }

    async fn note_run(&self, step: StepKind, run: &StartedRun) -> std::io::Result<()> {
        let step = Step {
            command_folder: Some(run.command_folder.clone()),
            program_folder: Some(run.program_folder.clone()),
            command: run.command.clone(),
            ..Step::now(&self.row.key, self.number, step)
        };
        self.batch.ledger.step(&step).await
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.batch.folder.row_folder(&self.row.key)
    }

    async fn kept_result(&self) -> Option<Value> {
        let path = self.folder().join(RESULT);
        let text = off_thread("result", move || std::fs::read(path)).await.ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Returns the id of the run: that of the row, or a separate one for a further attempt.
    fn run_id(&self) -> String {
        let id = self.batch.folder.run_id(&self.row.key);
        if self.number == 1 { id } else { format!("{id}-{}", self.number) }
    }

    fn result_of(&self, failure: &Failure) -> RowResult {
        let redactor = &self.batch.context.environment.redactor;
        let (code, exit_code) = (failure.reported_code(redactor), u64::from(failure.kind.exit_code().0));
        RowResult {
            row: self.row.number,
            key: self.row.key.clone(),
            attempt: self.number,
            run_id: Some(self.run_id()),
            status: "FAILED".to_owned(),
            class: Some(FailureClass::of(&code, exit_code)),
            code: Some(code),
            detail: Some(failure.for_result(redactor).detail),
            exit_code: Some(exit_code),
            ..RowResult::default()
        }
    }
}

fn ending_of(result: &RowResult) -> Ending {
    match result.class {
        _ if result.has_completed() => Ending::Completed,
        class => Ending::Failed(class.unwrap_or(FailureClass::Agent)),
    }
}

/// Returns the failure of a run that ended without a result.
fn without_result(exit: Option<u8>, is_ended_here: bool, last_words: &str) -> Failure {
    let kind = match exit {
        // Such as a program that had only just started.
        _ if is_ended_here => FailureKind::Terminated,
        Some(2 | 78) => FailureKind::InvalidInput,
        Some(70) => FailureKind::InternalError,
        _ => FailureKind::RunnerDied,
    };
    let code = exit.map(|code| format!(" with exit code {code}")).unwrap_or_default();
    Failure::new(kind, format!("the run ended{code} and left no result: {last_words}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_a_result_has_failed_by_itself_unless_the_batch_has_ended_it() {
        let class = |exit, is_ended_here| {
            let kind = without_result(exit, is_ended_here, "words").kind;
            FailureClass::of(kind.code(), u64::from(kind.exit_code().0))
        };
        for (exit, of_itself) in [
            (None, FailureClass::Infrastructure),
            (Some(143), FailureClass::Infrastructure),
            (Some(78), FailureClass::Input),
            (Some(70), FailureClass::Runner),
        ] {
            assert_eq!((class(exit, false), class(exit, true)), (of_itself, FailureClass::Interrupted), "{exit:?}");
        }
    }
}
