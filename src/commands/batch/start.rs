//! `batch TASK --rows FILE --out DIR`: runs the rows that have no final result yet.

use std::path::PathBuf;
use std::sync::Arc;

use openhands_client::http::Http;
use openhands_client::ids::SandboxId;
use openhands_client::off_thread::off_thread;
use openhands_client::sandbox::{Access, Sandbox};
use openhands_client::secret::Secret;
use openhands_client::text;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::super::task_file::files_of;
use super::super::upload::{TaskUpload, program_to_upload, run_flags};
use super::super::{CommandContext, until_signal};
use super::claim::claim;
use super::drive::{Early, drive};
use super::plan::{PlannedRow, planned};
use super::provider::{RowProvider, Site};
use super::report::in_words;
use crate::batch::ledger::{Ledger, Past, Records, StepKind};
use crate::batch::making::Making;
use crate::batch::pace::Pace;
use crate::batch_folder::BatchFolder;
use crate::batch_report;
use crate::cli::{CommonArgs, Place, ProvisionArgs, ResultFormat, StartArgs};
use crate::input::services::ProviderSettings;
use crate::outcome::{ExitCode, Failure, FailureKind};
use crate::prepare::provider::AnyProvider;
use crate::problem::Problem;
use crate::process::signals::Shutdown;
use crate::sinks::status::State;

/// The maximum number of simultaneous uploads of the program; each takes two megabytes of memory.
const UPLOADS: usize = 4;

/// A batch in progress.
pub(super) struct Batch<'c> {
    pub(super) context: &'c CommandContext,
    pub(super) folder: BatchFolder,
    pub(super) ledger: Arc<Ledger>,
    pub(super) program: PathBuf,
    pub(super) task: TaskUpload,
    pub(super) flags: Vec<String>,
    pub(super) uploads: Semaphore,
    /// Becomes `true` when the running rows have to end.
    pub(super) stop: watch::Sender<bool>,
    /// Receives the states of the runs of the rows, if requested.
    pub(super) states: Option<UnboundedSender<(usize, State)>>,
    pub(super) args: StartArgs,
    pace: Arc<Pace>,
    making: Arc<Making>,
    http: Http,
    /// `None` if the rows run on an agent-server.
    provider: Option<ProviderSettings>,
}

impl Batch<'_> {
    /// Returns the provider of the sandbox for an attempt, which creates a sandbox according to the flags.
    pub(super) fn provider(&self, key: &str, attempt: u32, provision: &ProvisionArgs) -> RowProvider {
        let site = match (&self.provider, &self.args.place) {
            (None, Place::Server(url)) => {
                let raw = self.context.raw();
                let key = raw.session_api_key.as_deref().or(raw.oh_session_api_keys_0.as_deref()).map(Secret::new);
                Site::Server { access: Box::new(Access::new(url.clone(), key, None)), http: self.http.clone() }
            }
            // Each sandbox needs a new value, because the value contains its name.
            (Some(settings), _) => {
                Site::Sandbox(AnyProvider::new(settings, provision, self.http.clone(), self.context.raw()))
            }
            (None, Place::Sandboxes(_)) => unreachable!("sandboxes have a provider"),
        };
        RowProvider {
            site,
            ledger: Arc::clone(&self.ledger),
            pace: Arc::clone(&self.pace),
            making: Arc::clone(&self.making),
            key: key.to_owned(),
            attempt,
        }
    }
}

pub(super) async fn run(
    context: &CommandContext,
    args: StartArgs,
    common: &CommonArgs,
    shutdown: &mut Shutdown,
) -> Result<ExitCode, Failure> {
    let ends_at = args.timeout.map(|limit| Instant::now() + limit);
    let rows = until_signal(shutdown, planned(context, &args)).await?;
    let (mut batch, mut records) = opened(context, args, common).await?;
    let (sender, states) = unbounded_channel();
    batch.states = (batch.args.strict || context.watch.is_on()).then_some(sender);
    if let Some(AnyProvider::Cloud(cloud)) = batch.any_provider() {
        let claimed = until_signal(shutdown, claim(&cloud.sandboxes, &mut records)).await?;
        for (key, id) in &claimed {
            let attempt = records.rows.get(key).map_or(1, Past::next_attempt);
            let provider = batch.provider(key, attempt, &batch.args.provision);
            let noted = provider.note(StepKind::Made, Some(id)).await;
            noted.map_err(|error| unwritable(&batch, &error))?;
            batch.making.knows(id.as_str());
        }
    }
    delete_leftovers(&batch, &mut records).await;
    let early = drive(&batch, &rows, records, states, ends_at, shutdown).await;
    finish(context, &batch, &rows, early).await
}

impl Batch<'_> {
    fn any_provider(&self) -> Option<AnyProvider> {
        let settings = self.provider.as_ref()?;
        Some(AnyProvider::new(settings, &self.args.provision, self.http.clone(), self.context.raw()))
    }
}

/// Opens the folder of the batch exclusively for this process.
async fn opened<'c>(
    context: &'c CommandContext,
    args: StartArgs,
    common: &CommonArgs,
) -> Result<(Batch<'c>, Records), Failure> {
    let provider = match &args.place {
        Place::Sandboxes(kind) => Some(ProviderSettings::from_env(*kind, context.raw()).map_err(Failure::invalid)?),
        Place::Server(_) => None,
    };
    let program = program_to_upload(args.binary.as_deref())?;
    let (task, out) = (args.task.clone().unwrap_or_default(), args.out.clone().unwrap_or_default());
    let task =
        off_thread("task file", move || files_of(&task)).await.map_err(|problem| Failure::invalid(problem.into()))?;
    let folder = off_thread("batch folder", move || BatchFolder::open(&out)).await.map_err(Failure::from)?;
    let path = folder.path().to_owned();
    let taken = off_thread("ledger", move || Ledger::take(&path)).await;
    let place = || folder.path().display().to_string();
    let taken = taken.map_err(|error| {
        Failure::invalid(
            Problem::new(place(), format!("cannot be used ({error})"), "name a folder that you may write").into(),
        )
    })?;
    let Some((ledger, records)) = taken else {
        let help = "wait for its end, or look at it with `openhands-runner batch status`";
        return Err(Failure::invalid(Problem::new(place(), "another process runs this batch", help).into()));
    };
    let making = Arc::<Making>::default();
    records.sandboxes.iter().for_each(|sandbox| making.knows(sandbox));
    let batch = Batch {
        context,
        ledger: Arc::new(ledger),
        program,
        task,
        flags: run_flags(&args.overrides(), &CommonArgs { format: ResultFormat::default(), ..common.clone() }),
        uploads: Semaphore::new(UPLOADS),
        stop: watch::Sender::new(false),
        states: None,
        pace: Arc::new(Pace::new(args.rate)),
        making,
        http: context.http()?,
        provider,
        folder,
        args,
    };
    Ok((batch, records))
}

/// Deletes the sandboxes of attempts that have a result.
async fn delete_leftovers(batch: &Batch<'_>, records: &mut Records) {
    let left = records.rows.iter().filter_map(|(key, past)| Some((key, past.leftover()?)));
    let left: Vec<(String, u32, String)> =
        left.filter_map(|(key, left)| Some((key.clone(), left.attempt, left.sandbox.clone()?))).collect();
    let deleted = left.iter().map(async |(key, attempt, sandbox)| {
        let id = SandboxId::new(&**sandbox);
        let provider = batch.provider(key, *attempt, &batch.args.provision).of(&id);
        // A failure is logged, and the next start deletes the sandbox.
        if Sandbox::existing(provider.clone(), id).delete().await.is_ok() {
            let _ = provider.note(StepKind::Deleted, None).await;
        }
    });
    futures_util::future::join_all(deleted).await;
}

pub(super) fn unwritable(batch: &Batch<'_>, error: &std::io::Error) -> Failure {
    let found = format!("cannot be written ({})", text::chain(error));
    let help = "make room on the disk, and give the same command again: it continues the batch";
    Failure::invalid(Problem::new(batch.folder.path().display().to_string(), found, help).into())
}

/// Writes the reports, prints the state of the batch, and returns the exit code.
async fn finish(
    context: &CommandContext,
    batch: &Batch<'_>,
    rows: &[PlannedRow],
    early: Option<Early>,
) -> Result<ExitCode, Failure> {
    let path = batch.folder.path().to_owned();
    let written = off_thread("report", move || batch_report::write(&path)).await;
    let (page, summary) = written.map_err(|error| unwritable(batch, &error))?;
    let not_begun = rows.len().saturating_sub(summary.rows);
    let mut words = vec![in_words(&summary)];
    if not_begun > 0 {
        words.push(format!("open    {not_begun} rows have not begun: give the same command again"));
    }
    words.push(format!("report  {}", page.display()));
    let object = json!({
        "status": if summary.completed == rows.len() { "COMPLETED" } else { "FAILED" },
        "report": page.display().to_string(),
        "summary": summary,
        "not_begun": not_begun,
    });
    context.tell(&words.join("\n"), &object).await;
    match early {
        Some(Early::Failed(failure)) => Err(failure),
        Some(Early::Signal(signal)) => Ok(Failure::from(signal).kind.exit_code()),
        Some(Early::TimeLimit) => Ok(FailureKind::Timeout.exit_code()),
        _ if summary.completed >= rows.len() => Ok(ExitCode::COMPLETED),
        Some(Early::CostLimit) | None => Ok(ExitCode::FAILED),
    }
}
