//! The agent-server's endpoints: one method each, one attempt each.
//!
//! The docs of a method say which calls may be repeated. Authentication is the header `X-Session-API-Key` on every
//! version.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use serde::Serialize;
use serde_json::json;
use url::Url;

use super::capabilities::{Capabilities, Version};
use super::settings::{Profile, ProfileList, SecretList, ServerSettings};
use super::skill::{SkillList, SkillQuery};
use super::wire::{
    BashPage, ConversationInfo, EventPage, FinalResponse, SecretSource, Secrets, SendMessage, ServerInfo,
    StartConversation,
};
use crate::agent_server::AgentServerAddress;
use crate::http::{self, Http, HttpError, Request};
use crate::ids::ConversationId;
use crate::secret::Secret;
use crate::time_limits;

/// One agent-server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AgentServerClient {
    http: Http,
    base: Url,
    session_key: Option<Secret>,
}

/// Whether a conversation was made by the call or was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// 201: it is new.
    New,
    /// 200: it was there; the rest of the request's body is ignored.
    Existing,
}

/// What `POST /api/conversations/{id}/run` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunStarted {
    /// 200: no run was under way; one is now, or the conversation is finished and stays so.
    Started,
    /// 409: a run is under way.
    AlreadyRunning,
}

/// Which events to search for.
#[derive(Debug, Clone, Default, Serialize)]
pub struct EventQuery {
    /// Events at or after this naive server-local time.
    #[serde(rename = "timestamp__gte", skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
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

impl AgentServerClient {
    /// A client of this server.
    #[must_use]
    pub fn new(http: Http, server: &AgentServerAddress) -> Self {
        Self { http, base: server.url.clone(), session_key: server.session_key.clone() }
    }

    /// The same without its connections, which belong to the runtime in which they were made.
    #[must_use]
    pub fn with_fresh_connections(&self) -> Option<Self> {
        Some(Self { http: self.http.with_fresh_connections().ok()?, ..self.clone() })
    }

    /// The server's address as it may be shown.
    #[must_use]
    pub fn address(&self) -> String {
        http::without_secrets(&self.base).trim_end_matches('/').to_owned()
    }

    pub(super) fn request(&self, method: Method, segments: &[&str]) -> Request {
        let request = self.http.request(method, http::join(&self.base, segments));
        match &self.session_key {
            Some(key) => request.session_key(key),
            None => request,
        }
    }

    fn of_conversation(&self, method: Method, id: ConversationId, rest: &[&str]) -> Request {
        let id = id.to_string();
        let mut segments = vec!["api", "conversations", id.as_str()];
        segments.extend(rest);
        self.request(method, &segments)
    }

    /// `GET /ready`, else `GET /alive` where the former is unknown. Needs no key. May be repeated.
    ///
    /// # Errors
    /// 503 while the server is initialising; no connection until it listens.
    pub async fn ready(&self) -> Result<(), HttpError> {
        let ready = self.request(Method::GET, &["ready"]).timeout(time_limits::READY_ATTEMPT).send().await;
        match ready {
            Err(error) if error.status() == Some(404) => {
                self.request(Method::GET, &["alive"]).timeout(time_limits::READY_ATTEMPT).send().await.map(drop)
            }
            other => other.map(drop),
        }
    }

    /// `GET /server_info`: the server's version. Needs no key. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn version(&self) -> Result<String, HttpError> {
        let info: ServerInfo = self.request(Method::GET, &["server_info"]).send().await?.json()?;
        Ok(info.version)
    }

    /// `POST /api/conversations`. May be repeated: the id is ours.
    ///
    /// # Errors
    /// [`HttpError`]; 422 for a body that the server does not take (1.22.1 answers 500 to some).
    pub async fn start_conversation(&self, body: &StartConversation) -> Result<(Created, ConversationInfo), HttpError> {
        let mut request =
            self.request(Method::POST, &["api", "conversations"]).timeout(time_limits::BUSY_REQUEST).json(body);
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

    /// `POST …/events` with a user's message that starts a run. **Must not be repeated blindly**: a message carries no
    /// id, so that the server takes a second one for another message.
    ///
    /// # Errors
    /// [`HttpError`]. After an ambiguous one, search the events for the message. After a 429 (full server, 1.58.0) the
    /// message is stored, and only [`AgentServerClient::run`] is to be repeated.
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
    /// [`HttpError`]; 429 for a full server (1.58.0).
    pub async fn run(&self, id: ConversationId) -> Result<RunStarted, HttpError> {
        match self.of_conversation(Method::POST, id, &["run"]).timeout(time_limits::BUSY_REQUEST).send().await {
            Ok(_) => Ok(RunStarted::Started),
            Err(error) if error.status() == Some(409) => Ok(RunStarted::AlreadyRunning),
            Err(error) => Err(error),
        }
    }

    /// Stops the agent: `POST …/interrupt`, or `…/pause` where there is no interrupt. May be repeated. A pause is
    /// answered only after the running command, an interrupt at once.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn stop(&self, id: ConversationId, capabilities: Capabilities) -> Result<(), HttpError> {
        let endpoint = if capabilities.interrupt { "interrupt" } else { "pause" };
        self.of_conversation(Method::POST, id, &[endpoint]).timeout(time_limits::BUSY_REQUEST).send().await.map(drop)
    }

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

    /// `GET …/agent_final_response`, from 1.17.0: the agent's last message, if there is one. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; 404 on older versions.
    pub async fn final_response(&self, id: ConversationId) -> Result<Option<String>, HttpError> {
        let answer: FinalResponse =
            self.of_conversation(Method::GET, id, &["agent_final_response"]).send().await?.json()?;
        Ok(Some(answer.response).filter(|response| !response.is_empty()))
    }

    /// `PATCH /api/conversations/{id}` with all tags, which replace the ones that are there. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; 422 on 1.11.5.
    pub async fn set_tags(&self, id: ConversationId, tags: &BTreeMap<String, String>) -> Result<(), HttpError> {
        self.of_conversation(Method::PATCH, id, &[]).json(&json!({ "tags": tags })).send().await.map(drop)
    }

    /// `PATCH /api/conversations/{id}` with a title of 1 to 200 characters. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; 422 for a title of another length.
    pub async fn set_title(&self, id: ConversationId, title: &str) -> Result<(), HttpError> {
        self.of_conversation(Method::PATCH, id, &[]).json(&json!({ "title": title })).send().await.map(drop)
    }

    /// `POST …/secrets`: adds secrets to an existing conversation. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn add_secrets(&self, id: ConversationId, secrets: &Secrets) -> Result<(), HttpError> {
        self.of_conversation(Method::POST, id, &["secrets"])
            .timeout(time_limits::BUSY_REQUEST)
            .json(&json!({ "secrets": secrets }))
            .send()
            .await
            .map(drop)
    }

    /// `POST /api/skills`: the skills of some sources. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn skills(&self, query: &SkillQuery) -> Result<SkillList, HttpError> {
        self.request(Method::POST, &["api", "skills"]).timeout(time_limits::SKILLS).json(query).send().await?.json()
    }

    /// `GET /api/bash/bash_events/search`: the last commands, the newest first. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn bash_commands(&self) -> Result<BashPage, HttpError> {
        self.bash_events(&[("kind__eq", "BashCommand"), ("sort_order", "TIMESTAMP_DESC"), ("limit", "20")]).await
    }

    /// The same for the outputs of one command: its exit code, if it has ended. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn bash_exit_code(&self, command_id: &str) -> Result<Option<i64>, HttpError> {
        let query = [
            ("kind__eq", "BashOutput"),
            ("command_id__eq", command_id),
            ("sort_order", "TIMESTAMP_DESC"),
            ("limit", "1"),
        ];
        Ok(self.bash_events(&query).await?.items.iter().find_map(|output| output.exit_code))
    }

    async fn bash_events(&self, query: &[(&str, &str)]) -> Result<BashPage, HttpError> {
        self.request(Method::GET, &["api", "bash", "bash_events", "search"]).query(&query).send().await?.json()
    }

    /// `GET /api/settings` with keys in plain text, from 1.22.1. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; 404 on older versions.
    pub async fn settings(&self) -> Result<ServerSettings, HttpError> {
        self.with_keys(&["api", "settings"]).send().await?.json()
    }

    /// `GET /api/profiles/{name}` with its key in plain text, from 1.22.1. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; 404 for an unknown profile.
    pub async fn profile(&self, name: &str) -> Result<Profile, HttpError> {
        self.with_keys(&["api", "profiles", name]).send().await?.json()
    }

    /// `GET /api/profiles`: the names of the LLM profiles, from 1.22.1. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn profiles(&self) -> Result<ProfileList, HttpError> {
        self.request(Method::GET, &["api", "profiles"]).send().await?.json()
    }

    /// `GET /api/settings/secrets`: names and descriptions, from 1.22.1. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; 404 on older versions.
    pub async fn secret_names(&self) -> Result<SecretList, HttpError> {
        self.request(Method::GET, &["api", "settings", "secrets"]).send().await?.json()
    }

    /// A reference to a secret of the server's own settings: `GET /api/settings/secrets/{name}`, plain text, with the
    /// session key.
    #[must_use]
    pub fn secret(&self, name: &str, description: Option<String>) -> SecretSource {
        let key = self.session_key.as_ref().map(|key| ("X-Session-API-Key".to_owned(), key.expose().to_owned()));
        SecretSource::Lookup {
            url: http::join(&self.base, &["api", "settings", "secrets", name]).into(),
            headers: key.into_iter().collect(),
            description,
        }
    }

    /// `GET /api/settings/secrets/{name}`: the value of a secret, nothing where there is none, from 1.22.1. May be
    /// repeated. For what the runner itself does before the agent starts; the agent gets [`AgentServerClient::secret`].
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn secret_value(&self, name: &str) -> Result<Option<Secret>, HttpError> {
        match self.request(Method::GET, &["api", "settings", "secrets", name]).send().await {
            Ok(answer) => Ok(Some(Secret::new(answer.text().trim())).filter(|secret| !secret.expose().is_empty())),
            // Also a version without such settings.
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn with_keys(&self, segments: &[&str]) -> Request {
        self.request(Method::GET, segments).header("X-Expose-Secrets", "plaintext")
    }

    /// The events socket's address, header key, and TLS; see [`super::socket`].
    pub(super) fn socket_endpoint(&self, id: ConversationId) -> SocketEndpoint {
        let mut url = http::join(&self.base, &["sockets", "events", &id.to_string()]);
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        // Both schemes are special, so the change cannot be refused.
        let _ = url.set_scheme(scheme);
        let proxy = self.http.proxy_of(&url);
        SocketEndpoint { url, session_key: self.session_key.clone(), tls: self.http.tls(), proxy }
    }
}

/// What a socket needs to connect.
pub(super) struct SocketEndpoint {
    pub(super) url: Url,
    pub(super) session_key: Option<Secret>,
    pub(super) tls: std::sync::Arc<rustls::ClientConfig>,
    /// The proxy on the way there.
    pub(super) proxy: Option<Url>,
}

/// Reads a version text; an unknown one counts as the newest known.
#[must_use]
pub fn capabilities_of(version: &str) -> Capabilities {
    match Version::parse(version) {
        Some(version) => Capabilities::of(version),
        None => {
            tracing::warn!(version, "the agent-server's version is not understood; it counts as the newest");
            Capabilities::newest()
        }
    }
}
