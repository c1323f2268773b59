//! Events: search, count, and the confirmation of actions.

use reqwest::Method;
use serde::Serialize;
use serde_json::json;

use crate::agent_server::AgentServerClient;
use crate::agent_server::wire::EventPage;
use crate::http::HttpError;
use crate::ids::ConversationId;

/// Which events to search for.
#[derive(Debug, Clone, Default, Serialize)]
pub struct EventQuery {
    /// Events at or after this naive server-local time.
    #[serde(rename = "timestamp__gte", skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Events before this naive server-local time.
    #[serde(rename = "timestamp__lt", skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The kind of the events, such as `MessageEvent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Text that a message holds, in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// `user`, `agent` or `environment`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<&'static str>,
    /// Newest first instead of oldest first.
    #[serde(skip)]
    pub newest_first: bool,
    /// Events in a page; the server's maximum is 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u8>,
    /// `next_page_id` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_id: Option<String>,
}

/// Which actions of the agent wait for a confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "kind")]
#[non_exhaustive]
pub enum ConfirmationPolicy {
    /// Every action.
    #[serde(rename = "AlwaysConfirm")]
    Always,
    /// No action: the default.
    #[serde(rename = "NeverConfirm")]
    Never,
    /// The actions that the agent's security analyzer finds risky.
    #[serde(rename = "ConfirmRisky")]
    Risky,
}

impl AgentServerClient {
    /// `GET …/events/search`. May be repeated. Storage order is not strictly the order of timestamps.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn events(&self, id: ConversationId, query: &EventQuery) -> Result<EventPage, HttpError> {
        let order = if query.newest_first { "TIMESTAMP_DESC" } else { "TIMESTAMP" };
        self.of_conversation(Method::GET, id, &["events", "search"])
            .query(&[("sort_order", order)])
            .query(query)
            .send()
            .await?
            .json()
    }

    /// `GET …/events/count`. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn count_events(&self, id: ConversationId, query: &EventQuery) -> Result<u64, HttpError> {
        let filters = EventQuery { limit: None, page_id: None, ..query.clone() };
        self.of_conversation(Method::GET, id, &["events", "count"]).query(&filters).send().await?.json()
    }

    /// `POST …/confirmation_policy`. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn set_confirmation_policy(
        &self,
        id: ConversationId,
        policy: ConfirmationPolicy,
    ) -> Result<(), HttpError> {
        let request = self.of_conversation(Method::POST, id, &["confirmation_policy"]);
        request.timeout(self.time_limits().busy_request).json(&json!({ "policy": policy })).send().await.map(drop)
    }

    /// `POST …/events/respond_to_confirmation`: accepts or rejects the pending actions. **Must not be repeated blindly.**
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn respond_to_confirmation(
        &self,
        id: ConversationId,
        accept: bool,
        reason: Option<&str>,
    ) -> Result<(), HttpError> {
        let body = match reason {
            Some(reason) => json!({ "accept": accept, "reason": reason }),
            None => json!({ "accept": accept }),
        };
        let request = self.of_conversation(Method::POST, id, &["events", "respond_to_confirmation"]);
        request.timeout(self.time_limits().busy_request).json(&body).send().await.map(drop)
    }
}
