//! Failures to create the agent's working directory.
//!
//! The agent-server creates the directory when it starts the conversation. If the file system refuses, the server responds with
//! 500 and with Python's `OSError` as `exception`, such as `[Errno 13] Permission denied: '/workspace'` (1.11.5 to 1.58.0,
//! `event_service.py`). A 500 is usually worth a retry; this one is not.

use super::ConversationError;
use crate::http::HttpError;
use crate::retry::{Retry, Retryable};

/// Why a request to start a conversation failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// The agent-server cannot create the working directory.
    #[error(transparent)]
    WorkingDir(HttpError),
    /// Any other error.
    #[error(transparent)]
    Other(HttpError),
}

impl StartError {
    /// Classifies the error of a request that starts a conversation in this directory.
    pub(super) fn new(error: HttpError, working_dir: &str) -> Self {
        match error {
            HttpError::Status { target, status: status @ 500.., detail, retry_after, body }
                if is_about(&detail, working_dir) =>
            {
                let detail =
                    format!("{detail}; name a directory that it can write to (`--working-dir`, `WORKSPACE_BASE`)");
                Self::WorkingDir(HttpError::Status { target, status, detail, retry_after, body })
            }
            other => Self::Other(other),
        }
    }
}

impl StartError {
    pub(super) fn into_conversation_error(self, working_dir: &str) -> ConversationError {
        match self {
            Self::WorkingDir(source) => ConversationError::WorkingDir { path: working_dir.to_owned(), source },
            Self::Other(source) => ConversationError::Request { doing: "start the conversation", source },
        }
    }
}

impl Retryable for StartError {
    fn retry(&self) -> Retry {
        match self {
            Self::WorkingDir(_) => Retry::No,
            Self::Other(error) => error.retry(),
        }
    }

    fn is_full(&self) -> bool {
        matches!(self, Self::Other(error) if error.is_full())
    }
}

/// Errno values of errors that may be temporary: I/O error, no process, no memory, too many open files (two), no space.
const PASSING: [&str; 6] = ["5", "11", "12", "23", "24", "28"];

/// Returns whether the text is a file system error about the directory or one of its parents.
fn is_about(detail: &str, working_dir: &str) -> bool {
    let Some((number, rest)) = detail.split_once("[Errno ").and_then(|(_, rest)| rest.split_once(']')) else {
        return false;
    };
    let path = rest.split_once('\'').and_then(|(_, rest)| rest.split_once('\'')).map(|(path, _)| path);
    !PASSING.contains(&number)
        && path.is_some_and(|path| path.starts_with('/') && std::path::Path::new(working_dir).starts_with(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, detail: &str) -> StartError {
        let detail = detail.to_owned();
        let target = "POST http://h/api/conversations".to_owned();
        StartError::new(
            HttpError::Status { target, status, detail, retry_after: None, body: Vec::new() },
            "/workspace/project",
        )
    }

    #[test]
    fn a_working_directory_that_cannot_be_made_is_permanent_and_any_other_500_is_not() {
        for (status, detail, is_permanent) in [
            (500, "[Errno 13] Permission denied: '/workspace'", true),
            (500, "[Errno 30] Read-only file system: '/workspace/project'", true),
            (500, "PermissionError: [Errno 13] Permission denied: '/workspace'", true),
            (500, "[Errno 28] No space left on device: '/workspace/project'", false),
            (500, "[Errno 13] Permission denied: '/srv/.openhands'", false),
            (500, "[Errno 13] Permission denied: '/work'", false),
            (500, "Internal Server Error", false),
        ] {
            let error = error(status, detail);
            assert_eq!(error.retry() == Retry::No, is_permanent, "{detail}");
            assert_eq!(error.to_string().contains("WORKSPACE_BASE"), is_permanent, "{error}");
            assert!(error.to_string().contains(detail), "{error}");
        }
    }
}
