//! Endpoints of conversations: start, read, send, run, stop.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::agent_server::wire::{ConversationInfo, FinalResponse, Secrets, SendMessage, StartConversation};
use crate::agent_server::{AgentServerClient, Capabilities};
use crate::http::HttpError;
use crate::ids::ConversationId;

/// Response to a change of a conversation.
#[derive(Deserialize)]
struct Changed {
    success: bool,
}

/// Whether a call created a conversation or found an existing one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// 201: the conversation is new.
    New,
    /// 200: the conversation existed; the rest of the request's body is ignored.
    Existing,
}

/// Response of `POST /api/conversations/{id}/run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunStarted {
    /// 200: no run was in progress. Now one is, or the conversation is finished and stays finished.
    Started,
    /// 409: a run is in progress.
    AlreadyRunning,
}

impl AgentServerClient {
    /// `POST /api/conversations`. May be repeated, because the client chooses the id.
    ///
    /// # Errors
    /// [`HttpError`]; 422 for a body that the server does not accept (1.22.1 responds with 500 to some of them).
    pub async fn start_conversation(&self, body: &StartConversation) -> Result<(Created, ConversationInfo), HttpError> {
        let mut request =
            self.request(Method::POST, &["api", "conversations"]).timeout(self.time_limits().busy_request).json(body);
        if let Some(traceparent) = &body.trace.traceparent {
            request = request.header("traceparent", traceparent);
        }
        let answer = request.send().await?;
        let created = if answer.status() == 201 { Created::New } else { Created::Existing };
        Ok((created, answer.json()?))
    }

    /// `GET /api/conversations/{id}`. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; 404 for an unknown id.
    pub async fn conversation(&self, id: ConversationId) -> Result<ConversationInfo, HttpError> {
        self.of_conversation(Method::GET, id, &[]).send().await?.json()
    }

    /// `POST …/events` with a user message that starts a run. **Must not be repeated blindly**: a message has no id, so the
    /// server treats a repeated request as another message.
    ///
    /// # Errors
    /// [`HttpError`]. After an ambiguous error, search the events for the message. After a 429 (server at its limit, 1.58.0) the
    /// message is stored, and only [`AgentServerClient::run`] has to be repeated.
    pub async fn send_message(&self, id: ConversationId, text: &str, limit: Duration) -> Result<(), HttpError> {
        self.of_conversation(Method::POST, id, &["events"])
            .timeout(limit)
            .json(&SendMessage::and_run(text))
            .send()
            .await
            .map(drop)
    }

    /// `POST …/run`. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; 429 if the server is at its limit (1.58.0).
    pub async fn run(&self, id: ConversationId) -> Result<RunStarted, HttpError> {
        match self.of_conversation(Method::POST, id, &["run"]).timeout(self.time_limits().busy_request).send().await {
            Ok(_) => Ok(RunStarted::Started),
            Err(error) if error.status() == Some(409) => Ok(RunStarted::AlreadyRunning),
            Err(error) => Err(error),
        }
    }

    /// Stops the agent: `POST …/interrupt`, or `…/pause` on versions without it. May be repeated. The server responds to an
    /// interrupt at once, and to a pause only after the running command.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn stop(&self, id: ConversationId, capabilities: Capabilities) -> Result<(), HttpError> {
        let endpoint = if capabilities.interrupt { "interrupt" } else { "pause" };
        self.of_conversation(Method::POST, id, &[endpoint])
            .timeout(self.time_limits().busy_request)
            .send()
            .await
            .map(drop)
    }

    /// `GET …/agent_final_response`, from 1.17.0: returns the agent's last message, if there is one. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; 404 on older versions.
    pub async fn final_response(&self, id: ConversationId) -> Result<Option<String>, HttpError> {
        let answer: FinalResponse =
            self.of_conversation(Method::GET, id, &["agent_final_response"]).send().await?.json()?;
        Ok(Some(answer.response).filter(|response| !response.is_empty()))
    }

    /// `PATCH /api/conversations/{id}` with all tags, which replace the existing ones. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; 422 on 1.11.5.
    pub async fn set_tags(&self, id: ConversationId, tags: &BTreeMap<String, String>) -> Result<(), HttpError> {
        self.change(id, &json!({ "tags": tags })).await
    }

    /// `PATCH /api/conversations/{id}` with a title of 1 to 200 characters. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; 422 for a title of another length.
    pub async fn set_title(&self, id: ConversationId, title: &str) -> Result<(), HttpError> {
        self.change(id, &json!({ "title": title })).await
    }

    async fn change(&self, id: ConversationId, change: &Value) -> Result<(), HttpError> {
        let response = self.of_conversation(Method::PATCH, id, &[]).json(change).send().await?;
        let Changed { success } = response.json()?;
        // Seen on 1.11.5 to 1.50.1; 1.58.0 responds with 404.
        if success { Ok(()) } else { Err(response.into_not_found("the conversation does not exist")) }
    }

    /// `POST …/secrets`: adds secrets to an existing conversation. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn add_secrets(&self, id: ConversationId, secrets: &Secrets) -> Result<(), HttpError> {
        self.of_conversation(Method::POST, id, &["secrets"])
            .timeout(self.time_limits().busy_request)
            .json(&json!({ "secrets": secrets }))
            .send()
            .await
            .map(drop)
    }
}
