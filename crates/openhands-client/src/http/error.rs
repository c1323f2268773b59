//! Errors of HTTP requests, with the message in the response body.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::{LONGEST_RESPONSE, json};
use crate::retry::{Retry, Retryable};
use crate::text;

/// The longest error text that is kept, in characters.
const LONGEST_DETAIL: usize = 600;

/// A failed HTTP request. The text contains the method and the URL, but never a key, a query or the user part of the URL.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// No connection could be made.
    #[error("{target}: no connection: {reason}")]
    Connect {
        /// Method and address.
        target: String,
        /// The innermost cause.
        reason: String,
    },
    /// No complete response arrived within the time limit.
    #[error("{target}: no complete response within the time limit of the request")]
    Timeout {
        /// Method and address.
        target: String,
    },
    /// The connection broke, before or while the response arrived.
    #[error("{target}: the connection broke: {reason}")]
    Broken {
        /// Method and address.
        target: String,
        /// The innermost cause.
        reason: String,
    },
    /// The request could not be built from the given values (for example a key with a line break).
    #[error("{target}: the request cannot be made")]
    Invalid {
        /// Method and address.
        target: String,
        /// The reason.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The server responded with a status other than 2xx.
    #[error("{target}: {status}{}", if detail.is_empty() { String::new() } else { format!(" {detail}") })]
    Status {
        /// Method and address.
        target: String,
        /// The HTTP status.
        status: u16,
        /// The server's message, with limited length.
        detail: String,
        /// `Retry-After`.
        retry_after: Option<Duration>,
        /// The body, for callers that know its format.
        body: Vec<u8>,
    },
    /// A 2xx response with an HTML page instead of JSON: the URL is wrong, or a proxy or login page responded.
    #[error(
        "{target}: the response is an HTML page, not JSON: check the address, and whether a proxy or a login is in between"
    )]
    Page {
        /// Method and address.
        target: String,
    },
    /// A 2xx response whose JSON does not have the expected form.
    #[error("{target}: the response is not the expected JSON")]
    Unexpected {
        /// Method and address.
        target: String,
        /// Where the JSON differs.
        source: serde_json::Error,
    },
    /// The version of the agent-server does not have the endpoint.
    #[error("agent-server {version} does not support {operation}")]
    Unsupported {
        /// The operation, such as `fork`.
        operation: &'static str,
        /// The server's version.
        version: String,
    },
    /// The response is larger than 64 MiB.
    #[error("{target}: the response is larger than {} MiB", LONGEST_RESPONSE / (1024 * 1024))]
    TooLarge {
        /// Method and address.
        target: String,
    },
}

impl fmt::Debug for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::chain(self))
    }
}

impl HttpError {
    pub(super) fn from_transport(target: String, error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_builder() {
            Self::Invalid { target, source: error.into() }
        } else if error.is_connect() {
            Self::Connect { target, reason: text::innermost(&error) }
        } else if error.is_timeout() {
            Self::Timeout { target }
        } else {
            Self::Broken { target, reason: text::innermost(&error) }
        }
    }

    /// Returns the HTTP status, if there was a response.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Returns whether the server may not know the path: a 405, or a 404 without its own message.
    pub(crate) fn is_unknown_route(&self) -> bool {
        match self {
            Self::Status { status: 405, .. } => true,
            Self::Status { status: 404, detail, .. } => detail == "Not Found",
            _ => false,
        }
    }

    /// Returns whether the server rejected the key.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self.status(), Some(401 | 403))
    }

    /// Returns whether it is unknown if the server processed the request: it was sent, but no response arrived.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Broken { .. }) || matches!(self.status(), Some(500..))
    }
}

impl Retryable for HttpError {
    fn refuses_key(&self) -> bool {
        self.status() == Some(401)
    }

    fn is_full(&self) -> bool {
        self.status() == Some(429)
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Connect { .. } | Self::Timeout { .. } | Self::Broken { .. } => Retry::Soon,
            Self::Status { status: 408 | 429 | 500.., retry_after, .. } => {
                retry_after.map_or(Retry::Soon, Retry::After)
            }
            Self::Status { .. }
            | Self::Page { .. }
            | Self::Unexpected { .. }
            | Self::Unsupported { .. }
            | Self::TooLarge { .. }
            | Self::Invalid { .. } => Retry::No,
        }
    }
}

/// Returns the message in an error body. The servers send `detail` as text, `detail` as a list of `{loc, msg}`, `message`,
/// `exception` (agent-server 500), or plain text.
pub(super) fn detail(body: &[u8]) -> String {
    // Half of a surrogate pair, as Python may write it, is an error of the JSON parser here, and would hide the server's message.
    let text = json::without_lone_surrogates(&String::from_utf8_lossy(body)).into_owned();
    let words = match serde_json::from_str::<Value>(&text) {
        Ok(Value::Object(fields)) => ["exception", "detail", "message", "error"]
            .into_iter()
            .find_map(|name| fields.get(name).and_then(words))
            .unwrap_or_else(|| text.clone()),
        Ok(Value::String(words)) => words,
        _ if super::is_page(text.as_bytes()) => return "(an HTML page)".to_owned(),
        _ => text,
    };
    text::one_line(&words, LONGEST_DETAIL)
}

fn words(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(words) => Some(words.clone()),
        Value::Array(problems) => Some(problems.iter().map(problem).collect::<Vec<_>>().join("; ")),
        Value::Object(fields) => {
            fields.get("error").or_else(|| fields.get("message")).and_then(words).or_else(|| Some(value.to_string()))
        }
        other => Some(other.to_string()),
    }
}

fn problem(value: &Value) -> String {
    let place = value.get("loc").and_then(Value::as_array).map(|parts| {
        parts.iter().map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned)).collect::<Vec<_>>()
    });
    match (place, value.get("msg").and_then(Value::as_str)) {
        (Some(place), Some(message)) => format!("{}: {message}", place.join(".")),
        (None, Some(message)) => message.to_owned(),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_error_body_gives_its_words() {
        for (body, words) in [
            (r#"{"detail":"Unauthorized"}"#, "Unauthorized"),
            (
                r#"{"detail":[{"loc":["body","status"],"msg":"Field required","type":"missing"}]}"#,
                "body.status: Field required",
            ),
            (r#"{"detail":"Internal Server Error","exception":"no such tool"}"#, "no such tool"),
            (r#"{"message":"slow down"}"#, "slow down"),
            (r#"{"detail":{"error":"CONCURRENCY_LIMIT_REACHED","limit":3}}"#, "CONCURRENCY_LIMIT_REACHED"),
            ("Internal Server Error", "Internal Server Error"),
            ("<!DOCTYPE html><html>Login</html>", "(an HTML page)"),
            (r#"{"detail":"half \ud83d of a pair\n::error::x"}"#, "half \u{fffd} of a pair ::error::x"),
            (r#"{"detail":{"a":1,"b":[2]}}"#, r#"{"a":1,"b":[2]}"#),
            ("", ""),
            ("[null]", "[null]"),
        ] {
            assert_eq!(detail(body.as_bytes()), words, "{body}");
        }
    }
}
