//! The files of a step: lines are added to them at the end of the run.

use std::path::PathBuf;

use futures_util::future::{BoxFuture, FutureExt as _};
use openhands_client::off_thread::off_thread;
use openhands_client::secret::Redactor;

use super::{outputs::outputs, summary::summary};
use crate::files::append;
use crate::input::env::RawEnv;
use crate::run_folder::{REPORT, RunFolder};
use crate::sinks::{Record, Sink};

/// Writes the summary and the outputs of a step.
#[derive(Debug)]
pub(crate) struct StepFiles {
    summary: Option<PathBuf>,
    outputs: Option<PathBuf>,
    folder: RunFolder,
    redactor: Redactor,
}

impl StepFiles {
    /// Creates it if the process runs in a step of GitHub Actions; else nothing.
    #[must_use]
    pub(crate) fn new(raw: &RawEnv, folder: RunFolder, redactor: Redactor) -> Option<Self> {
        let path = |variable: &Option<String>| variable.as_ref().map(PathBuf::from);
        let (summary, outputs) = (path(&raw.github_step_summary), path(&raw.github_output));
        (summary.is_some() || outputs.is_some()).then_some(Self { summary, outputs, folder, redactor })
    }
}

impl Sink for StepFiles {
    fn record<'a>(&'a mut self, record: &'a Record<'_>) -> BoxFuture<'a, ()> {
        async move {
            let Record::Result(result) = record else { return };
            let folder = self.folder.with(|folder| folder.path().to_owned());
            let report = folder.as_ref().map(|folder| folder.join(REPORT).display().to_string());
            let folder = folder.map(|folder| folder.display().to_string());
            for (name, path, text) in [
                ("summary", &self.summary, summary(result, folder.as_deref(), &self.redactor)),
                ("outputs", &self.outputs, outputs(result, report.as_deref(), &self.redactor)),
            ] {
                let Some(path) = path.clone() else { continue };
                let written = off_thread("step files", move || append(&path, &text)).await;
                if let Err(error) = written {
                    tracing::warn!(%error, "the {name} of the step could not be written");
                }
            }
        }
        .boxed()
    }
}
