//! The folder of a batch: what all runs of one task leave on disk. Knows files, and nothing of servers.
//!
//! | file | content |
//! | --- | --- |
//! | `batch.json` | the id of the batch, from which the ids of its runs follow |
//! | `results.jsonl` | a line for each attempt of a row that has ended, where one process runs all rows |
//! | `progress.jsonl`, `batch.lock` | what the one process needs that runs all rows |
//! | `rows/KEY/` | the run folder of a row |
//! | `rows/KEY/row.json` | the row: its number, where it stands, and its columns |
//!
//! Processes on many machines may use one folder at the same time.

mod class;
mod results;

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(crate) use self::class::FailureClass;
pub(crate) use self::results::{ReportedRow, RowResult, lines, rows};
use crate::run_folder::{FolderError, RESULT};

/// The folder of the run folders.
pub(crate) const ROWS: &str = "rows";
/// The row in its run folder.
pub(crate) const ROW: &str = "row.json";
/// The results of all attempts.
pub(crate) const RESULTS: &str = "results.jsonl";
const BATCH: &str = "batch.json";

/// The version of the folder's format.
const FORMAT: u32 = 1;

/// How often `batch.json` is read that another process is about to write, and the time between.
const READINGS: u32 = 50;
const BETWEEN_READINGS: Duration = Duration::from_millis(100);

/// What a batch knows of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    format: u32,
    id: String,
}

/// The folder of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchFolder {
    path: PathBuf,
    id: String,
}

impl BatchFolder {
    /// Opens the folder of a batch, or makes it. The first process that opens it gives the batch its id. Blocks.
    ///
    /// # Errors
    /// [`FolderError`]: it cannot be made or read, or it has files of something else.
    pub(crate) fn open(path: &Path) -> Result<Self, FolderError> {
        let io_error = |source| FolderError::Io { path: path.to_owned(), source };
        let absolute = std::path::absolute(path).map_err(io_error)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&absolute).map_err(io_error)?;
        let file = absolute.join(BATCH);
        if !file.exists() {
            let is_ours = |name: &str| name.starts_with(BATCH) || name == ROWS;
            let has_others = fs::read_dir(&absolute)
                .map_err(io_error)?
                .flatten()
                .any(|entry| !is_ours(&entry.file_name().to_string_lossy()));
            // Another process may have begun the batch meanwhile.
            if has_others && !file.exists() {
                return Err(FolderError::NotEmpty(absolute));
            }
            let about = About { format: FORMAT, id: Uuid::new_v4().to_string() };
            create_once(&file, &serde_json::to_vec(&about).map_err(|error| io_error(error.into()))?)
                .map_err(io_error)?;
        }
        match read(&file).map_err(io_error)? {
            Some(About { format: FORMAT, id }) => Ok(Self { path: absolute, id }),
            _ => Err(FolderError::NotEmpty(absolute)),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The id of the run of a row. It is the same whenever the row runs in this batch.
    pub(crate) fn run_id(&self, key: &str) -> String {
        format!("{}-{key}", self.id)
    }

    /// The run folder of a row.
    pub(crate) fn row_folder(&self, key: &str) -> PathBuf {
        self.path.join(ROWS).join(key)
    }

    /// Whether the run of a row has completed in this folder.
    pub(crate) fn has_completed(&self, key: &str) -> bool {
        #[derive(Deserialize)]
        struct Ended {
            status: String,
            run_id: Option<String>,
        }
        let text = fs::read(self.row_folder(key).join(RESULT)).unwrap_or_default();
        serde_json::from_slice::<Ended>(&text)
            .is_ok_and(|ended| ended.status == "COMPLETED" && ended.run_id == Some(self.run_id(key)))
    }
}

/// Makes a file with this content, unless there is one.
fn create_once(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_file_name(format!("{BATCH}.{}.tmp", Uuid::new_v4().simple()));
    fs::write(&temporary, content)?;
    let linked = fs::hard_link(&temporary, path);
    let _ = fs::remove_file(&temporary);
    let made = match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            // A file system without links: others may see the file before its content.
            fs::File::options().write(true).create_new(true).open(path).and_then(|mut file| file.write_all(content))
        }
        linked => linked,
    };
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn read(path: &Path) -> io::Result<Option<About>> {
    for _ in 0..READINGS {
        let text = fs::read(path)?;
        if !text.is_empty() {
            return Ok(serde_json::from_slice(&text).ok());
        }
        sleep(BETWEEN_READINGS);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn all_processes_of_a_batch_agree_on_its_id() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("batch");
        let opened: Vec<BatchFolder> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| BatchFolder::open(&path).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let ids: BTreeSet<String> = opened.iter().map(|folder| folder.run_id("7")).collect();
        assert_eq!(ids.len(), 1, "{ids:?}");
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
        assert_eq!(BatchFolder::open(&path).unwrap(), opened[0]);
    }

    #[test]
    fn a_folder_of_something_else_is_refused_and_stays() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("notes.txt"), "mine").unwrap();
        assert!(matches!(BatchFolder::open(home.path()), Err(FolderError::NotEmpty(_))));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
        fs::remove_file(home.path().join("notes.txt")).unwrap();
        fs::write(home.path().join(BATCH), "{\"format\":99,\"id\":\"x\"}").unwrap();
        assert!(matches!(BatchFolder::open(home.path()), Err(FolderError::NotEmpty(_))));
    }

    #[test]
    fn a_row_has_completed_if_its_own_run_has() {
        let home = tempfile::tempdir().unwrap();
        let batch = BatchFolder::open(home.path()).unwrap();
        assert!(!batch.has_completed("a"));
        let ended = |status: &str, run: &str| {
            fs::create_dir_all(batch.row_folder("a")).unwrap();
            let result = format!(r#"{{"status":"{status}","run_id":"{run}"}}"#);
            fs::write(batch.row_folder("a").join(RESULT), result).unwrap();
            batch.has_completed("a")
        };
        assert!(!ended("FAILED", &batch.run_id("a")));
        assert!(!ended("COMPLETED", "other"));
        assert!(ended("COMPLETED", &batch.run_id("a")));
    }
}
