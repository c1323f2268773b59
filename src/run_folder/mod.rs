//! The run folder (`--out`): what a run leaves on disk. Knows files, and nothing of servers.
//!
//! | file | content |
//! | --- | --- |
//! | `run.json` | which run the folder belongs to |
//! | `events.jsonl` | the log of the conversation, with our own records; the last line is the result |
//! | `result.json` | the result |
//! | `answer.md` | the agent's final message |
//! | `changes.patch` | what the agent changed in the repositories |
//! | `collected` | a folder with the files that the task's `collect` names |
//! | `report.html`, `junit.xml`, `trajectory.json` | made of the others at the end |
//!
//! The runner writes it. If the runner is killed, its guardian writes the end ([`conclude`]).

mod event_log;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) use self::event_log::{EventLog, Rewriting};
use crate::files::replace;

/// The log of the conversation.
pub(crate) const EVENTS: &str = "events.jsonl";
/// The result of the run.
pub(crate) const RESULT: &str = "result.json";
/// The agent's final message.
pub(crate) const ANSWER: &str = "answer.md";
/// What the agent changed in the repositories.
pub(crate) const PATCH: &str = "changes.patch";
/// The folder of the collected files.
pub(crate) const COLLECTED: &str = "collected";
/// What happened, as a page.
pub(crate) const REPORT: &str = "report.html";
/// The run as a test report.
pub(crate) const JUNIT: &str = "junit.xml";
/// The agent's steps in ATIF.
pub(crate) const TRAJECTORY: &str = "trajectory.json";
const RUN: &str = "run.json";

/// The version of the folder's format.
const FORMAT: u32 = 1;

/// Which run a folder belongs to, and what a runner that continues it has to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    format: u32,
    run_id: Option<String>,
    /// The commit of each repository before the agent's first turn, by its path; empty for one without a commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commits: Option<BTreeMap<String, String>>,
}

/// Why a folder is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// It cannot be made or read.
    #[error("the folder {} cannot be used", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It has files of something else.
    #[error("the folder {} is not empty and does not belong to this run", .0.display())]
    NotEmpty(PathBuf),
    /// The agent could change it.
    #[error("the folder {} is in the agent's workspace {workspace}", path.display())]
    InWorkspace {
        /// The folder.
        path: PathBuf,
        /// The agent's working directory.
        workspace: String,
    },
}

/// Makes a folder for what another machine's run folder holds. One that is there has to be empty.
///
/// # Errors
/// [`FolderError`].
pub(crate) fn make_empty(path: &Path) -> Result<PathBuf, FolderError> {
    let io_error = |source| FolderError::Io { path: path.to_owned(), source };
    let absolute = std::path::absolute(path).map_err(io_error)?;
    DirBuilder::new().recursive(true).mode(0o700).create(&absolute).map_err(io_error)?;
    let is_empty = fs::read_dir(&absolute).map_err(io_error)?.next().is_none();
    if is_empty { Ok(absolute) } else { Err(FolderError::NotEmpty(absolute)) }
}

/// An open run folder.
#[derive(Debug)]
pub(crate) struct OpenFolder {
    path: PathBuf,
    owner: Owner,
    /// The log, as long as it can be written.
    pub(crate) log: Option<EventLog>,
    /// Whether an earlier runner of the run has written into it.
    is_continued: bool,
    is_new: bool,
    /// Whether this runner has written the terminal record.
    is_concluded: bool,
}

impl OpenFolder {
    /// Makes the folder, or opens an empty one, or the one that an earlier runner of the same run has left. A run without an id has
    /// no other runner.
    ///
    /// # Errors
    /// [`FolderError`].
    pub(crate) fn open(path: &Path, run_id: Option<&str>) -> Result<Self, FolderError> {
        let io_error = |source| FolderError::Io { path: path.to_owned(), source };
        let absolute = std::path::absolute(path).map_err(io_error)?;
        let is_new = !absolute.exists();
        DirBuilder::new().recursive(true).mode(0o700).create(&absolute).map_err(io_error)?;
        let is_empty = fs::read_dir(&absolute).map_err(io_error)?.next().is_none();
        let found = fs::read(absolute.join(RUN)).ok().and_then(|text| serde_json::from_slice::<Owner>(&text).ok());
        let owner = match found {
            _ if is_empty => Owner { format: FORMAT, run_id: run_id.map(str::to_owned), commits: None },
            Some(owner) if owner.format == FORMAT && run_id.is_some() && owner.run_id.as_deref() == run_id => owner,
            _ => return Err(FolderError::NotEmpty(absolute)),
        };
        let mut folder =
            Self { path: absolute, owner, log: None, is_continued: !is_empty, is_new, is_concluded: false };
        folder.keep_owner().map_err(io_error)?;
        // The end of the run before is not the end of this one.
        for name in [RESULT, ANSWER, PATCH, REPORT, JUNIT, TRAJECTORY] {
            let _ = fs::remove_file(folder.path.join(name));
        }
        let _ = fs::remove_dir_all(folder.path.join(COLLECTED));
        folder.log = Some(EventLog::open(&folder.path.join(EVENTS)).map_err(io_error)?);
        Ok(folder)
    }

    fn keep_owner(&self) -> io::Result<()> {
        let text = serde_json::to_string_pretty(&self.owner)? + "\n";
        replace(&self.path.join(RUN), text.as_bytes())
    }

    /// The absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether an earlier runner of the run has written into it.
    pub(crate) fn is_continued(&self) -> bool {
        self.is_continued
    }

    /// Fails if the agent works in the folder, or above it: it could change what is written. A folder that was made for the run is
    /// removed then.
    ///
    /// # Errors
    /// [`FolderError::InWorkspace`].
    pub(crate) fn outside_of(&self, workspace: &str) -> Result<(), FolderError> {
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if !real(&self.path).starts_with(real(Path::new(workspace))) {
            return Ok(());
        }
        if self.is_new {
            for name in [RUN, EVENTS] {
                let _ = fs::remove_file(self.path.join(name));
            }
            let _ = fs::remove_dir(&self.path);
        }
        Err(FolderError::InWorkspace { path: self.path.clone(), workspace: workspace.to_owned() })
    }

    /// The commit of each repository before the agent's first turn, once it is known.
    pub(crate) fn commits(&self) -> Option<&BTreeMap<String, String>> {
        self.owner.commits.as_ref()
    }

    /// Keeps these commits for a runner that continues the run.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn keep_commits(&mut self, commits: BTreeMap<String, String>) -> io::Result<()> {
        self.owner.commits = Some(commits);
        self.keep_owner()
    }

    /// Writes a file into the folder, whole or not at all.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        replace(&self.path.join(name), content)
    }

    /// Writes a collected file, whole or not at all. `path` is relative, without `..`.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn collect(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let path = self.path.join(COLLECTED).join(path);
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        replace(&path, content)
    }

    /// Begins to write the log again from the server's own.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn rewrite(&self) -> io::Result<Rewriting> {
        Rewriting::of(&self.path.join(EVENTS))
    }

    /// The terminal record is the last line of the log, once; the result has a file of its own. An earlier one of this run is replaced.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn conclude(&mut self, record: &str) -> io::Result<()> {
        let log = self.path.join(EVENTS);
        if self.is_concluded {
            // Takes the earlier record out.
            self.log = Some(EventLog::open(&log)?);
        }
        self.is_concluded = event_log::conclude(&log, record)?;
        Ok(())
    }
}

/// Ends the folder of a runner that has not ended it: the log gets its terminal record, unless it ends with one, and the result a file of
/// its own, unless there is one.
///
/// # Errors
/// The operating system's.
pub(crate) fn conclude(folder: &Path, record: &str) -> io::Result<()> {
    if event_log::conclude(&folder.join(EVENTS), record)? && !folder.join(RESULT).exists() {
        let mut result: Map<String, Value> = serde_json::from_str(record)?;
        result.shift_remove("kind");
        replace(&folder.join(RESULT), (serde_json::to_string_pretty(&result)? + "\n").as_bytes())?;
    }
    Ok(())
}

/// The run folder of a run, once there is one. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunFolder(Arc<Mutex<Option<OpenFolder>>>);

impl RunFolder {
    /// From now on the run has this folder.
    pub(crate) fn set(&self, folder: OpenFolder) {
        *self.lock() = Some(folder);
    }

    /// The run has no folder any more.
    pub(crate) fn forget(&self) {
        *self.lock() = None;
    }

    /// Works with the folder, if there is one.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut OpenFolder) -> T) -> Option<T> {
        self.lock().as_mut().map(work)
    }

    fn lock(&self) -> MutexGuard<'_, Option<OpenFolder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_folder_is_made_for_its_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/out");
        OpenFolder::open(&path, Some("run")).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(path.join(EVENTS).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_folder_of_another_run_is_refused_and_of_the_same_run_continued() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("out");
        assert!(!OpenFolder::open(&path, Some("one")).unwrap().is_continued());
        assert!(OpenFolder::open(&path, Some("one")).unwrap().is_continued());
        for other in [Some("two"), None] {
            assert!(matches!(OpenFolder::open(&path, other), Err(FolderError::NotEmpty(_))));
        }
        // What is there of others stays.
        let foreign = home.path().join("foreign");
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join("result.json"), "precious").unwrap();
        assert!(matches!(OpenFolder::open(&foreign, Some("one")), Err(FolderError::NotEmpty(_))));
        assert_eq!(fs::read(foreign.join("result.json")).unwrap(), b"precious");
    }

    #[test]
    fn a_folder_in_the_agents_workspace_is_refused_and_not_left_there() {
        let workspace = tempfile::tempdir().unwrap();
        let name = workspace.path().to_str().unwrap();
        let inside = OpenFolder::open(&workspace.path().join("out"), None).unwrap();
        assert!(matches!(inside.outside_of(name), Err(FolderError::InWorkspace { .. })));
        assert!(!workspace.path().join("out").exists());
        let link = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(workspace.path(), link.path().join("workspace")).unwrap();
        let through = OpenFolder::open(&link.path().join("workspace/out"), None).unwrap();
        assert!(through.outside_of(name).is_err());
        let beside = OpenFolder::open(&link.path().join("out"), None).unwrap();
        beside.outside_of(name).unwrap();
    }

    #[test]
    fn the_folder_of_a_killed_runner_gets_its_end_once() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("out");
        drop(OpenFolder::open(&path, Some("one")).unwrap());
        for status in ["FAILED", "COMPLETED"] {
            conclude(&path, &format!(r#"{{"kind":"runner.result","status":"{status}"}}"#)).unwrap();
            assert_eq!(fs::read_to_string(path.join(RESULT)).unwrap(), "{\n  \"status\": \"FAILED\"\n}\n");
            let log = fs::read_to_string(path.join(EVENTS)).unwrap();
            assert_eq!(log, "{\"kind\":\"runner.result\",\"status\":\"FAILED\"}\n");
        }
        drop(OpenFolder::open(&path, Some("one")).unwrap());
        assert!(!path.join(RESULT).exists() && fs::read(path.join(EVENTS)).unwrap().is_empty());
    }

    #[test]
    fn a_result_that_is_completed_later_is_there_once() {
        let home = tempfile::tempdir().unwrap();
        let mut folder = OpenFolder::open(&home.path().join("out"), Some("one")).unwrap();
        folder.log.as_mut().unwrap().record(r#"{"kind":"runner.turn"}"#).unwrap();
        for record in [r#"{"kind":"runner.result","exit_code":143}"#, r#"{"kind":"runner.result","patch":{}}"#] {
            folder.conclude(record).unwrap();
            let log = fs::read_to_string(home.path().join("out").join(EVENTS)).unwrap();
            assert_eq!(log, format!("{{\"kind\":\"runner.turn\"}}\n{record}\n"));
        }
    }

    #[test]
    fn the_commits_are_there_for_the_next_runner() {
        let home = tempfile::tempdir().unwrap();
        let commits = BTreeMap::from([("/w/a".to_owned(), "abc".to_owned())]);
        let mut first = OpenFolder::open(&home.path().join("out"), Some("one")).unwrap();
        first.keep_commits(commits.clone()).unwrap();
        assert_eq!(OpenFolder::open(&home.path().join("out"), Some("one")).unwrap().commits(), Some(&commits));
    }
}
