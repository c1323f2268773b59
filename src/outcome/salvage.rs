//! What a run keeps of the agent's work.

use schemars::JsonSchema;
use serde::Serialize;

/// What was kept of the agent's work in the run folder.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub(crate) struct Salvage {
    /// What the agent changed in the repositories of its workspace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) changes: Vec<RepositoryChanges>,
    /// The size of all changes; zeros where the agent changed nothing. Left out if there is no repository or no patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) patch: Option<PatchSize>,
    /// The files of the task's `collect`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) collected: Option<Collected>,
}

/// The size of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub(crate) struct PatchSize {
    /// Changed files.
    pub(crate) files: u64,
    /// Added lines.
    pub(crate) insertions: u64,
    /// Removed lines.
    pub(crate) deletions: u64,
}

impl PatchSize {
    /// The total of the changes in all repositories.
    #[must_use]
    pub(crate) fn of(changes: &[RepositoryChanges]) -> Self {
        changes.iter().fold(Self::default(), |sum, changes| Self {
            files: sum.files + changes.count(),
            insertions: sum.insertions + changes.insertions,
            deletions: sum.deletions + changes.deletions,
        })
    }
}

/// Collected files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub(crate) struct Collected {
    /// Files in the folder `collected`.
    pub(crate) files: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Files that match, and are not in the folder. `warnings` says why.
    pub(crate) left_out: u64,
}

/// What the agent changed in one repository.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub(crate) struct RepositoryChanges {
    /// The repository's path on the agent-server's machine.
    pub(crate) repository: String,
    /// New files.
    pub(crate) added: u64,
    /// Changed files.
    pub(crate) updated: u64,
    /// Deleted files.
    pub(crate) deleted: u64,
    /// Moved files.
    pub(crate) moved: u64,
    /// Added lines.
    pub(crate) insertions: u64,
    /// Removed lines.
    pub(crate) deletions: u64,
    /// The first of the files, at most 1000.
    pub(crate) files: Vec<ChangedFile>,
}

impl RepositoryChanges {
    /// Changed files in all.
    #[must_use]
    pub(crate) fn count(&self) -> u64 {
        self.added + self.updated + self.deleted + self.moved
    }
}

/// A file that the agent changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ChangedFile {
    /// `ADDED`, `UPDATED`, `DELETED` or `MOVED`.
    pub(crate) status: String,
    /// The path in the repository.
    pub(crate) path: String,
}
