//! Endpoints of events: search, count, and confirmation of actions.

use reqwest::Method;
use serde::Serialize;
use serde_json::json;

use crate::agent_server::AgentServerClient;
use crate::agent_server::wire::EventPage;
use crate::http::HttpError;
use crate::ids::ConversationId;

/// A query for events.
#[derive(Debug, Clone, Default, Serialize)]
pub struct EventQuery {
    #[serde(rename = "timestamp__gte", skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<String>,
    #[serde(rename = "timestamp__lt", skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<&'static str>,
    #[serde(skip)]
    pub(crate) newest_first: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) page_id: Option<String>,
}

impl EventQuery {
    /// Selects events at or after this time, in the server's local time without an offset, such as the `timestamp` of an
    /// [`Event`](crate::Event).
    #[must_use]
    pub fn since(self, time: impl Into<String>) -> Self {
        Self { since: Some(time.into()), ..self }
    }

    /// Selects events before this time, in the server's local time without an offset.
    #[must_use]
    pub fn before(self, time: impl Into<String>) -> Self {
        Self { before: Some(time.into()), ..self }
    }

    /// Selects events of this kind: `MessageEvent`, or on older versions
    /// `openhands.sdk.event.llm_convertible.message.MessageEvent`.
    #[must_use]
    pub fn kind(self, kind: impl Into<String>) -> Self {
        Self { kind: Some(kind.into()), ..self }
    }

    /// Selects messages that contain this text. Case is ignored.
    #[must_use]
    pub fn body(self, text: impl Into<String>) -> Self {
        Self { body: Some(text.into()), ..self }
    }

    /// Selects events of this source: `user`, `agent` or `environment`.
    #[must_use]
    pub fn source(self, source: &'static str) -> Self {
        Self { source: Some(source), ..self }
    }

    /// Returns the newest events first (default: the oldest first).
    #[must_use]
    pub fn newest_first(self) -> Self {
        Self { newest_first: true, ..self }
    }

    /// Sets the number of events in a page; the server's maximum is 100.
    #[must_use]
    pub fn limit(self, events: u8) -> Self {
        Self { limit: Some(events), ..self }
    }

    /// Selects the page with this id, which is the `next_page_id` of the previous page.
    #[must_use]
    pub fn page_id(self, id: impl Into<String>) -> Self {
        Self { page_id: Some(id.into()), ..self }
    }
}

/// Which actions of the agent wait for confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "kind")]
#[non_exhaustive]
pub enum ConfirmationPolicy {
    /// All actions.
    #[serde(rename = "AlwaysConfirm")]
    Always,
    /// No actions (default).
    #[serde(rename = "NeverConfirm")]
    Never,
    /// Actions that the agent's security analyzer considers risky.
    #[serde(rename = "ConfirmRisky")]
    Risky,
}

impl AgentServerClient {
    /// `GET …/events/search`. May be repeated. The storage order is not strictly the order of the timestamps.
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

    /// `POST …/security_analyzer`: sets what rates the risk of an action, by class name. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; 422 for an analyzer that the server does not know.
    pub async fn set_security_analyzer(&self, id: ConversationId, kind: &str) -> Result<(), HttpError> {
        let request = self.of_conversation(Method::POST, id, &["security_analyzer"]);
        let body = json!({ "security_analyzer": { "kind": kind } });
        request.timeout(self.time_limits().busy_request).json(&body).send().await.map(drop)
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
