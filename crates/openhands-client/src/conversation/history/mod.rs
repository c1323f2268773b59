//! The conversation's log: records which of its events were seen, and reads the others.

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

/// Admits every event once, whatever its source.
#[derive(Debug)]
pub(super) struct History {
    client: AgentServerClient,
    id: ConversationId,
    seen: Seen,
    last_timestamp: Option<String>,
    /// The last known user message.
    last_message: Option<String>,
}

/// The position of a reader in the log. It reads one page at a time, so that a long log is never in memory as a whole.
#[derive(Debug)]
pub(super) struct Cursor {
    query: EventQuery,
    pages: u32,
    /// A page id that was returned before: after 1, 2, 4, 8 … pages. If pages lead back to it, they never end (Brent's
    /// algorithm).
    landmark: Option<String>,
}

/// The maximum number of pages (of 100 events) that one reading takes. After that, it gives up on a server whose pages never end.
const MOST_PAGES: u32 = 100_000;

impl History {
    pub(super) fn new(client: AgentServerClient, id: ConversationId) -> Self {
        Self { client, id, seen: Seen::default(), last_timestamp: None, last_message: None }
    }

    /// Returns whether the event has not been seen before, and marks it as seen.
    pub(super) fn admit(&mut self, event: &Event) -> bool {
        let new = self.seen.is_new(&event.id);
        // A server uses one timestamp format, so the order of the texts is the order of the times.
        if new && event.timestamp > self.last_timestamp {
            self.last_timestamp.clone_from(&event.timestamp);
        }
        if new && matches!(event.meaning(), Meaning::UserMessage(_)) {
            self.last_message = Some(event.id.clone());
        }
        new
    }

    /// Returns whether the log holds this user message after the last known one.
    pub(super) async fn has_new(&self, message: &str) -> Result<bool, HttpError> {
        let newest = self.newest_messages().await?;
        let mut unknown = newest.iter().take_while(|(id, _)| Some(id) != self.last_message.as_ref());
        Ok(unknown.any(|(_, text)| text == message))
    }

    /// Reads the last user message.
    pub(super) async fn know_messages(&mut self) -> Result<(), HttpError> {
        let newest =
            retry("reading the conversation", Policy::setup(self.client.time_limits()), || self.newest_messages())
                .await?;
        self.last_message = newest.into_iter().next().map(|(id, _)| id);
        Ok(())
    }

    /// Returns ids and texts of the newest user messages, the newest first.
    async fn newest_messages(&self) -> Result<Vec<(String, String)>, HttpError> {
        // Pauses and interruptions also have the source `user`.
        let query = EventQuery { source: Some("user"), newest_first: true, limit: Some(20), ..EventQuery::default() };
        let page = self.client.events(self.id, &query).await?;
        let events = page.items.iter().filter_map(|item| Event::parse(item.get()));
        let messages = events.filter_map(|event| match event.meaning() {
            Meaning::UserMessage(text) => Some((event.id.clone(), text.clone())),
            _ => None,
        });
        Ok(messages.collect())
    }

    /// Marks the events in the log as seen, and returns the newest of them, the newest first.
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
        // The last user message may be on an older page.
        self.know_messages().await?;
        Ok(events)
    }

    /// Returns a cursor a little before the last event seen.
    pub(super) fn cursor(&self) -> Cursor {
        let overlap = self.client.time_limits().log_overlap;
        let since = self.last_timestamp.as_deref().map(|timestamp| a_little_before(timestamp, overlap));
        Cursor { query: EventQuery { since, ..EventQuery::default() }, pages: 0, landmark: None }
    }
}

impl Cursor {
    /// Reads the page at the cursor. Its events may have been seen before. Also returns the cursor of the next page, if there is
    /// one.
    pub(super) async fn read(
        mut self,
        client: AgentServerClient,
        id: ConversationId,
    ) -> Result<(Vec<Event>, Option<Self>), HttpError> {
        let page = client.events(id, &self.query).await?;
        self.pages += 1;
        // For an unknown page id the server returns the first page: repeated ids would never end, and neither would empty pages.
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

/// Returns an earlier naive timestamp, in the server's own format.
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

    /// Returns how many pages are read from a server that responds to the first, second … request with these pages.
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
