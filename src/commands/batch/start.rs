//! `batch TASK --rows FILE --out DIR`: runs the rows that have no final result yet.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use openhands_client::http::Http;
use openhands_client::ids::SandboxId;
use openhands_client::off_thread::off_thread;
use openhands_client::sandbox::{Access, Sandbox};
use openhands_client::secret::Secret;
use openhands_client::text;
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until};

use super::super::task_file::files_of;
use super::super::upload::{TaskUpload, program_to_upload, run_flags};
use super::super::{CommandContext, until_signal};
use super::claim::claim;
use super::provider::{RowProvider, Site};
use super::report::in_words;
use super::row::{Ended, RowAttempt};
use crate::batch::ledger::{Ledger, Past, Records, StepKind, UnderWay};
use crate::batch::pace::Pace;
use crate::batch::queue::{Attempt, Ending, Next, Queue, QueueLimits};
use crate::batch_folder::BatchFolder;
use crate::batch_report;
use crate::cli::{CommonArgs, Place, ResultFormat, StartArgs};
use crate::input::rows::{Row, Rows};
use crate::input::services::ProviderSettings;
use crate::input::settings::{Overrides, Settings};
use crate::input::task::source::Source;
use crate::outcome::{ExitCode, Failure, FailureKind};
use crate::plan::RunPlan;
use crate::prepare::provider::AnyProvider;
use crate::problem::{Problem, Problems};
use crate::process::signals::{Shutdown, Signal};

/// Problems that are told of all rows.
const MOST_PROBLEMS: usize = 20;

/// Programs that are uploaded at the same time; each takes two megabytes of memory.
const UPLOADS: usize = 4;

/// A batch that is being run.
pub(super) struct Batch<'c> {
    pub(super) context: &'c CommandContext,
    pub(super) folder: BatchFolder,
    pub(super) ledger: Arc<Ledger>,
    pub(super) program: PathBuf,
    pub(super) task: TaskUpload,
    pub(super) flags: Vec<String>,
    pub(super) uploads: Semaphore,
    /// Becomes `true` when the rows that run are to end.
    pub(super) stop: watch::Sender<bool>,
    pace: Arc<Pace>,
    http: Http,
    args: StartArgs,
    /// Nothing where the rows run on an agent-server.
    provider: Option<ProviderSettings>,
}

impl Batch<'_> {
    /// The provider of the sandbox of an attempt.
    pub(super) fn provider(&self, key: &str, attempt: u32) -> RowProvider {
        let site = match (&self.provider, &self.args.place) {
            (None, Place::Server(url)) => {
                let raw = self.context.raw();
                let key = raw.session_api_key.as_deref().or(raw.oh_session_api_keys_0.as_deref()).map(Secret::new);
                Site::Server { access: Box::new(Access::new(url.clone(), key, None)), http: self.http.clone() }
            }
            // A value for each sandbox: it has its name.
            (Some(settings), _) => {
                Site::Sandbox(AnyProvider::new(settings, &self.args.provision, self.http.clone(), self.context.raw()))
            }
            (None, Place::Sandboxes(_)) => unreachable!("sandboxes have a provider"),
        };
        RowProvider {
            site,
            ledger: Arc::clone(&self.ledger),
            pace: Arc::clone(&self.pace),
            key: key.to_owned(),
            attempt,
        }
    }
}

/// A row, and the cost limit of its run.
struct PlannedRow {
    row: Row,
    cost_limit: Option<f64>,
}

/// Why a batch ended before its rows.
enum Early {
    Signal(Signal),
    TimeLimit,
    CostLimit,
    Failed(Failure),
}

pub(super) async fn run(
    context: &CommandContext,
    args: StartArgs,
    common: &CommonArgs,
    shutdown: &mut Shutdown,
) -> Result<ExitCode, Failure> {
    let ends_at = args.timeout.map(|limit| Instant::now() + limit);
    let rows = until_signal(shutdown, planned(context, &args)).await?;
    let (batch, mut records) = opened(context, args, common).await?;
    if let Some(AnyProvider::Cloud(cloud)) = batch.any_provider() {
        let claimed = until_signal(shutdown, claim(&cloud.sandboxes, &mut records)).await?;
        for (key, id) in &claimed {
            let attempt = records.rows.get(key).map_or(1, Past::next_attempt);
            let noted = batch.provider(key, attempt).note(StepKind::Made, Some(id)).await;
            noted.map_err(|error| unwritable(&batch, &error))?;
        }
    }
    delete_leftovers(&batch, &mut records).await;
    let early = drive(&batch, &rows, records, ends_at, shutdown).await;
    finish(context, &batch, &rows, early).await
}

impl Batch<'_> {
    fn any_provider(&self) -> Option<AnyProvider> {
        let settings = self.provider.as_ref()?;
        Some(AnyProvider::new(settings, &self.args.provision, self.http.clone(), self.context.raw()))
    }
}

/// Reads the rows, and plans the run of each: what would be wrong in its sandbox is said here.
async fn planned(context: &CommandContext, args: &StartArgs) -> Result<Vec<PlannedRow>, Failure> {
    let missing = |what: &str| Failure::usage(Problem::new(what, "not given", "name it"));
    let file = args.rows.rows.clone().ok_or_else(|| missing("--rows"))?;
    let task = args.task.clone().ok_or_else(|| missing("TASK"))?;
    let overrides = args.overrides();
    let (provider, agent_server_url) = match &args.place {
        Place::Sandboxes(kind) => (Some(*kind), None),
        Place::Server(url) => (None, Some(url.clone())),
    };
    let flags = Overrides {
        agent_profile: overrides.agent_profile.clone(),
        params: overrides.params.clone(),
        provider,
        agent_server_url,
        ..Overrides::default()
    };
    let raw = context.raw().for_rows();
    let settings = Settings::from_env(&raw, &context.environment.not_text, flags).map_err(Failure::invalid)?;
    let (selection, limits) = (args.rows.selection(), context.environment.time_limits.run);
    let plan = move || {
        let rows = selection.of(Rows::read(&file)?)?;
        let source = Source::named(Some(&task), Path::new("."));
        let (mut planned, mut problems) = (Vec::with_capacity(rows.len()), Vec::<Problem>::new());
        for row in rows {
            let task = source.load_for(Some(&row)).map(|task| overrides.applied_to(task));
            let cost_limit = task.as_ref().ok().and_then(|task| task.limits.cost);
            match task.and_then(|task| RunPlan::new(settings.clone(), task, limits)) {
                Ok(_) => planned.push(PlannedRow { row, cost_limit }),
                Err(Problems(found)) => {
                    for problem in found {
                        if problems.iter().all(|told| told.to_string() != problem.to_string()) {
                            problems.push(problem);
                        }
                    }
                }
            }
            if problems.len() >= MOST_PROBLEMS {
                problems.truncate(MOST_PROBLEMS);
                break;
            }
        }
        if problems.is_empty() { Ok(planned) } else { Err(Problems(problems)) }
    };
    off_thread("rows", plan).await.map_err(Failure::invalid)
}

/// Opens the folder of the batch for this process alone.
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
    let batch = Batch {
        context,
        ledger: Arc::new(ledger),
        program,
        task,
        flags: run_flags(&args.overrides(), &CommonArgs { format: ResultFormat::default(), ..common.clone() }),
        uploads: Semaphore::new(UPLOADS),
        stop: watch::Sender::new(false),
        pace: Arc::new(Pace::new(args.rate)),
        http: context.http()?,
        provider,
        folder,
        args,
    };
    Ok((batch, records))
}

/// Deletes the sandboxes of attempts that have their result.
async fn delete_leftovers(batch: &Batch<'_>, records: &mut Records) {
    let left = records.rows.iter().filter_map(|(key, past)| Some((key, past.leftover()?)));
    let left: Vec<(String, u32, String)> =
        left.filter_map(|(key, left)| Some((key.clone(), left.attempt, left.sandbox.clone()?))).collect();
    let deleted = left.iter().map(async |(key, attempt, sandbox)| {
        let id = SandboxId::new(&**sandbox);
        let provider = batch.provider(key, *attempt).of(&id);
        // A failure is in the log, and the next start deletes it.
        if Sandbox::existing(provider.clone(), id).delete().await.is_ok() {
            let _ = provider.note(StepKind::Deleted, None).await;
        }
    });
    futures_util::future::join_all(deleted).await;
}

/// Runs the rows. Why it ended early, if it did.
async fn drive(
    batch: &Batch<'_>,
    rows: &[PlannedRow],
    records: Records,
    ends_at: Option<Instant>,
    shutdown: &mut Shutdown,
) -> Option<Early> {
    let started = Instant::now();
    let mut under_way: BTreeMap<usize, UnderWay> = BTreeMap::new();
    let (mut first, mut later) = (Vec::new(), Vec::new());
    for (index, PlannedRow { row, cost_limit }) in rows.iter().enumerate() {
        let past = records.rows.get(&row.key).cloned().unwrap_or_default();
        if past.is_final() && past.unfinished().is_none() {
            continue;
        }
        let attempt = Attempt { row: index, number: past.next_attempt(), cost_limit: *cost_limit };
        match past.unfinished() {
            Some(left) => {
                under_way.insert(index, left.clone());
                first.push(attempt);
            }
            None => later.push(attempt),
        }
    }
    let open = first.len() + later.len();
    tracing::info!(rows = rows.len(), done = rows.len() - open, under_way = first.len(), "batch started");
    let limits =
        QueueLimits { concurrency: batch.args.concurrency, retries: batch.args.retries, cost: batch.args.cost };
    let mut queue = Queue::new(limits, first.into_iter().chain(later), records.spent);
    let mut running = FuturesUnordered::new();
    let mut early = None;
    loop {
        let wake = match queue.next(started.elapsed()) {
            Next::Start(attempt) => {
                let taken = under_way.remove(&attempt.row);
                let row = &rows[attempt.row].row;
                running.push(Box::pin(async move {
                    let run = RowAttempt { batch, row, number: attempt.number };
                    (attempt, run.run(taken).await)
                }));
                continue;
            }
            Next::Over => break,
            Next::Wait(until) => until.map(|until| started + until),
        };
        tokio::select! {
            Some((attempt, ended)) = running.next() => match ended {
                Ok(Ended { ending, result }) => {
                    let cost = result.as_ref().and_then(|result| result.cost);
                    let is_done = queue.ended(attempt, ending, cost, started.elapsed());
                    if let Some(result) = &result {
                        let reason = result.code.as_deref().unwrap_or_default();
                        let state = if result.has_completed() { "completed" } else if is_done { "failed" } else { "trying again" };
                        tracing::info!(
                            row = result.row, id = result.key, attempt = result.attempt, reason,
                            running = queue.running(), waiting = queue.waiting(), spent = format!("{:.2}", queue.spent()),
                            "row {state}"
                        );
                        if result.code.as_deref() == Some(FailureKind::CredentialsRefused.code()) && result.folder.is_none() {
                            // Each row would fail so.
                            queue.stop();
                            let detail = result.detail.clone().unwrap_or_default();
                            early.get_or_insert(Early::Failed(Failure::new(FailureKind::CredentialsRefused, detail)));
                        }
                    }
                    if batch.args.strict && queue.is_overspent() {
                        end(batch, &mut queue);
                        early.get_or_insert(Early::CostLimit);
                    }
                }
                Err(error) => {
                    queue.ended(attempt, Ending::NotBegun, None, started.elapsed());
                    end(batch, &mut queue);
                    early.get_or_insert(Early::Failed(unwritable(batch, &error)));
                }
            },
            () = until(wake) => {}
            () = until(ends_at), if !matches!(early, Some(Early::TimeLimit)) => {
                tracing::warn!("the time limit of the batch is reached: ending the rows that run");
                end(batch, &mut queue);
                early = Some(Early::TimeLimit);
            }
            signal = shutdown.requested() => {
                if shutdown.received() > 1 {
                    tracing::warn!("the runs continue in their sandboxes; the same command takes them over");
                    return Some(Early::Signal(signal));
                }
                tracing::warn!("ending the rows that run; another signal leaves them to the next start of the batch");
                end(batch, &mut queue);
                early = Some(Early::Signal(signal));
            }
        }
    }
    if queue.is_out_of_money() {
        tracing::warn!(waiting = queue.waiting(), "the next row may bring the batch above its cost limit (--cost)");
        early.get_or_insert(Early::CostLimit);
    }
    early
}

/// Starts nothing any more, and ends what runs.
fn end(batch: &Batch<'_>, queue: &mut Queue) {
    queue.stop();
    batch.stop.send_replace(true);
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn unwritable(batch: &Batch<'_>, error: &std::io::Error) -> Failure {
    let found = format!("cannot be written ({})", text::chain(error));
    let help = "make room on the disk, and give the same command again: it continues the batch";
    Failure::invalid(Problem::new(batch.folder.path().display().to_string(), found, help).into())
}

/// Writes the reports, says how the batch stands, and gives the exit code.
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
