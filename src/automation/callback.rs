//! Delivery of the completion callback, on a time budget of its own.

use std::time::Duration;

use reqwest::Method;
use tokio::sync::Mutex;
use tokio::time::timeout;
use url::Url;

use crate::http::{Http, HttpError};
use crate::outcome::Report;
use crate::retry::{Policy, Retry, Retryable, retry};
use crate::secret::Secret;
use crate::timing;

/// How a delivery ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// 2xx: the service took the report.
    Accepted,
    /// 409: the run's status was settled already.
    AlreadySettled,
}

/// What is known of a delivery that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Progress {
    /// The service has accepted nothing.
    #[default]
    Nothing,
    /// It has, or may have.
    Unknown,
}

/// The callback could not be delivered.
#[derive(Debug, thiserror::Error)]
pub enum CallbackError {
    /// The service refuses the report; another attempt would get the same answer.
    #[error("the completion callback was refused")]
    Refused(#[source] HttpError),
    /// All attempts failed until the budget was used up.
    #[error("the completion callback was not taken within {} s", budget.as_secs())]
    BudgetUsedUp {
        /// The budget.
        budget: Duration,
        /// The last attempt's error, if one ended.
        source: Option<HttpError>,
    },
}

/// Delivers a report: retries 408, 429 (honouring `Retry-After`), 5xx and transport errors until `budget` is used up; a
/// 422 is tried once more with [`Report::plainest`]. 2xx and 409 end it.
///
/// May be called again with the same report: the service answers 409 to a second completion.
///
/// # Errors
/// [`CallbackError`].
pub async fn deliver(
    http: &Http,
    url: &Url,
    key: Option<&Secret>,
    report: &Report,
    budget: Duration,
) -> Result<Delivered, CallbackError> {
    deliver_unless_left(http, url, key, report, budget, &Mutex::default()).await
}

/// The same for a run that may be left to somebody else meanwhile: each attempt holds `progress`, and whoever holds it
/// between two attempts may do that as long as [`Progress::Nothing`] has come of them.
///
/// # Errors
/// [`CallbackError`].
pub async fn deliver_unless_left(
    http: &Http,
    url: &Url,
    key: Option<&Secret>,
    report: &Report,
    budget: Duration,
    progress: &Mutex<Progress>,
) -> Result<Delivered, CallbackError> {
    let attempts = async {
        match post(http, url, key, report, budget, progress).await {
            Err(error) if error.0.status() == Some(422) => {
                tracing::warn!(error = %error, "the callback's body was refused; trying the plainest one");
                post(http, url, key, &report.plainest(), budget, progress).await
            }
            other => other,
        }
    };
    match timeout(budget, attempts).await {
        Ok(Ok(delivered)) => Ok(delivered),
        Ok(Err(error)) if error.retry() == Retry::No => Err(CallbackError::Refused(error.0)),
        Ok(Err(error)) => Err(CallbackError::BudgetUsedUp { budget, source: Some(error.0) }),
        Err(_) => Err(CallbackError::BudgetUsedUp { budget, source: None }),
    }
}

async fn post(
    http: &Http,
    url: &Url,
    key: Option<&Secret>,
    report: &Report,
    budget: Duration,
    progress: &Mutex<Progress>,
) -> Result<Delivered, AttemptError> {
    retry("delivering the completion callback", Policy::callback(budget), || async {
        let mut progress = progress.lock().await;
        let mut request = http.request(Method::POST, url.clone()).timeout(timing::CALLBACK_ATTEMPT).json(report);
        if let Some(key) = key {
            request = request.bearer(key);
        }
        let before = std::mem::replace(&mut *progress, Progress::Unknown);
        let delivered = match request.send().await.map_err(AttemptError) {
            Ok(_) => Ok(Delivered::Accepted),
            Err(error) if error.0.status() == Some(409) && !error.is_early() => Ok(Delivered::AlreadySettled),
            Err(error) => Err(error),
        };
        // An attempt without an answer may have been accepted.
        if delivered
            .as_ref()
            .is_err_and(|error| error.0.status().is_some() || matches!(error.0, HttpError::Connect { .. }))
        {
            *progress = before;
        }
        delivered
    })
    .await
}

/// An attempt that failed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct AttemptError(HttpError);

impl AttemptError {
    /// A run that ends at once can be faster than the service's own note that it has started: `Run is PENDING, expected
    /// RUNNING` (`openhands-automation` 1.25.0).
    fn is_early(&self) -> bool {
        matches!(&self.0, HttpError::Status { status: 409, detail, .. } if detail.contains("PENDING"))
    }
}

impl Retryable for AttemptError {
    fn retry(&self) -> Retry {
        if self.is_early() { Retry::Soon } else { self.0.retry() }
    }
}
