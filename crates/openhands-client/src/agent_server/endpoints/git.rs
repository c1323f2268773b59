//! Git repositories on the agent-server's machine.

use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::agent_server::AgentServerClient;
use crate::http::HttpError;

/// A file that differs from the remote's default branch.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct GitChange {
    /// `ADDED`, `UPDATED`, `DELETED` or `MOVED`.
    pub status: String,
    /// The file's path in the repository.
    pub path: String,
}

/// A file in its old and its current version.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct GitDiff {
    /// The old content; `None` for a new file.
    #[serde(default)]
    pub original: Option<String>,
    /// The current content; `None` for a deleted file.
    #[serde(default)]
    pub modified: Option<String>,
}

impl AgentServerClient {
    /// `GET /api/git/changes`. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn git_changes(&self, repository: &str) -> Result<Vec<GitChange>, HttpError> {
        self.git("changes", repository).await
    }

    /// `GET /api/git/diff`. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn git_diff(&self, file: &str) -> Result<GitDiff, HttpError> {
        self.git("diff", file).await
    }

    /// Sends the path as a query parameter (1.58.0). Version 1.11.5 expects it at the end of the URL path, and redirects requests
    /// of the other form.
    async fn git<T: DeserializeOwned>(&self, endpoint: &str, path: &str) -> Result<T, HttpError> {
        match self.request(Method::GET, &["api", "git", endpoint]).query(&[("path", path)]).send().await {
            Err(error) if matches!(error.status(), Some(307 | 404 | 405)) => {
                // Two slashes are needed: with one, the path counts as relative.
                let segments: Vec<&str> = ["api", "git", endpoint].into_iter().chain(path.split('/')).collect();
                self.request(Method::GET, &segments).send().await?.json()
            }
            other => other?.json(),
        }
    }
}
