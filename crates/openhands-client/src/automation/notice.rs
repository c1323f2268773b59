//! Notices of a run's outcome to a URL of the user, for example a webhook of a chat.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tokio::time::timeout;
use url::Url;

use crate::http::{Http, HttpError};
use crate::retry::{Policy, Retry, Retryable as _, retry};

/// A notice could not be delivered.
#[derive(Debug, thiserror::Error)]
pub enum NoticeError {
    /// The receiver rejected the notice. A retry would get the same response.
    #[error("the notice was refused")]
    Refused(#[source] HttpError),
    /// All attempts failed until the budget was used up.
    #[error("the notice was not accepted within {} s", budget.as_secs())]
    BudgetUsedUp {
        /// The budget.
        budget: Duration,
        /// The error of the last attempt, if an attempt has completed.
        source: Option<HttpError>,
    },
}

/// Posts a notice as JSON, with retries until the budget is used up. `Retry-After` is obeyed, and redirects are not followed. The
/// receiver may get a notice twice, because it cannot report that it already has it.
///
/// # Errors
/// [`NoticeError`].
pub async fn deliver(http: &Http, url: &Url, body: &Value, budget: Duration) -> Result<(), NoticeError> {
    let policy = Policy::callback(http.time_limits(), budget);
    let attempts = retry("delivering the notice", policy, || async {
        let request = http.request(Method::POST, url.clone()).timeout(http.time_limits().callback_attempt);
        request.json(body).send().await.map(drop)
    });
    match timeout(budget, attempts).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) if error.retry() == Retry::No => Err(NoticeError::Refused(error)),
        Ok(Err(error)) => Err(NoticeError::BudgetUsedUp { budget, source: Some(error) }),
        Err(_) => Err(NoticeError::BudgetUsedUp { budget, source: None }),
    }
}
