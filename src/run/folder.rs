//! The end of a run folder: what the events socket has not brought, and what the agent changed.

use std::time::Duration;

use openhands_client::agent_server::{AgentServer, Event};
use openhands_client::conversation::EventQuery;
use openhands_client::ids::ConversationId;
use openhands_client::secret::Redactor;
use openhands_client::text;
use tokio::time::timeout;

use super::changes;
use super::warnings::Warnings;
use crate::outcome::RepositoryChanges;
use crate::run_folder::{EventLog, PATCH, RunFolder};
use crate::sinks::jsonl;
use crate::stored_events::StoredEvents;

/// A conversation that still gets events is read so often.
const MOST_READINGS: u32 = 3;

/// Makes the log of the folder equal to the server's: every stored event once, in the server's order. What cannot be completed in
/// time is a warning.
pub(super) async fn complete_events(
    folder: &RunFolder,
    server: &AgentServer,
    id: ConversationId,
    redactor: &Redactor,
    warnings: &Warnings,
    limit: Duration,
) {
    // A log of one runner without a gap is complete already.
    let Some(written) = folder.with(|folder| {
        let log = folder.log.as_ref().filter(|_| !folder.is_continued());
        log.and_then(EventLog::events_in_order)
    }) else {
        return;
    };
    let completed = timeout(limit, complete(folder, server, id, redactor, written)).await;
    let reason = match completed {
        Ok(Ok(())) => return,
        Ok(Err(reason)) => reason,
        Err(_) => format!("the agent-server's log was not read within {} s", limit.as_secs_f64()),
    };
    warnings.warn(format!("events.jsonl may be incomplete: {reason}"));
}

/// Git of a large repository takes seconds; with less time it is not asked.
const SHORTEST_FOR_CHANGES: Duration = Duration::from_secs(1);

/// How long the repositories may take to tell their commits.
const COMMITS: Duration = Duration::from_secs(10);

/// Notes the commits from which the patch is made, unless an earlier runner of the run has.
pub(super) async fn note_commits(folder: &RunFolder, server: &AgentServer, working_dir: &str, warnings: &Warnings) {
    if folder.with(|folder| folder.commits().is_none()) != Some(true) {
        return;
    }
    let noted = match changes::commits(server, working_dir, COMMITS).await {
        Ok(commits) => folder.with(|folder| folder.keep_commits(commits)).unwrap_or(Ok(())),
        Err(reason) => return warnings.warn(format!("no changes.patch: {reason}")),
    };
    if let Err(error) = noted {
        warnings.warn(format!("no changes.patch: {error}"));
    }
}

/// Writes the patch, if there are repositories; what has changed.
pub(super) async fn write_changes(
    folder: &RunFolder,
    server: &AgentServer,
    working_dir: Option<&str>,
    redactor: &Redactor,
    warnings: &Warnings,
    limit: Duration,
) -> Vec<RepositoryChanges> {
    let commits = folder.with(|folder| folder.commits().cloned()).flatten();
    let (Some(commits), Some(working_dir)) = (commits, working_dir) else { return Vec::new() };
    if limit < SHORTEST_FOR_CHANGES {
        warnings.warn("no changes.patch: there was no time for it".to_owned());
        return Vec::new();
    }
    let made = timeout(limit, changes::changes(server, working_dir, &commits, limit)).await;
    let made = made.unwrap_or_else(|_| Err(format!("the agent-server took longer than {} s", limit.as_secs_f64())));
    let written = made.and_then(|changes| {
        if !changes.patch.is_empty() {
            let patch = without_secrets(&changes.patch, redactor);
            let written = folder.with(|folder| folder.write(PATCH, &patch)).unwrap_or(Ok(()));
            written.map_err(|error| error.to_string())?;
        }
        for repository in &changes.incomplete {
            warnings.warn(format!("changes.patch may be incomplete: git could not read everything in {repository}"));
        }
        Ok(changes.repositories)
    });
    written.unwrap_or_else(|reason| {
        warnings.warn(format!("no changes.patch: {reason}"));
        Vec::new()
    })
}

/// A patch may have bytes that are no text. A secret is text.
fn without_secrets(patch: &[u8], redactor: &Redactor) -> Vec<u8> {
    let mut clean = Vec::with_capacity(patch.len());
    for chunk in patch.utf8_chunks() {
        clean.extend_from_slice(redactor.redact(chunk.valid()).as_bytes());
        clean.extend_from_slice(chunk.invalid());
    }
    clean
}

async fn complete(
    folder: &RunFolder,
    server: &AgentServer,
    id: ConversationId,
    redactor: &Redactor,
    mut written: Option<u64>,
) -> Result<(), String> {
    for _ in 0..MOST_READINGS {
        let counted = server.client.count_events(id, &EventQuery::default()).await;
        let counted = counted.map_err(|error| text::chain(&error))?;
        if written == Some(counted) {
            return Ok(());
        }
        written = Some(read_again(folder, server, id, redactor).await?);
    }
    Err("the conversation still gets events".to_owned())
}

/// Writes the log again from the server's. How many events it has.
async fn read_again(
    folder: &RunFolder,
    server: &AgentServer,
    id: ConversationId,
    redactor: &Redactor,
) -> Result<u64, String> {
    tracing::debug!("reading the log of the conversation again");
    let Some(again) = folder.with(|folder| folder.rewrite()) else { return Ok(0) };
    let mut again = again.map_err(|error| error.to_string())?;
    let mut stored = StoredEvents::of(&server.client, id);
    while let Some(page) = stored.next().await.map_err(|error| text::chain(&error))? {
        for item in &page {
            let event_id = Event::parse(item.get()).map(|event| event.id).unwrap_or_default();
            again.event(&event_id, &jsonl::event(item.get(), redactor)).map_err(|error| error.to_string())?;
        }
    }
    let events = again.events();
    let log = again.commit().map_err(|error| error.to_string())?;
    folder.with(|folder| folder.log = Some(log));
    Ok(events)
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
