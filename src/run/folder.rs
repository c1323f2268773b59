//! Completes the log of a run folder with the events that the socket did not deliver.

use std::time::Duration;

use openhands_client::agent_server::{AgentServer, Event};
use openhands_client::conversation::EventQuery;
use openhands_client::ids::ConversationId;
use openhands_client::secret::Redactor;
use openhands_client::text;
use tokio::time::timeout;

use super::warnings::Warnings;
use crate::run_folder::{EventLog, RunFolder};
use crate::sinks::jsonl;
use crate::stored_events::StoredEvents;

/// How many times a conversation that still gets events is read.
const MOST_READINGS: u32 = 3;

/// Makes the log in the folder equal to the server's: every stored event once, in the server's order. If it cannot be completed
/// in time, the run warns.
pub(super) async fn complete_events(
    folder: &RunFolder,
    server: &AgentServer,
    id: ConversationId,
    redactor: &Redactor,
    warnings: &Warnings,
    limit: Duration,
) {
    // A log of a single runner without a gap is already complete.
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

/// Writes the log again from the server's log, and returns the number of events.
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
