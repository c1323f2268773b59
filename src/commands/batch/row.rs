//! One attempt of a row: its sandbox, its run in there, and what is kept of it. Each step is written down before the next one, so that
//! another process can continue from there.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use openhands_client::agent_server::AgentServer;
use openhands_client::ids::SandboxId;
use openhands_client::off_thread::off_thread;
use openhands_client::sandbox::exec::{self, Running};
use openhands_client::sandbox::program::Program;
use openhands_client::sandbox::ready::{Ready, await_ready};
use openhands_client::sandbox::{Sandbox, SandboxError, copy};
use openhands_client::text;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::provider::{RowProvider, Site};
use super::start::Batch;
use crate::batch::ledger::{StartedRun, Step, StepKind, UnderWay};
use crate::batch::queue::Ending;
use crate::batch_folder::{FailureClass, ROW, RowResult};
use crate::input::rows::Row;
use crate::outcome::{Failure, FailureKind};
use crate::run_folder::RESULT;

/// Between two looks at a run.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// After so many looks, a run that has not ended is asked for by its process: an agent-server that was restarted knows no end.
const LOOKS_AT_THE_SERVER: u32 = 12;

/// The end of what the run wrote to standard error, in bytes, for a run without a result.
const LAST_WORDS: u32 = 600;

/// The limit of a short command in the sandbox.
const SHORT_COMMAND: Duration = Duration::from_secs(60);

/// What stands for the id of a sandbox where there is none.
const NO_SANDBOX: &str = "agent-server";

/// How an attempt ended.
pub(super) struct Ended {
    pub(super) ending: Ending,
    pub(super) result: Option<RowResult>,
}

/// Why an attempt has no result of a run.
enum Trouble {
    /// It counts as the result.
    Failed(Failure),
    /// The provider has no place for a sandbox.
    NoPlace(Option<Duration>),
    /// The batch ends, and the run had not begun.
    Stopped,
    /// Nothing can be written any more. The sandbox stays for the next start of the batch.
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
            error => Self::Failed(Failure::from(error)),
        }
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Ledger(error)
    }
}

/// What the process in the sandbox shows.
enum Life {
    Runs,
    /// Its result is there.
    Ended,
    /// It is gone without a result.
    Lost,
}

/// An attempt of a row.
pub(super) struct RowAttempt<'b> {
    pub(super) batch: &'b Batch<'b>,
    pub(super) row: &'b Row,
    pub(super) number: u32,
}

impl RowAttempt<'_> {
    /// Runs the attempt to its end, from where an earlier process has left it.
    ///
    /// # Errors
    /// Nothing can be written down any more.
    pub(super) async fn run(&self, taken: Option<UnderWay>) -> std::io::Result<Ended> {
        let (began, started_at) = (Instant::now(), jiff::Timestamp::now().to_string());
        let provider = self.batch.provider(&self.row.key, self.number);
        let UnderWay { requested, sandbox: id, run, .. } = taken.unwrap_or_default();
        let is_server = matches!(provider.site, Site::Server { .. });
        let id = id.map(SandboxId::new).or_else(|| is_server.then(|| SandboxId::new(NO_SANDBOX)));
        let (id, run) = match id {
            // Its making was cut off: it is in no certain state.
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
        // Until its result is written down, it is not deleted by anything but this function.
        sandbox.keep();
        let worked = self.work(&mut sandbox, run).await;
        let id = sandbox.id().cloned();
        let (ending, result) = match worked {
            Ok(result) => (ending_of(&result), Some(result)),
            Err(Trouble::NoPlace(retry_after)) => (Ending::NoPlace { retry_after }, None),
            Err(Trouble::Stopped) => (Ending::NotBegun, None),
            Err(Trouble::Ledger(error)) => return Err(error),
            Err(Trouble::Failed(failure)) => {
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
        if self.clean_up(sandbox, &provider, id).await {
            provider.note(StepKind::Deleted, None).await?;
        }
        Ok(Ended { ending, result })
    }

    /// Deletes the sandbox. Whether nothing is left.
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
        let exit = tokio::select! {
            exit = self.follow(&provider, &id, &mut ready, &run) => exit?,
            _ = stop.wait_for(|stop| *stop) => self.end(&provider, &id, &mut ready, &run).await?,
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
            None => Err(without_result(exit, &last_words).into()),
        }
    }

    /// The run that an earlier process has started, or was about to start.
    async fn find(&self, server: &AgentServer, mut run: StartedRun) -> Result<Option<StartedRun>, Trouble> {
        if run.command.is_none() {
            let found = exec::find_in(server, &run.command_folder).await.map_err(Failure::from)?;
            run.command = found.map(|found| found.id().to_owned());
        }
        Ok(run.command.is_some().then_some(run))
    }

    /// Puts everything into the sandbox and starts the run there.
    async fn start(&self, provider: &RowProvider, id: &SandboxId, ready: &Ready) -> Result<StartedRun, Trouble> {
        let program = provider.inside(Program::new(&self.batch.program).probe("--version"), id, ready);
        let program_folder = program.folder().to_owned();
        let row = serde_json::to_vec(self.row).map_err(std::io::Error::from)?;
        let program =
            program.file(ROW, row).arg("run").args(["--row-file", ROW, "--out", &format!("{program_folder}/out")]);
        let program = self.batch.task.beside(program.args(self.batch.flags.iter().map(String::as_str)));
        let variables = self.batch.context.raw().of_a_row();
        let program = variables.fold(program, |program, (name, value)| program.env(name, value));
        let program = program.env("AUTOMATION_RUN_ID", self.run_id());
        let command = {
            // Uploads of a program take memory and processor time.
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

    /// Waits for the end of the run. Its exit code, where the agent-server still knows it. A paused sandbox is resumed.
    async fn follow(
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
                    tracing::warn!(row = self.row.number, error = %text::chain(&error), "the sandbox does not answer: looking at it");
                    *ready = await_ready(&provider.clone().of(id), id).await?;
                    match self.life(&ready.server, run).await {
                        Some(Life::Ended) => return Ok(None),
                        Some(Life::Lost) => return Err(lost().into()),
                        Some(Life::Runs) | None => {}
                    }
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Err(lost().into())
    }

    /// Ends the run, which reports how it ended. One that takes too long is killed.
    async fn end(
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

    /// Looks at the process and the result of the run. `None` if the sandbox cannot be asked.
    async fn life(&self, server: &AgentServer, run: &StartedRun) -> Option<Life> {
        let StartedRun { command_folder, program_folder, .. } = run;
        // The process first: one that ends in between has left its result.
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

    async fn last_words(&self, server: &AgentServer, run: &StartedRun) -> String {
        let line = format!("tail -c {LAST_WORDS} {}/stderr", run.command_folder);
        server
            .client
            .execute(&line, SHORT_COMMAND)
            .await
            .map(|done| done.stdout().trim().to_owned())
            .unwrap_or_default()
    }

    /// Copies the run folder out of the sandbox. A second attempt takes the place of the first.
    async fn fetch(&self, provider: &RowProvider, server: &AgentServer, run: &StartedRun) -> Result<(), Trouble> {
        let (from, to) = (format!("{}/out", run.program_folder), self.folder());
        let there = server.client.execute(&format!("test -d {from}"), SHORT_COMMAND).await;
        let is_there =
            there.map_err(|error| Failure::from(SandboxError::request("looking at the run folder")(error)))?;
        self.empty_folder().await?;
        if !is_there.is_success() {
            return Ok(());
        }
        let limit = self.batch.context.environment.time_limits.run.last_delivery.max(provider_limit(provider));
        let copied = timeout(limit, copy::download(server, &format!("{from}/."), &to)).await;
        match copied {
            Ok(copied) => copied.map(drop).map_err(|error| Failure::from(error).into()),
            Err(_) => Err(Failure::new(
                FailureKind::SandboxUnavailable,
                format!("the run folder could not be copied within {} s", limit.as_secs()),
            )
            .into()),
        }
    }

    /// Makes the folder of the row anew, with the row in it.
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

    fn folder(&self) -> PathBuf {
        self.batch.folder.row_folder(&self.row.key)
    }

    async fn kept_result(&self) -> Option<Value> {
        let path = self.folder().join(RESULT);
        let text = off_thread("result", move || std::fs::read(path)).await.ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// The id of the run: the row's, and of a further attempt its own.
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

fn provider_limit(provider: &RowProvider) -> Duration {
    use openhands_client::sandbox::Provider as _;
    provider.http().time_limits().stalled
}

fn ending_of(result: &RowResult) -> Ending {
    match result.class {
        _ if result.has_completed() => Ending::Completed,
        class => Ending::Failed(class.unwrap_or(FailureClass::Agent)),
    }
}

fn lost() -> Failure {
    Failure::new(FailureKind::SandboxUnavailable, "the process of the run is gone from its sandbox, without a result")
}

/// A run that has ended and left no result.
fn without_result(exit: Option<u8>, last_words: &str) -> Failure {
    let kind = match exit {
        Some(2 | 78) => FailureKind::InvalidInput,
        Some(70) => FailureKind::InternalError,
        _ => FailureKind::RunnerDied,
    };
    let code = exit.map(|code| format!(" with exit code {code}")).unwrap_or_default();
    Failure::new(kind, format!("the run ended{code} and left no result: {last_words}"))
}
