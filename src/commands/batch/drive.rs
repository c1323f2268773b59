//! Runs the rows of a batch: decides which row runs when, and what ends the batch early.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, interval, sleep_until};

use super::plan::PlannedRow;
use super::row::{Ended, RowAttempt};
use super::standing::Standing;
use super::start::{Batch, unwritable};
use crate::batch::ledger::{Records, UnderWay};
use crate::batch::queue::{Attempt, Ending, Next, Queue, QueueLimits};
use crate::batch_folder::RowResult;
use crate::outcome::{Failure, FailureKind};
use crate::process::signals::{Shutdown, Signal};
use crate::sinks::status::State;

/// The longest time between two updates of the live lines.
const BETWEEN_LINES: Duration = Duration::from_secs(1);

/// The reason why a batch ended before all its rows.
pub(super) enum Early {
    Signal(Signal),
    TimeLimit,
    CostLimit,
    Failed(Failure),
}

/// Runs the rows. Returns the reason if the batch ended early.
pub(super) async fn drive(
    batch: &Batch<'_>,
    rows: &[PlannedRow],
    records: Records,
    mut states: UnboundedReceiver<(usize, State)>,
    ends_at: Option<Instant>,
    shutdown: &mut Shutdown,
) -> Option<Early> {
    let started = Instant::now();
    let mut standing = Standing::new(rows.len());
    let mut under_way: BTreeMap<usize, UnderWay> = BTreeMap::new();
    let open = open_attempts(rows, &records, &mut standing, &mut under_way);
    tracing::info!(rows = rows.len(), done = rows.len() - open.len(), under_way = under_way.len(), "batch started");
    let limits =
        QueueLimits { concurrency: batch.args.concurrency, retries: batch.args.retries, cost: batch.args.cost };
    let mut queue = Queue::new(limits, open, records.spent);
    let mut running = FuturesUnordered::new();
    let mut early = None;
    standing.begin();
    let watch = &batch.context.watch;
    watch.begin("batch", "", batch.args.timeout);
    let mut ticks = interval(BETWEEN_LINES);
    loop {
        if watch.is_on() {
            let now = started.elapsed();
            let line = standing.line(queue.running(), queue.waiting(), now);
            watch.change(line, standing.rows(now), queue.spent(), batch.args.cost);
        }
        let wake = match queue.next(started.elapsed()) {
            Next::Start(attempt) => {
                let taken = under_way.remove(&attempt.row);
                let PlannedRow { row, provision, .. } = &rows[attempt.row];
                standing.starts(attempt.row, &row.key, started.elapsed());
                running.push(Box::pin(async move {
                    let run = RowAttempt { batch, row, provision, index: attempt.row, number: attempt.number };
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
                    standing.ends(attempt.row);
                    let cost = result.as_ref().and_then(|result| result.cost);
                    let is_done = queue.ended(attempt, ending, cost, started.elapsed());
                    if let Some(result) = &result {
                        if is_done {
                            standing.add(result.has_completed());
                        }
                        tell(result, is_done, &standing, &queue);
                        if result.code.as_deref() == Some(FailureKind::CredentialsRefused.code()) && result.folder.is_none() {
                            // Every other row would fail in the same way.
                            queue.stop();
                            let detail = result.detail.clone().unwrap_or_default();
                            early.get_or_insert(Early::Failed(Failure::new(FailureKind::CredentialsRefused, detail)));
                        }
                    }
                    end_if_overspent(batch, &mut queue, &mut early);
                }
                Err(error) => {
                    queue.ended(attempt, Ending::NotBegun, None, started.elapsed());
                    end(batch, &mut queue);
                    early.get_or_insert(Early::Failed(unwritable(batch, &error)));
                }
            },
            Some((row, state)) = states.recv() => {
                standing.has_state(row, &state);
                if let Some(dollars) = state.cost.known() {
                    queue.has_cost(row, dollars);
                    end_if_overspent(batch, &mut queue, &mut early);
                }
            }
            _ = ticks.tick(), if watch.is_on() => {}
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

/// Returns the attempts of the rows that are not done. Those in progress come first.
fn open_attempts(
    rows: &[PlannedRow],
    records: &Records,
    standing: &mut Standing,
    under_way: &mut BTreeMap<usize, UnderWay>,
) -> Vec<Attempt> {
    let (mut first, mut later) = (Vec::new(), Vec::new());
    for (index, PlannedRow { row, cost_limit, .. }) in rows.iter().enumerate() {
        let past = records.rows.get(&row.key).cloned().unwrap_or_default();
        if past.is_final() && past.unfinished().is_none() {
            standing.add(past.result.as_ref().is_some_and(RowResult::has_completed));
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
    first.append(&mut later);
    first
}

/// Logs an attempt that has ended.
fn tell(result: &RowResult, is_done: bool, standing: &Standing, queue: &Queue) {
    let state = match (result.has_completed(), is_done) {
        (true, _) => "completed",
        (false, true) => "failed",
        (false, false) => "will be retried",
    };
    tracing::info!(
        row = result.row,
        id = result.key,
        attempt = result.attempt,
        reason = result.code.as_deref(),
        running = queue.running(),
        done = standing.completed,
        failed = standing.failed,
        waiting = queue.waiting(),
        cost = format!("{:.2}", queue.spent()),
        "row {state}"
    );
}

/// With `--strict`, ends the running rows at the cost limit.
fn end_if_overspent(batch: &Batch<'_>, queue: &mut Queue, early: &mut Option<Early>) {
    if batch.args.strict && queue.is_overspent() && early.is_none() {
        tracing::warn!("the cost limit of the batch is reached (--cost, --strict): ending the rows that run");
        end(batch, queue);
        *early = Some(Early::CostLimit);
    }
}

/// Starts no more rows, and ends the running ones.
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
