//! Delivery of the completion callback, with its own time budget.
//!
//! Between the runner and the automation service there may be proxies, an ingress that is being replaced, and login pages. Their
//! responses are not final; those of the service are.

use std::fmt;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::timeout;
use url::Url;

use crate::automation::completion::CompletionReport;
use crate::http::{Http, HttpError, ResponseHead, without_secrets};
use crate::retry::{Policy, Retry, Retryable, retry};
use crate::secret::Secret;
use crate::text;

/// How a delivery succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// 2xx: the service accepted the report.
    Accepted,
    /// 409: the run already had a final status.
    AlreadySettled,
}

/// The known result of a delivery in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Progress {
    /// The service has not accepted the report.
    #[default]
    Nothing,
    /// The service has accepted the report, or may have.
    Unknown,
}

/// The callback could not be delivered.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum CallbackError {
    /// The service rejected the report. A retry would get the same response.
    #[error("the completion callback was refused")]
    Refused(#[source] AttemptError),
    /// All attempts failed until the budget was used up.
    #[error("the completion callback was not accepted within {} s", budget.as_secs())]
    BudgetUsedUp {
        /// The budget.
        budget: Duration,
        /// The error of the last attempt, if an attempt has completed.
        source: Option<AttemptError>,
    },
}

/// One attempt to deliver the callback failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttemptError {
    /// The request failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A redirect that is not followed, because the key must not be sent to its target.
    #[error("{url}: {status}, a redirect to {location}, which does not get the key")]
    Redirect {
        /// The URL of the callback.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The target, without secrets.
        location: String,
    },
    /// An HTML page instead of the service's response: a login page, or the error page of a proxy.
    #[error("{url}: {status} with an HTML page: this is not the automation service's response")]
    Page {
        /// The URL of the callback.
        url: String,
        /// The HTTP status.
        status: u16,
    },
}

impl fmt::Debug for CallbackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::chain(self))
    }
}

/// Where a report is sent, and how long the delivery is retried.
#[derive(Debug, Clone, Copy)]
pub struct Callback<'c> {
    /// The HTTP client.
    pub http: &'c Http,
    /// The URL of the callback.
    pub url: &'c Url,
    /// The bearer token.
    pub key: Option<&'c Secret>,
    /// The time budget of all attempts.
    pub budget: Duration,
}

/// The longest chain of redirects. A longer one counts as a loop.
const MOST_REDIRECTS: usize = 5;

impl Callback<'_> {
    /// Delivers a report, with retries until the budget is used up. Both 2xx and 409 end the delivery successfully.
    ///
    /// - A 2xx counts as soon as the response head has arrived, unless the body is an HTML page.
    /// - 307 and 308 to the same host are followed. The key is never sent to another host: such a redirect is an error that
    ///   names the host.
    /// - A 4xx is final if its body is an error of the service, a JSON object with `detail`. Before that, a 413 or a 422 is
    ///   retried once with [`CompletionReport::plainest`].
    /// - Everything else is retried. `Retry-After` is obeyed.
    ///
    /// Can be called again with the same report: the service responds with 409 to a second completion.
    ///
    /// # Errors
    /// [`CallbackError`].
    pub async fn deliver(self, report: &CompletionReport) -> Result<Delivered, CallbackError> {
        self.deliver_unless_left(report, &Mutex::default()).await
    }

    /// Delivers a report of a run that may be handed over in the meantime: each attempt holds `progress`. Between two attempts,
    /// another holder of `progress` may take over the run, as long as it is [`Progress::Nothing`].
    ///
    /// # Errors
    /// [`CallbackError`].
    pub async fn deliver_unless_left(
        self,
        report: &CompletionReport,
        progress: &Mutex<Progress>,
    ) -> Result<Delivered, CallbackError> {
        let budget = self.budget;
        let policy = Policy::callback(self.http.time_limits(), budget);
        let attempts = retry("delivering the completion callback", policy, || async {
            let mut progress = progress.lock().await;
            let before = std::mem::replace(&mut *progress, Progress::Unknown);
            let end = self.attempt(report).await;
            if end.as_ref().is_err_and(|error| !error.may_be_accepted()) {
                *progress = before;
            }
            end
        });
        match timeout(budget, attempts).await {
            Ok(Ok(delivered)) => Ok(delivered),
            Ok(Err(error)) if error.retry() == Retry::No => Err(CallbackError::Refused(error)),
            Ok(Err(error)) => Err(CallbackError::BudgetUsedUp { budget, source: Some(error) }),
            Err(_) => Err(CallbackError::BudgetUsedUp { budget, source: None }),
        }
    }

    /// Makes one attempt with the report, and if its body is rejected, with the plainest one.
    ///
    /// # Errors
    /// [`AttemptError`], which says whether a retry may help.
    pub async fn attempt(self, report: &CompletionReport) -> Result<Delivered, AttemptError> {
        match self.post(report).await {
            Err(AttemptError::Http(error)) if matches!(error.status(), Some(413 | 422)) => {
                tracing::warn!(%error, "the callback's body was refused; sending the plainest one");
                self.post(&report.plainest()).await
            }
            end => end,
        }
    }

    async fn post(self, report: &CompletionReport) -> Result<Delivered, AttemptError> {
        let mut url = self.url.clone();
        for _ in 0..MOST_REDIRECTS {
            let request = self.http.request(Method::POST, url.clone());
            let request = request.timeout(self.http.time_limits().callback_attempt).json(report);
            let request = match self.key {
                Some(key) => request.bearer(key),
                None => request,
            };
            match judge(request.send_for_head().await?, &url).await? {
                Judgement::Delivered(delivered) => return Ok(delivered),
                Judgement::Follow(target) => url = target,
            }
        }
        Err(AttemptError::Redirect { url: without_secrets(self.url), status: 308, location: without_secrets(&url) })
    }
}

/// The meaning of a response that is not an error.
pub(super) enum Judgement {
    Delivered(Delivered),
    Follow(Url),
}

/// Returns the meaning of a response to the callback, from its head alone if that is enough.
pub(super) async fn judge(head: ResponseHead, url: &Url) -> Result<Judgement, AttemptError> {
    let status = head.status();
    let shown = || without_secrets(url);
    if status.is_success() {
        return if is_page(&head) {
            Err(AttemptError::Page { url: shown(), status: status.as_u16() })
        } else {
            Ok(Judgement::Delivered(Delivered::Accepted))
        };
    }
    if status.is_redirection()
        && let Some(location) = head.header(LOCATION)
    {
        let target = url.join(location).ok();
        return match target {
            Some(target) if keeps_the_request(status) && is_same_service(url, &target) => Ok(Judgement::Follow(target)),
            target => Err(AttemptError::Redirect {
                url: shown(),
                status: status.as_u16(),
                location: target.as_ref().map_or_else(|| "an address that cannot be read".to_owned(), without_secrets),
            }),
        };
    }
    if status == StatusCode::CONFLICT && is_page(&head) {
        return Err(AttemptError::Page { url: shown(), status: status.as_u16() });
    }
    let error = AttemptError::Http(head.into_error().await);
    if status == StatusCode::CONFLICT && !error.is_early() {
        return Ok(Judgement::Delivered(Delivered::AlreadySettled));
    }
    Err(error)
}

/// Returns whether the response is an HTML page: the automation service sends JSON.
fn is_page(head: &ResponseHead) -> bool {
    let kind = head.header(CONTENT_TYPE).unwrap_or_default().trim_start().to_ascii_lowercase();
    ["text/html", "application/xhtml+xml"].iter().any(|page| kind.starts_with(page))
}

/// Returns whether the same method and body are sent after this redirect (RFC 9110, 15.4).
fn keeps_the_request(status: StatusCode) -> bool {
    matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT)
}

/// Returns whether a redirect leads to the server that the key belongs to: to the same host and port, or to the same host over
/// https, whose certificate proves the host.
fn is_same_service(from: &Url, to: &Url) -> bool {
    let is_same_port = from.scheme() == to.scheme() && from.port_or_known_default() == to.port_or_known_default();
    from.host() == to.host() && (is_same_port || (from.scheme() == "http" && to.scheme() == "https"))
}

impl AttemptError {
    /// Returns whether the run ended before the service recorded its start, which happens to very short runs: `Run is PENDING,
    /// expected RUNNING` (`openhands-automation` 1.25.0).
    fn is_early(&self) -> bool {
        matches!(self, Self::Http(HttpError::Status { status: 409, detail, .. }) if detail.contains("PENDING"))
    }

    /// Returns whether the service may have accepted the report anyway: it was sent, and the result is unknown.
    #[must_use]
    pub fn may_be_accepted(&self) -> bool {
        match self {
            Self::Http(HttpError::Status { status, .. }) => !matches!(status, 300..=499 | 503),
            Self::Http(HttpError::Connect { .. } | HttpError::Invalid { .. })
            | Self::Redirect { .. }
            | Self::Page { .. } => false,
            Self::Http(_) => true,
        }
    }
}

impl Retryable for AttemptError {
    fn retry(&self) -> Retry {
        match self {
            _ if self.is_early() => Retry::Soon,
            Self::Http(HttpError::Status { status: 408 | 425 | 429, retry_after, .. }) => {
                retry_after.map_or(Retry::Soon, Retry::After)
            }
            Self::Http(HttpError::Status { status: 400..=499, body, .. }) if is_error_of_service(body) => Retry::No,
            Self::Http(HttpError::Status { retry_after, .. }) => retry_after.map_or(Retry::Soon, Retry::After),
            Self::Http(error) => error.retry(),
            // These redirects mean that the whole service has moved; the others come from a server in front of it.
            Self::Redirect { status: 307 | 308, .. } => Retry::No,
            Self::Redirect { .. } | Self::Page { .. } => Retry::Soon,
        }
    }
}

/// Returns whether the body is an error of the service: a JSON object with `detail` (`openhands-automation` 1.25.0).
fn is_error_of_service(body: &[u8]) -> bool {
    matches!(serde_json::from_slice(body), Ok(Value::Object(fields)) if fields.contains_key("detail"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_goes_to_the_same_service_only() {
        for (from, to, is_same) in [
            ("http://host/a", "http://host/b", true),
            ("http://host/a", "http://host:80/b", true),
            ("http://host/a", "https://host/a", true),
            ("http://host:8080/a", "https://host:8443/a", true),
            ("https://host/a", "http://host/a", false),
            ("https://host/a", "https://host:8443/a", false),
            ("http://host:1/a", "http://host:2/a", false),
            ("http://host/a", "https://host.example/a", false),
        ] {
            let url = |text: &str| Url::parse(text).unwrap();
            assert_eq!(is_same_service(&url(from), &url(to)), is_same, "{from} -> {to}");
        }
    }

    fn status(status: u16, body: &str) -> AttemptError {
        AttemptError::Http(HttpError::Status {
            target: "POST http://host/".to_owned(),
            status,
            detail: body.to_owned(),
            retry_after: None,
            body: body.into(),
        })
    }

    #[test]
    fn only_the_service_itself_refuses_for_good() {
        for code in [400, 401, 403, 404, 413, 421, 422, 423] {
            assert_eq!(status(code, r#"{"detail":"no"}"#).retry(), Retry::No, "{code}");
            for body in
                ["", "404 page not found", "<html></html>", r#"{"message":"no Route matched"}"#, r#"["detail"]"#]
            {
                assert_eq!(status(code, body).retry(), Retry::Soon, "{code} {body}");
            }
        }
        for code in [301, 304, 408, 425, 429, 500, 502, 503, 504] {
            assert_eq!(status(code, r#"{"detail":"no"}"#).retry(), Retry::Soon, "{code}");
        }
        assert_eq!(status(409, r#"{"detail":"Run is PENDING, expected RUNNING"}"#).retry(), Retry::Soon);
    }

    #[test]
    fn a_report_may_be_accepted_where_no_one_says_what_became_of_it() {
        for (code, may_be_accepted) in [(302, false), (404, false), (500, true), (502, true), (503, false), (504, true)]
        {
            assert_eq!(status(code, "").may_be_accepted(), may_be_accepted, "{code}");
        }
        let target = || "POST http://host/".to_owned();
        assert!(AttemptError::Http(HttpError::Timeout { target: target() }).may_be_accepted());
        let no_connection = HttpError::Connect { target: target(), reason: String::new() };
        assert!(!AttemptError::Http(no_connection).may_be_accepted());
    }
}
