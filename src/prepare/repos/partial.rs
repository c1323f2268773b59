//! A clone that is being made: a hidden directory that only its own run touches, and the step that gives it its name.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// A directory that is removed unless it was renamed.
///
/// It is locked as long as its run is alive (`flock`, which the kernel releases with the process), so that a later run can tell what
/// a killed run has left from what another run is at work on.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
}

impl Partial {
    /// Makes a new directory beside the place where the clone will be, and removes those that dead runs have left.
    pub(super) fn new(working_dir: &Path, directory: &str) -> io::Result<Self> {
        let prefix = format!(".{directory}.cloning-");
        remove_abandoned(working_dir, &prefix);
        loop {
            let path = working_dir.join(format!("{prefix}{}", uuid::Uuid::new_v4().simple()));
            std::fs::create_dir(&path)?;
            // Until it is locked, another run may take it for abandoned. Then a further one is made.
            if let Ok(lock) = File::open(&path)
                && lock.try_lock().is_ok()
                && is_at(&lock, &path)
            {
                return Ok(Self { path, _lock: lock });
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the content, for a further attempt.
    pub(super) fn clear(&self) {
        for entry in std::fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let _ = match entry.file_type() {
                Ok(kind) if kind.is_dir() => std::fs::remove_dir_all(entry.path()),
                _ => std::fs::remove_file(entry.path()),
            };
        }
    }

    /// Gives the clone the first of these names that nothing in the working directory has. A name that another run takes in the same
    /// moment is skipped.
    pub(super) fn take_name(self, names: impl IntoIterator<Item = PathBuf>) -> io::Result<PathBuf> {
        let mut taken = io::Error::from(ErrorKind::AlreadyExists);
        for name in names {
            match rename_new(&self.path, &name) {
                Ok(()) => return Ok(name),
                Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty) => {
                    taken = error;
                }
                Err(error) => return Err(error),
            }
        }
        Err(taken)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // A killed git may have children that write for a moment longer.
        for _ in 0..3 {
            match std::fs::remove_dir_all(&self.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {}
                _ => return,
            }
        }
    }
}

/// The names for a clone, in their order: its own, then with `_1`, `_2` … behind it, without those of the run's other clones.
pub(super) fn names(directory: &str, others: &BTreeSet<String>) -> impl Iterator<Item = String> {
    /// More clones of one name than any working directory holds.
    const MOST: u32 = 10_000;
    let numbered = (1..MOST).map(move |number| format!("{directory}_{number}"));
    std::iter::once(directory.to_owned()).chain(numbered).filter(|name| !others.contains(name))
}

/// Renames, unless something has the new name. Some file systems cannot do both in one step.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE).map_err(io::Error::from) {
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
            if to.symlink_metadata().is_ok() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            std::fs::rename(from, to)
        }
        renamed => renamed,
    }
}

fn remove_abandoned(working_dir: &Path, prefix: &str) {
    let entries = std::fs::read_dir(working_dir).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)) {
        let path = entry.path();
        // Held until the directory is gone.
        if let Ok(lock) = File::open(&path) {
            match lock.try_lock() {
                Ok(()) => drop(std::fs::remove_dir_all(&path)),
                Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
            }
        }
    }
}

/// Whether the open directory is still the one at this path.
fn is_at(open: &File, path: &Path) -> bool {
    match (open.metadata(), path.symlink_metadata()) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_clone_under_way_stays_and_what_a_dead_run_has_left_goes() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join(".demo.cloning-1/.git")).unwrap();
        let first = Partial::new(folder.path(), "demo").unwrap();
        assert_eq!(count(folder.path()), 1, "what a dead run has left is still there");
        std::fs::write(first.path().join("file"), "").unwrap();
        let second = Partial::new(folder.path(), "demo").unwrap();
        assert!(first.path().join("file").exists(), "the clone under way was removed");
        drop((first, second));
        assert_eq!(count(folder.path()), 0);
    }

    #[test]
    fn two_clones_of_one_name_both_get_one() {
        let folder = tempfile::tempdir().unwrap();
        // An empty directory of the user is not replaced either.
        std::fs::create_dir(folder.path().join("demo_1")).unwrap();
        let others = BTreeSet::from(["demo_2".to_owned()]);
        let mut found = Vec::new();
        for _ in 0..2 {
            let partial = Partial::new(folder.path(), "demo").unwrap();
            let names = names("demo", &others).map(|name| folder.path().join(name));
            found.push(partial.take_name(names).unwrap().file_name().unwrap().to_owned());
        }
        assert_eq!(found, ["demo", "demo_3"]);
        assert_eq!(count(folder.path()), 3);
    }
}
