//! The run folder: events and records as they come, result and answer at the end.

use std::io;

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use openhands_client::secret::Redactor;

use super::{Record, Sink, jsonl};
use crate::outcome::RunResult;
use crate::run_folder::{ANSWER, OpenFolder, RESULT, RunFolder};

/// Writes the run folder, once there is one.
#[derive(Debug)]
pub(crate) struct FolderSink {
    folder: RunFolder,
    redactor: Redactor,
}

impl FolderSink {
    /// Writes into this folder, without the secrets that are learned by then.
    #[must_use]
    pub(crate) fn new(folder: RunFolder, redactor: Redactor) -> Self {
        Self { folder, redactor }
    }

    fn write(&self, folder: &mut OpenFolder, record: &Record<'_>) -> io::Result<()> {
        let Some(log) = &mut folder.log else { return Ok(()) };
        let Some(line) = jsonl::line(record, &self.redactor) else { return Ok(()) };
        match record {
            Record::Event { event, .. } => log.event(&line, event.timestamp.as_deref()),
            _ => log.record(&line),
        }
    }

    fn end(folder: &mut OpenFolder, result: &RunResult) -> io::Result<()> {
        let json = serde_json::to_string_pretty(result)? + "\n";
        if let Some(message) = &result.message {
            folder.write(ANSWER, format!("{message}\n").as_bytes())?;
        }
        folder.write(RESULT, json.as_bytes())?;
        folder.conclude(&jsonl::terminal(result))
    }
}

impl Sink for FolderSink {
    fn record<'a>(&'a mut self, record: &'a Record<'_>) -> BoxFuture<'a, ()> {
        let written = self.folder.with(|folder| match record {
            Record::Result(result) | Record::Amended(result) => Self::end(folder, result),
            // A log that cannot be written is given up; the end of the run tries to complete it from the server's.
            record => self.write(folder, record).inspect_err(|_| folder.log = None),
        });
        if let Some(Err(error)) = written {
            tracing::warn!(%error, "the run folder is incomplete");
        }
        ready(()).boxed()
    }
}
