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
    /// A page id that was given before: after 1, 2, 4, 8 … pages. Where pages lead back to it, they never end (Brent's algorithm).
    landmark: Option<String>,
}

/// The largest number of pages of 100 events that are read at once. A server whose pages never end is left alone after them.
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
        Cursor { query: EventQuery { since, ..EventQuery::default() }, pages: 0, landmark: None }
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
        // An unknown page id gives the first page again: ids that repeat would never end, and neither would empty pages.
        let is_last = page.next_page_id.is_none()
            || page.next_page_id == self.query.page_id
            || page.next_page_id == self.landmark
            || page.items.is_empty()
            || self.pages >= MOST_PAGES;
        if self.pages.is_power_of_two() {
            self.landmark.clone_from(&page.next_page_id);
        }
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::{Value, json};
    use wiremock::matchers::any;
    use wiremock::{Mock, MockServer, Request, ResponseTemplate};

    use super::*;
    use crate::agent_server::AgentServerAddress;
    use crate::http::{Http, Network};
    use crate::time_limits::TimeLimits;

    /// How many pages are read of a server that answers the first, second … request with these pages.
    async fn pages_read(page: impl Fn(usize) -> Value + Send + Sync + 'static) -> usize {
        let (server, asked) = (MockServer::start().await, AtomicUsize::new(0));
        let respond =
            move |_: &Request| ResponseTemplate::new(200).set_body_json(page(asked.fetch_add(1, Ordering::Relaxed)));
        Mock::given(any()).respond_with(respond).mount(&server).await;
        let http = Http::new(&Network::default(), TimeLimits::default()).unwrap();
        let address = AgentServerAddress { url: server.uri().parse().unwrap(), session_key: None };
        let (client, id) = (AgentServerClient::new(http, &address), ConversationId::random());
        let mut cursor = Some(History::new(client.clone(), id).cursor());
        while let Some(unread) = cursor {
            cursor = unread.read(client.clone(), id).await.unwrap().1;
        }
        server.received_requests().await.unwrap().len()
    }

    #[tokio::test]
    async fn pages_that_never_end_are_left_alone() {
        let event = json!([{"id": "e", "kind": "MessageEvent", "timestamp": "2026-01-01T00:00:00"}]);
        let items = event.clone();
        let in_a_circle = move |of: usize| {
            let items = items.clone();
            move |number: usize| json!({"items": items, "next_page_id": format!("p{}", number % of)})
        };
        assert_eq!(pages_read(in_a_circle(1)).await, 2);
        for of in [2, 3, 7, 100] {
            let read = pages_read(in_a_circle(of)).await;
            assert!(read > of && read <= 3 * of + 1, "{read} pages of {of}");
        }
        let empty = |number: usize| json!({"items": [], "next_page_id": format!("p{number}")});
        assert_eq!(pages_read(empty).await, 1);
        let long = move |number: usize| {
            let next = (number < 499).then(|| format!("p{number}"));
            json!({"items": event, "next_page_id": next})
        };
        assert_eq!(pages_read(long).await, 500);
    }

    #[test]
    fn the_overlap_keeps_the_servers_format() {
        let before = |timestamp| a_little_before(timestamp, Duration::from_secs(5));
        assert_eq!(before("2026-11-22T08:15:03.652534"), "2026-11-22T08:14:58.652534");
        assert_eq!(before("2026-01-01T00:00:00"), "2025-12-31T23:59:55");
        assert_eq!(before("soon"), "soon");
    }
}
