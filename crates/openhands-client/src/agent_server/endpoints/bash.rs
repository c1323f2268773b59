//! Commands on the agent-server's machine: `/api/bash`. They do not belong to a conversation. For the container of a
//! conversation, the same endpoints exist below the path of the conversation.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use crate::agent_server::AgentServerClient;
use crate::agent_server::wire::BashPage;
use crate::http::HttpError;

/// Response of `POST /api/bash/execute_bash_command`. Some versions cut output over 1 MiB.
#[derive(Debug, Clone, Deserialize)]
pub struct BashResult {
    /// The exit code; -1 if the server ended the command at its time limit.
    #[serde(default)]
    pub exit_code: Option<i64>,
    #[serde(default)]
    stdout: Option<String>,
    #[serde(default)]
    stderr: Option<String>,
}

impl BashResult {
    /// Returns whether the command exited with 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.exit_code == Some(0)
    }

    /// Returns standard output as text.
    #[must_use]
    pub fn stdout(&self) -> &str {
        self.stdout.as_deref().unwrap_or_default()
    }

    /// Returns standard error as text.
    #[must_use]
    pub fn stderr(&self) -> &str {
        self.stderr.as_deref().unwrap_or_default()
    }
}

#[derive(Debug, Deserialize)]
struct Started {
    id: String,
}

impl AgentServerClient {
    /// Runs a short shell command in the server's own directory, and waits for its end. **Must not be repeated blindly.**
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn execute(&self, command: &str, limit: Duration) -> Result<BashResult, HttpError> {
        self.of_machine(Method::POST, &["bash", "execute_bash_command"])
            .timeout(limit + self.time_limits().request)
            .json(&json!({"command": command, "timeout": limit.as_secs().max(1)}))
            .send()
            .await?
            .json()
    }

    /// Starts a shell command, which the server ends after `limit`, and returns its id. **Must not be repeated blindly.**
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn start_command(&self, command: &str, limit: Duration) -> Result<String, HttpError> {
        let started: Started = self
            .of_machine(Method::POST, &["bash", "start_bash_command"])
            .json(&json!({"command": command, "timeout": limit.as_secs().max(1)}))
            .send()
            .await?
            .json()?;
        Ok(started.id)
    }

    /// Checks that the session key belongs to this server, with a call that needs the key and changes nothing.
    ///
    /// # Errors
    /// [`HttpError`]; 401 for another server's key.
    pub async fn authenticated(&self) -> Result<(), HttpError> {
        self.of_machine(Method::GET, &["bash", "bash_events", "search"])
            .query(&[("limit", "1")])
            .timeout(self.time_limits().ready_attempt)
            .send()
            .await
            .map(drop)
    }

    /// `GET /api/bash/bash_events/search`: returns the last commands, the newest first. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn bash_commands(&self) -> Result<BashPage, HttpError> {
        self.bash_events(&[("kind__eq", "BashCommand"), ("sort_order", "TIMESTAMP_DESC"), ("limit", "20")]).await
    }

    /// The same endpoint for the outputs of one command: returns its exit code, if it has ended. May be repeated.
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
        self.of_machine(Method::GET, &["bash", "bash_events", "search"]).query(&query).send().await?.json()
    }
}
