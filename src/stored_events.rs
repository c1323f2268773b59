//! The stored events of a conversation, from the first one, page by page: a long log never lies in memory.

use openhands_client::agent_server::AgentServerClient;
use openhands_client::conversation::EventQuery;
use openhands_client::http::HttpError;
use openhands_client::ids::ConversationId;
use serde_json::value::RawValue;

/// Pages of 100 events. A server whose pages never end is left alone after them.
const MOST_PAGES: u32 = 100_000;

/// The pages that are still to be read.
#[derive(Debug)]
pub(crate) struct StoredEvents<'c> {
    client: &'c AgentServerClient,
    id: ConversationId,
    page_id: Option<String>,
    pages: u32,
    is_over: bool,
}

impl<'c> StoredEvents<'c> {
    /// Those of this conversation.
    pub(crate) fn of(client: &'c AgentServerClient, id: ConversationId) -> Self {
        Self { client, id, page_id: None, pages: 0, is_over: false }
    }

    /// The next events as the server sends them; nothing after the last one.
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
        // An unknown page id gives the first page again.
        self.is_over = page.items.is_empty() || page.next_page_id.is_none() || page.next_page_id == self.page_id;
        self.page_id = page.next_page_id;
        Ok(Some(page.items))
    }
}
