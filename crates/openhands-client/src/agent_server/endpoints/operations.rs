//! Operations on a conversation outside its turns: pause, interrupt, fork, condense, questions, plugins, deletion.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::agent_server::AgentServerClient;
use crate::agent_server::wire::Llm;
use crate::http::HttpError;
use crate::ids::ConversationId;

/// Options for forking a conversation.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ForkOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_event_id: Option<String>,
    #[serde(rename = "reset_metrics", serialize_with = "negated")]
    keep_metrics: bool,
}

impl ForkOptions {
    /// Sets the title of the fork.
    #[must_use]
    pub fn title(self, title: impl Into<String>) -> Self {
        Self { title: Some(title.into()), ..self }
    }

    /// Adds a tag to the fork.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    /// Sets the last event that the fork contains (default: all events).
    #[must_use]
    pub fn from_event_id(self, id: impl Into<String>) -> Self {
        Self { from_event_id: Some(id.into()), ..self }
    }

    /// Keeps the cost and the tokens so far (default: the fork starts at zero).
    #[must_use]
    pub fn keep_metrics(self) -> Self {
        Self { keep_metrics: true, ..self }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn negated<S: serde::Serializer>(value: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(!value)
}

#[derive(Deserialize)]
struct AgentResponse {
    response: String,
}

impl AgentServerClient {
    /// `POST …/pause`: the agent stops after its current step. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn pause(&self, id: ConversationId) -> Result<(), HttpError> {
        self.of_conversation(Method::POST, id, &["pause"])
            .timeout(self.time_limits().busy_request)
            .send()
            .await
            .map(drop)
    }

    /// `POST …/interrupt`, from 1.24.0: the agent stops at once. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; [`HttpError::Unsupported`] on older versions.
    pub async fn interrupt(&self, id: ConversationId) -> Result<(), HttpError> {
        let sent = self
            .of_conversation(Method::POST, id, &["interrupt"])
            .timeout(self.time_limits().busy_request)
            .send()
            .await;
        self.or_unsupported("interrupt", id, sent).await.map(drop)
    }

    /// `POST …/fork`: copies the conversation with its events so far to the id `fork`; the copy is idle. Seen on 1.58.0, absent
    /// on 1.11.5. May be repeated: the response to a second request with the same id is a 409.
    ///
    /// # Errors
    /// [`HttpError`]; [`HttpError::Unsupported`] on older versions.
    pub async fn fork(&self, id: ConversationId, fork: ConversationId, options: &ForkOptions) -> Result<(), HttpError> {
        let mut body = serde_json::to_value(options).unwrap_or_else(|_| json!({}));
        body["id"] = fork.to_string().into();
        let request =
            self.of_conversation(Method::POST, id, &["fork"]).timeout(self.time_limits().busy_request).json(&body);
        self.or_unsupported("fork", id, request.send().await).await.map(drop)
    }

    /// `POST …/switch_llm`: gives the conversation's agent another LLM. Seen on 1.58.0, absent on 1.11.5. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; [`HttpError::Unsupported`] on older versions.
    pub async fn switch_llm(&self, id: ConversationId, llm: &Llm) -> Result<(), HttpError> {
        let request = self.of_conversation(Method::POST, id, &["switch_llm"]).timeout(self.time_limits().busy_request);
        let sent = request.json(&json!({ "llm": llm })).send().await;
        self.or_unsupported("switch_llm", id, sent).await.map(drop)
    }

    /// `POST …/condense`: summarizes the history with the agent's condenser. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; 409 if the agent has no suitable condenser (1.58.0).
    pub async fn condense(&self, id: ConversationId) -> Result<(), HttpError> {
        let sent =
            self.of_conversation(Method::POST, id, &["condense"]).timeout(self.time_limits().busy_request).send().await;
        self.or_unsupported("condense", id, sent).await.map(drop)
    }

    /// `POST …/ask_agent`: asks a question outside the conversation, which is not stored as an event. Costs an LLM call.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn ask_agent(&self, id: ConversationId, question: &str) -> Result<String, HttpError> {
        let request = self.of_conversation(Method::POST, id, &["ask_agent"]).timeout(self.time_limits().busy_request);
        let sent = request.json(&json!({ "question": question })).send().await;
        let response: AgentResponse = self.or_unsupported("ask_agent", id, sent).await?.json()?;
        Ok(response.response)
    }

    /// `POST …/load_plugin`: loads a plugin, named `plugin@marketplace` or by its source. Seen on 1.58.0, absent on 1.11.5. May
    /// be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; [`HttpError::Unsupported`] on older versions; 400 or 404 for a plugin that cannot be loaded.
    pub async fn load_plugin(&self, id: ConversationId, plugin: &str) -> Result<(), HttpError> {
        let request = self.of_conversation(Method::POST, id, &["load_plugin"]).timeout(self.time_limits().busy_request);
        match request.json(&json!({ "plugin_ref": plugin })).send().await {
            // A plugin that does not exist is a 404 with its own message.
            Err(error @ HttpError::Status { .. }) if error.is_unknown_route() => {
                self.or_unsupported("load_plugin", id, Err(error)).await
            }
            other => other.map(drop),
        }
    }

    /// `DELETE /api/conversations/{id}`. May be repeated: the response is then a 404.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn delete_conversation(&self, id: ConversationId) -> Result<(), HttpError> {
        self.of_conversation(Method::DELETE, id, &[]).timeout(self.time_limits().busy_request).send().await.map(drop)
    }
}
