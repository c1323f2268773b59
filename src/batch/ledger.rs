//! What was done for each row, on disk before the next step: a process that is killed at any moment leaves a ledger from which the
//! next one continues.
//!
//! | file | content |
//! | --- | --- |
//! | `progress.jsonl` | a line before and after each step that leaves something: a sandbox, a run |
//! | `results.jsonl` | a line for each attempt that has ended |
//! | `batch.lock` | locked by the process that runs the batch |
//!
//! Lines are appended and synced. A line that is cut by a crash or a full disk is left out, and the next one begins a line of its own.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use openhands_client::off_thread::off_thread;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::batch_folder::{self, RESULTS, RowResult};
use crate::files::append_synced;

const PROGRESS: &str = "progress.jsonl";
const LOCK: &str = "batch.lock";

/// A step of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StepKind {
    /// A sandbox is about to be asked for.
    Requested,
    /// There is a sandbox.
    Made,
    /// The run is about to be started.
    Starting,
    /// The run was started.
    Started,
    /// No sandbox is left: it is deleted, or there was none.
    Deleted,
}

/// A line of `progress.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// The row's key.
    pub(crate) key: String,
    /// Which attempt, from 1.
    pub(crate) attempt: u32,
    /// When, in UTC.
    pub(crate) at: String,
    /// What.
    #[serde(rename = "step")]
    pub(crate) kind: StepKind,
    /// The sandbox, as soon as its id is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sandbox: Option<String>,
    /// The folder of the command in the sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) command_folder: Option<String>,
    /// The working directory of the run's program in the sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) program_folder: Option<String>,
    /// The agent-server's id of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<String>,
}

impl Step {
    /// A step that is taken now.
    pub(crate) fn now(key: &str, attempt: u32, kind: StepKind) -> Self {
        Self {
            key: key.to_owned(),
            attempt,
            at: jiff::Timestamp::now().to_string(),
            kind,
            sandbox: None,
            command_folder: None,
            program_folder: None,
            command: None,
        }
    }
}

/// A run in its sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StartedRun {
    /// The folder of the command.
    pub(crate) command_folder: String,
    /// The working directory of the program.
    pub(crate) program_folder: String,
    /// The agent-server's id of the command, if it was written down.
    pub(crate) command: Option<String>,
}

/// What there may be of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct UnderWay {
    /// Which attempt, from 1.
    pub(crate) attempt: u32,
    /// When its sandbox was asked for, if no one knows what came of it.
    pub(crate) requested: Option<String>,
    /// Its sandbox.
    pub(crate) sandbox: Option<String>,
    /// Its run.
    pub(crate) run: Option<StartedRun>,
}

/// What the ledger has of a row.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Past {
    /// The result of the last attempt that has ended.
    pub(crate) result: Option<RowResult>,
    /// What may be left of an attempt, whether it has ended or not.
    pub(crate) under_way: Option<UnderWay>,
}

impl Past {
    /// Whether the row needs no further attempt.
    pub(crate) fn is_final(&self) -> bool {
        self.result.as_ref().is_some_and(|result| {
            result.has_completed() || !result.class.is_some_and(batch_folder::FailureClass::is_open_for_next_start)
        })
    }

    /// What is left of an attempt that has no result.
    pub(crate) fn unfinished(&self) -> Option<&UnderWay> {
        let ended = self.result.as_ref().map_or(0, |result| result.attempt);
        self.under_way.as_ref().filter(|under_way| under_way.attempt > ended)
    }

    /// What is left of an attempt that has its result: a sandbox that was not deleted any more.
    pub(crate) fn leftover(&self) -> Option<&UnderWay> {
        let ended = self.result.as_ref().map_or(0, |result| result.attempt);
        self.under_way.as_ref().filter(|under_way| under_way.attempt <= ended)
    }

    /// The number of the next attempt.
    pub(crate) fn next_attempt(&self) -> u32 {
        match self.unfinished() {
            Some(under_way) => under_way.attempt,
            None => self.result.as_ref().map_or(1, |result| result.attempt + 1),
        }
    }
}

/// Everything that the ledger has.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Records {
    /// Each row that has begun, by its key.
    pub(crate) rows: BTreeMap<String, Past>,
    /// US dollars of all attempts that have ended.
    pub(crate) spent: f64,
    /// All sandboxes that attempts of this batch ever had.
    pub(crate) sandboxes: std::collections::BTreeSet<String>,
}

/// Reads the ledger of a batch. Blocks.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn records(folder: &Path) -> io::Result<Records> {
    let mut records = Records::default();
    for result in batch_folder::lines::<RowResult>(&folder.join(RESULTS))? {
        records.spent += result.cost.unwrap_or_default();
        let key = result.key.clone();
        records.rows.entry(key).or_default().result = Some(result);
    }
    for step in batch_folder::lines::<Step>(&folder.join(PROGRESS))? {
        records.sandboxes.extend(step.sandbox.clone());
        let past = records.rows.entry(step.key.clone()).or_default();
        past.under_way = after(past.under_way.take(), step);
    }
    Ok(records)
}

/// What there may be after a step.
fn after(before: Option<UnderWay>, step: Step) -> Option<UnderWay> {
    let attempt = step.attempt;
    let before = before.filter(|before| before.attempt == attempt);
    let mut now = before.unwrap_or(UnderWay { attempt, ..UnderWay::default() });
    match step.kind {
        StepKind::Deleted => return None,
        StepKind::Requested => now.requested = Some(step.at),
        StepKind::Made | StepKind::Starting | StepKind::Started => now.requested = None,
    }
    now.sandbox = step.sandbox.or(now.sandbox);
    if let (Some(command_folder), Some(program_folder)) = (step.command_folder, step.program_folder) {
        now.run = Some(StartedRun { command_folder, program_folder, command: None });
    }
    if let (Some(run), Some(command)) = (&mut now.run, step.command) {
        run.command = Some(command);
    }
    Some(now)
}

/// The ledger of the process that runs the batch.
#[derive(Debug)]
pub(crate) struct Ledger {
    folder: PathBuf,
    /// One line at a time.
    writing: Mutex<()>,
    /// Held until the process ends.
    _lock: File,
}

impl Ledger {
    /// Takes the batch for this process, and reads what earlier ones have done. `None` if another process runs it. Blocks.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub(crate) fn take(folder: &Path) -> io::Result<Option<(Self, Records)>> {
        let lock = File::options().create(true).truncate(false).write(true).open(folder.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let records = records(folder)?;
        Ok(Some((Self { folder: folder.to_owned(), writing: Mutex::new(()), _lock: lock }, records)))
    }

    /// Writes a step down.
    ///
    /// # Errors
    /// It is not on the disk.
    pub(crate) async fn step(&self, step: &Step) -> io::Result<()> {
        self.write(PROGRESS, serde_json::to_string(step)?).await
    }

    /// Writes the result of an attempt down.
    ///
    /// # Errors
    /// It is not on the disk.
    pub(crate) async fn result(&self, result: &RowResult) -> io::Result<()> {
        self.write(RESULTS, serde_json::to_string(result)?).await
    }

    async fn write(&self, file: &str, line: String) -> io::Result<()> {
        let path = self.folder.join(file);
        let _one = self.writing.lock().await;
        off_thread("ledger", move || append_synced(&path, &format!("{line}\n"))).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch_folder::FailureClass;

    fn step(kind: StepKind, attempt: u32) -> Step {
        Step::now("a", attempt, kind)
    }

    fn starting(attempt: u32) -> Step {
        Step {
            command_folder: Some("/tmp/c".to_owned()),
            program_folder: Some("/tmp/p".to_owned()),
            ..step(StepKind::Starting, attempt)
        }
    }

    fn made(attempt: u32, sandbox: &str) -> Step {
        Step { sandbox: Some(sandbox.to_owned()), ..step(StepKind::Made, attempt) }
    }

    fn failed(attempt: u32, class: FailureClass) -> RowResult {
        RowResult {
            key: "a".to_owned(),
            attempt,
            status: "FAILED".to_owned(),
            class: Some(class),
            cost: Some(0.5),
            ..RowResult::default()
        }
    }

    #[tokio::test]
    async fn whatever_was_the_last_line_the_next_process_knows_what_there_is() {
        let home = tempfile::tempdir().unwrap();
        let past = || records(home.path()).unwrap().rows.remove("a").unwrap();
        let (ledger, before) = Ledger::take(home.path()).unwrap().unwrap();
        assert_eq!(before, Records::default());

        ledger.step(&step(StepKind::Requested, 1)).await.unwrap();
        assert!(past().unfinished().unwrap().requested.is_some());
        ledger.step(&made(1, "s1")).await.unwrap();
        let now = past().unfinished().cloned().unwrap();
        assert_eq!((now.requested, now.sandbox.as_deref(), now.run), (None, Some("s1"), None));
        ledger.step(&starting(1)).await.unwrap();
        assert_eq!(past().unfinished().unwrap().run.as_ref().unwrap().command, None);
        let started = Step { command: Some("c1".to_owned()), ..step(StepKind::Started, 1) };
        ledger.step(&started).await.unwrap();
        let run = past().unfinished().unwrap().run.clone().unwrap();
        assert_eq!((run.command.as_deref(), run.program_folder.as_str()), (Some("c1"), "/tmp/p"));
        assert_eq!(past().next_attempt(), 1);

        ledger.result(&failed(1, FailureClass::Infrastructure)).await.unwrap();
        assert_eq!(past().unfinished(), None);
        assert_eq!(past().leftover().unwrap().sandbox.as_deref(), Some("s1"));
        assert!(!past().is_final());
        ledger.step(&step(StepKind::Deleted, 1)).await.unwrap();
        assert_eq!((past().leftover(), past().next_attempt()), (None, 2));

        ledger.step(&made(2, "s2")).await.unwrap();
        ledger.result(&failed(2, FailureClass::Checks)).await.unwrap();
        assert!(past().is_final());
        let records = records(home.path()).unwrap();
        assert!((records.spent - 1.0).abs() < 1e-9);
        assert_eq!(records.sandboxes, ["s1", "s2"].map(str::to_owned).into());
    }

    #[tokio::test]
    async fn a_cut_line_is_left_out_and_the_next_one_stands_alone() {
        let home = tempfile::tempdir().unwrap();
        let (ledger, _) = Ledger::take(home.path()).unwrap().unwrap();
        ledger.step(&made(1, "s1")).await.unwrap();
        let whole = std::fs::read_to_string(home.path().join(PROGRESS)).unwrap();
        std::fs::write(home.path().join(PROGRESS), format!("{whole}{{\"key\": \"a\", \"att")).unwrap();
        assert_eq!(records(home.path()).unwrap().rows["a"].under_way.as_ref().unwrap().sandbox.as_deref(), Some("s1"));
        ledger.step(&step(StepKind::Deleted, 1)).await.unwrap();
        assert_eq!(records(home.path()).unwrap().rows["a"].under_way, None);
    }

    #[test]
    fn one_process_at_a_time_runs_a_batch() {
        let home = tempfile::tempdir().unwrap();
        let first = Ledger::take(home.path()).unwrap();
        assert!(first.is_some() && Ledger::take(home.path()).unwrap().is_none());
        drop(first);
        assert!(Ledger::take(home.path()).unwrap().is_some());
    }
}
