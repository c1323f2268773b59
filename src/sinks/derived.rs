//! What is made of a run folder at its end: the report, and the formats of other tools.

use futures_util::future::{BoxFuture, FutureExt as _};
use openhands_client::off_thread::off_thread;

use super::{Record, Sink};
use crate::export::{self, Exports};
use crate::report;
use crate::run_folder::RunFolder;

/// Makes these files. To be added behind all other sinks: a long run takes a moment, which the result must not wait for.
#[derive(Debug)]
pub(crate) struct DerivedFiles {
    folder: RunFolder,
    exports: Exports,
}

impl DerivedFiles {
    /// Creates it for this folder, once the folder is complete.
    #[must_use]
    pub(crate) fn new(folder: RunFolder, exports: Exports) -> Self {
        Self { folder, exports }
    }
}

impl Sink for DerivedFiles {
    fn record<'a>(&'a mut self, record: &'a Record<'_>) -> BoxFuture<'a, ()> {
        async move {
            let (Record::Result(_) | Record::Amended(_)) = record else { return };
            let Some(path) = self.folder.with(|folder| folder.path().to_owned()) else { return };
            let exports = self.exports;
            let made = off_thread("derived files", move || [report::write(&path), export::write(&path, exports)]).await;
            for error in made.into_iter().filter_map(Result::err) {
                tracing::warn!(%error, "the run folder is incomplete");
            }
        }
        .boxed()
    }
}
