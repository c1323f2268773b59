//! Reads the stored events of a conversation from the first one, page by page, so that a long log is never in memory as a whole.

use openhands_client::agent_server::AgentServerClient;
use openhands_client::conversation::EventQuery;
use openhands_client::http::HttpError;
use openhands_client::ids::ConversationId;
use serde_json::value::RawValue;

/// The maximum number of pages (of 100 events). After that, reading gives up on a server whose pages never end.
const MOST_PAGES: u32 = 100_000;

/// The pages that have not been read yet.
#[derive(Debug)]
pub(crate) struct StoredEvents<'c> {
    client: &'c AgentServerClient,
    id: ConversationId,
    page_id: Option<String>,
    pages: u32,
    is_over: bool,
}

impl<'c> StoredEvents<'c> {
    /// Creates a reader for this conversation.
    pub(crate) fn of(client: &'c AgentServerClient, id: ConversationId) -> Self {
        Self { client, id, page_id: None, pages: 0, is_over: false }
    }

    /// Reads the next events as the server sends them; `None` after the last one.
    ///
    /// # Errors
    /// [`HttpError`].
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Box<RawValue>>>, HttpError> {
        if self.is_over || self.pages == MOST_PAGES {
            return Ok(None);
        }
        let query = EventQuery::default().limit(100);
        let query = self.page_id.iter().fold(query, EventQuery::page_id);
        let page = self.client.events(self.id, &query).await?;
        self.pages += 1;
        // For an unknown page id the server returns the first page again.
        self.is_over = page.items.is_empty() || page.next_page_id.is_none() || page.next_page_id == self.page_id;
        self.page_id = page.next_page_id;
        Ok(Some(page.items))
    }
}
