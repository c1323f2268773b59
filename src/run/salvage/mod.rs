//! What is kept of the agent's work, however the run ends: the patch of the repositories, and the files that the task names.
//!
//! Everything comes through the agent-server, also where the run is driven from outside, and goes into the run folder.

mod changes;
mod collect;

use std::time::Duration;

use openhands_client::agent_server::AgentServer;
use openhands_client::secret::Redactor;
use tokio::time::timeout;

use super::warnings::Warnings;
use crate::input::task::collect::CollectPattern;
use crate::outcome::{PatchSize, Salvage};
use crate::run_folder::{PATCH, RunFolder};

/// Git of a large repository takes seconds; with less time nothing is kept.
const SHORTEST: Duration = Duration::from_secs(1);

/// How long the repositories may take to report their commits.
const COMMITS: Duration = Duration::from_secs(10);

/// What the end of a run keeps.
#[derive(Debug)]
pub(super) struct Salvager<'s> {
    pub(super) folder: &'s RunFolder,
    pub(super) server: &'s AgentServer,
    pub(super) working_dir: &'s str,
    pub(super) redactor: &'s Redactor,
    pub(super) warnings: &'s Warnings,
}

impl Salvager<'_> {
    /// Notes the commits from which the patch is made, unless an earlier runner of the run has.
    pub(super) async fn note_commits(&self) {
        if self.folder.with(|folder| folder.commits().is_none()) != Some(true) {
            return;
        }
        let noted = match changes::commits(self.server, self.working_dir, COMMITS).await {
            Ok(commits) => self.folder.with(|folder| folder.keep_commits(commits)).unwrap_or(Ok(())),
            Err(reason) => return self.warnings.warn(format!("no changes.patch: {reason}")),
        };
        if let Err(error) = noted {
            self.warnings.warn(format!("no changes.patch: {error}"));
        }
    }

    /// Keeps what there is, within this time. What could not be kept is a warning.
    pub(super) async fn salvage(&self, patterns: &[CollectPattern], limit: Duration) -> Salvage {
        if self.folder.with(|_| ()).is_none() {
            if !patterns.is_empty() {
                self.warnings.warn("`collect` has no effect without a run folder (--out)".to_owned());
            }
            return Salvage::default();
        }
        if limit < SHORTEST {
            self.warnings.warn("neither changes.patch nor collected files: there was no time for them".to_owned());
            return Salvage::default();
        }
        let (mut salvage, collected) = tokio::join!(self.write_changes(limit), collect::collect(self, patterns, limit));
        salvage.collected = collected;
        salvage
    }

    /// Writes the patch, if there are repositories; what has changed.
    async fn write_changes(&self, limit: Duration) -> Salvage {
        let Some(commits) = self.folder.with(|folder| folder.commits().cloned()).flatten() else {
            return Salvage::default();
        };
        let made = timeout(limit, changes::changes(self.server, self.working_dir, &commits, limit)).await;
        let made = made.unwrap_or_else(|_| Err(format!("the agent-server took longer than {} s", limit.as_secs_f64())));
        let written = made.and_then(|changes| {
            if !changes.patch.is_empty() {
                let patch = without_secrets(&changes.patch, self.redactor);
                let written = self.folder.with(|folder| folder.write(PATCH, &patch)).unwrap_or(Ok(()));
                written.map_err(|error| error.to_string())?;
            }
            for repository in &changes.incomplete {
                self.warnings
                    .warn(format!("changes.patch may be incomplete: git could not read everything in {repository}"));
            }
            let patch = changes.has_repositories.then(|| PatchSize::of(&changes.repositories));
            Ok(Salvage { changes: changes.repositories, patch, collected: None })
        });
        written.unwrap_or_else(|reason| {
            self.warnings.warn(format!("no changes.patch: {reason}"));
            Salvage::default()
        })
    }
}

/// A file may have bytes that are no text. A secret is text.
fn without_secrets(content: &[u8], redactor: &Redactor) -> Vec<u8> {
    let mut clean = Vec::with_capacity(content.len());
    for chunk in content.utf8_chunks() {
        clean.extend_from_slice(redactor.redact(chunk.valid()).as_bytes());
        clean.extend_from_slice(chunk.invalid());
    }
    clean
}

#[cfg(test)]
mod tests {
    use openhands_client::secret::Secret;

    use super::*;

    #[test]
    fn a_patch_has_no_secret_in_it_and_keeps_what_is_no_text() {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("s3cret-value"));
        redactor.learn(&Secret::new("-----BEGIN KEY-----\nabcdef\n-----END KEY-----"));
        let patch = b"+key=s3cret-value\n+\xff\xfes3cret-value\n+-----BEGIN KEY-----\n+abcdef\n+-----END KEY-----\n";
        assert_eq!(without_secrets(patch, &redactor), b"+key=***\n+\xff\xfe***\n+***\n");
    }
}
