//! Delivery of the completion callback, on a time budget of its own.

use std::time::Duration;

use reqwest::Method;
use tokio::sync::Mutex;
use tokio::time::timeout;
use url::Url;

use crate::automation::completion::CompletionReport;
use crate::http::{Http, HttpError};
use crate::retry::{Policy, Retry, Retryable, retry};
use crate::secret::Secret;

/// How a delivery ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// 2xx: the service took the report.
    Accepted,
    /// 409: the run's status was settled already.
    AlreadySettled,
}

/// What is known of a delivery that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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

/// Where a report goes, and for how long that is tried.
#[derive(Debug, Clone, Copy)]
pub struct Callback<'c> {
    /// Makes the requests.
    pub http: &'c Http,
    /// The address.
    pub url: &'c Url,
    /// Its key.
    pub key: Option<&'c Secret>,
    /// All attempts.
    pub budget: Duration,
}

impl Callback<'_> {
    /// Delivers a report: retries 408, 429 (honouring `Retry-After`), 5xx and transport errors until the budget is used up; a
    /// 422 is tried once more with [`CompletionReport::plainest`]. 2xx and 409 end it.
    ///
    /// May be called again with the same report: the service answers 409 to a second completion.
    ///
    /// # Errors
    /// [`CallbackError`].
    pub async fn deliver(self, report: &CompletionReport) -> Result<Delivered, CallbackError> {
        self.deliver_unless_left(report, &Mutex::default()).await
    }

    /// The same for a run that may be left to someone else meanwhile: each attempt holds `progress`, and whoever holds it
    /// between two attempts may do that as long as it is [`Progress::Nothing`].
    ///
    /// # Errors
    /// [`CallbackError`].
    pub async fn deliver_unless_left(
        self,
        report: &CompletionReport,
        progress: &Mutex<Progress>,
    ) -> Result<Delivered, CallbackError> {
        let budget = self.budget;
        let attempts = async {
            match self.post(report, progress).await {
                Err(error) if error.0.status() == Some(422) => {
                    tracing::warn!(error = %error, "the callback's body was refused; trying the plainest one");
                    self.post(&report.plainest(), progress).await
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

    async fn post(self, report: &CompletionReport, progress: &Mutex<Progress>) -> Result<Delivered, AttemptError> {
        retry("delivering the completion callback", Policy::callback(self.http.time_limits(), self.budget), || async {
            let mut progress = progress.lock().await;
            let before = std::mem::replace(&mut *progress, Progress::Unknown);
            let request = self.http.request(Method::POST, self.url.clone());
            let request = request.timeout(self.http.time_limits().callback_attempt).json(report);
            let request = match self.key {
                Some(key) => request.bearer(key),
                None => request,
            };
            let error = match request.send().await.map_err(AttemptError) {
                Ok(_) => return Ok(Delivered::Accepted),
                Err(error) if error.0.status() == Some(409) && !error.is_early() => {
                    return Ok(Delivered::AlreadySettled);
                }
                Err(error) => error,
            };
            // Without an answer of the service itself the report may have been accepted.
            if matches!(error.0, HttpError::Connect { .. } | HttpError::Status { status: 400..=499 | 503, .. }) {
                *progress = before;
            }
            Err(error)
        })
        .await
    }
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
