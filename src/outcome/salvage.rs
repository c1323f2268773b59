//! The collected work of the agent.

use schemars::JsonSchema;
use serde::Serialize;

/// The agent's work that was collected in the run folder.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub(crate) struct Salvage {
    /// The changes of the agent in the repositories of its workspace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) changes: Vec<RepositoryChanges>,
    /// The total size of the changes; zeros if the agent changed nothing. Left out if there is no repository or no patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) patch: Option<PatchSize>,
    /// The files for the task's `collect`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) collected: Option<Collected>,
}

/// The size of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub(crate) struct PatchSize {
    /// The number of changed files.
    pub(crate) files: u64,
    /// The number of added lines.
    pub(crate) insertions: u64,
    /// The number of removed lines.
    pub(crate) deletions: u64,
}

impl PatchSize {
    /// Returns the total of the changes in all repositories.
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
    /// The number of files in the folder `collected`.
    pub(crate) files: u64,
    /// Their size in bytes.
    pub(crate) bytes: u64,
    /// The number of matching files that are not in the folder. `warnings` gives the reason.
    pub(crate) left_out: u64,
}

/// The changes of the agent in one repository.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub(crate) struct RepositoryChanges {
    /// The repository's path on the agent-server's machine.
    pub(crate) repository: String,
    /// The number of new files.
    pub(crate) added: u64,
    /// The number of changed files.
    pub(crate) updated: u64,
    /// The number of deleted files.
    pub(crate) deleted: u64,
    /// The number of moved files.
    pub(crate) moved: u64,
    /// The number of added lines.
    pub(crate) insertions: u64,
    /// The number of removed lines.
    pub(crate) deletions: u64,
    /// The first files, at most 1000.
    pub(crate) files: Vec<ChangedFile>,
}

impl RepositoryChanges {
    /// Returns the total number of changed files.
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
