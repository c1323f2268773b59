//! The conversation's log: which of its events were seen, and how to read the others.

mod seen;

use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::DateTime;

use self::seen::Seen;
use crate::agent_server::client::EventQuery;
use crate::agent_server::event::Meaning;
use crate::agent_server::{AgentServerClient, Event};
use crate::http::HttpError;
use crate::ids::ConversationId;
use crate::retry::{Policy, retry};

/// Admits every event once, from whatever source it comes.
#[derive(Debug)]
pub(super) struct History {
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
    pages: u32,
}

/// So many pages of 100 events are read at once. A server whose pages never end is left alone after them.
const MOST_PAGES: u32 = 100_000;

impl History {
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
        if new && matches!(event.meaning(), Meaning::UserMessage(_)) {
            self.last_message = Some(event.id.clone());
        }
        new
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
            Meaning::UserMessage(text) => Some((event.id.clone(), text.clone())),
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
        let overlap = self.client.time_limits().log_overlap;
        let since = self.last_timestamp.as_deref().map(|timestamp| a_little_before(timestamp, overlap));
        Cursor { query: EventQuery { since, ..EventQuery::default() }, pages: 0 }
    }
}

impl Cursor {
    /// Reads the page at the cursor, with events that may have been seen before; the cursor of the next page, if there is one.
    pub(super) async fn read(
        mut self,
        client: AgentServerClient,
        id: ConversationId,
    ) -> Result<(Vec<Event>, Option<Self>), HttpError> {
        let page = client.events(id, &self.query).await?;
        self.pages += 1;
        // An unknown page id gives the first page again: an id that repeats would never end.
        let is_last =
            page.next_page_id.is_none() || page.next_page_id == self.query.page_id || self.pages >= MOST_PAGES;
        self.query.page_id = page.next_page_id;
        let events = page.items.iter().filter_map(|item| Event::parse(item.get())).collect();
        Ok((events, (!is_last).then_some(self)))
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
