//! The conversation's log: which of its events were seen, and how to read the others.

use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::DateTime;

use super::seen::Seen;
use crate::agent_server::client::EventQuery;
use crate::agent_server::event::Meaning;
use crate::agent_server::{AgentServerClient, Event};
use crate::http::HttpError;
use crate::ids::ConversationId;
use crate::retry::{Policy, retry};

/// Admits every event once, from whatever source it comes.
#[derive(Debug)]
pub(super) struct Log {
    client: AgentServerClient,
    id: ConversationId,
    seen: Seen,
    last_timestamp: Option<String>,
    /// The last message from our side that is known.
    last_message: Option<String>,
}

/// Where a reading of the log is. One page at a time, so that a long log never lies in memory.
#[derive(Debug)]
pub(super) struct Cursor {
    query: EventQuery,
    at_end: bool,
}

impl Log {
    pub(super) fn new(client: AgentServerClient, id: ConversationId) -> Self {
        Self { client, id, seen: Seen::default(), last_timestamp: None, last_message: None }
    }

    /// Whether the event has not been seen before. From now on it has.
    pub(super) fn admit(&mut self, event: &Event) -> bool {
        let new = self.seen.is_new(&event.id);
        // One server writes one format, so that the order of texts is the order of times.
        if new && event.timestamp > self.last_timestamp {
            self.last_timestamp.clone_from(&event.timestamp);
        }
        new
    }

    /// Takes note of a message from our side.
    pub(super) fn knows_message(&mut self, event: &Event) {
        self.last_message = Some(event.id.clone());
    }

    /// Whether the log holds this message from our side after the last one that is known.
    pub(super) async fn has_new(&self, message: &str) -> Result<bool, HttpError> {
        let newest = self.newest_messages().await?;
        let mut unknown = newest.iter().take_while(|(id, _)| Some(id) != self.last_message.as_ref());
        Ok(unknown.any(|(_, text)| text == message))
    }

    /// Reads which message from our side is the last one.
    pub(super) async fn know_messages(&mut self) -> Result<(), HttpError> {
        let newest =
            retry("reading the conversation", Policy::setup(self.client.time_limits()), || self.newest_messages())
                .await?;
        self.last_message = newest.into_iter().next().map(|(id, _)| id);
        Ok(())
    }

    /// Ids and texts of the newest messages from our side, the newest first.
    async fn newest_messages(&self) -> Result<Vec<(String, String)>, HttpError> {
        // Pauses and interruptions are the user's too.
        let query = EventQuery { source: Some("user"), newest_first: true, limit: Some(20), ..EventQuery::default() };
        let page = self.client.events(self.id, &query).await?;
        let events = page.items.iter().filter_map(|item| Event::parse(item.get()));
        let messages = events.filter_map(|event| match event.meaning() {
            Meaning::UserMessage(text) => Some((event.id, text)),
            _ => None,
        });
        Ok(messages.collect())
    }

    /// Counts what the log holds now as seen, and gives the newest of it, the newest first.
    pub(super) async fn skip(&mut self) -> Result<Vec<Event>, HttpError> {
        let query = EventQuery { newest_first: true, ..EventQuery::default() };
        let page = retry("reading the conversation", Policy::setup(self.client.time_limits()), || {
            self.client.events(self.id, &query)
        })
        .await?;
        let events: Vec<Event> = page.items.iter().filter_map(|item| Event::parse(item.get())).collect();
        for event in &events {
            self.admit(event);
        }
        // It may lie further back.
        self.know_messages().await?;
        Ok(events)
    }

    /// Starts to read from a little before the last event seen.
    pub(super) fn cursor(&self) -> Cursor {
        let since = self
            .last_timestamp
            .as_deref()
            .map(|timestamp| a_little_before(timestamp, self.client.time_limits().log_overlap));
        Cursor { query: EventQuery { since, ..EventQuery::default() }, at_end: false }
    }

    /// The next page, with events that were seen before; `None` at the end.
    pub(super) async fn page(&self, cursor: &mut Cursor) -> Result<Option<Vec<Event>>, HttpError> {
        if cursor.at_end {
            return Ok(None);
        }
        let page = self.client.events(self.id, &cursor.query).await?;
        // An unknown page id gives the first page again: an id that repeats would never end.
        cursor.at_end = page.next_page_id.is_none() || page.next_page_id == cursor.query.page_id;
        cursor.query.page_id = page.next_page_id;
        Ok(Some(page.items.iter().filter_map(|item| Event::parse(item.get())).collect()))
    }
}

/// A naive timestamp, a little earlier, in the server's own format.
fn a_little_before(timestamp: &str, overlap: Duration) -> String {
    let overlap = SignedDuration::try_from(overlap).unwrap_or(SignedDuration::ZERO);
    let earlier = timestamp.parse::<DateTime>().ok().and_then(|time| time.checked_sub(overlap).ok());
    earlier.map_or_else(|| timestamp.to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overlap_keeps_the_servers_format() {
        let before = |timestamp| a_little_before(timestamp, Duration::from_secs(5));
        assert_eq!(before("2026-11-22T08:15:03.652534"), "2026-11-22T08:14:58.652534");
        assert_eq!(before("2026-01-01T00:00:00"), "2025-12-31T23:59:55");
        assert_eq!(before("soon"), "soon");
    }
}
