//! Phases: short progress texts for the automation service's dashboard.

use reqwest::Method;
use serde_json::json;
use url::Url;

use crate::http::{Http, HttpError};
use crate::secret::Secret;

/// The longest phase that the service accepts, in characters (422 for longer ones).
pub const LONGEST: usize = 200;

/// The endpoint for phases, `POST …/v1/runs/{run id}/phase`; the service has it from 1.9.0.
#[derive(Debug, Clone)]
pub struct PhaseEndpoint {
    /// The URL.
    pub url: Url,
    /// The key of the callback.
    pub key: Option<Secret>,
}

/// A phase was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum PhaseError {
    /// 409: the run has a final status; it was cancelled, or someone else ended it.
    #[error("the automation service has settled the run")]
    Settled(#[source] HttpError),
    /// The endpoint will reject other phases too.
    #[error("the automation service accepts no phases")]
    Refused(#[source] HttpError),
    /// A retry may succeed.
    #[error("the phase was not delivered")]
    NotDelivered(#[source] HttpError),
}

impl PhaseEndpoint {
    /// Posts one phase of 1 to [`LONGEST`] characters. Makes one attempt; may be repeated.
    ///
    /// # Errors
    /// [`PhaseError`].
    pub async fn post(&self, http: &Http, phase: &str) -> Result<(), PhaseError> {
        let request = http.request(Method::POST, self.url.clone()).timeout(http.time_limits().phase_attempt);
        let request = request.json(&json!({ "phase": phase }));
        let request = if let Some(key) = &self.key { request.bearer(key) } else { request };
        request.send().await.map(drop).map_err(|error| match error.status() {
            Some(409) => PhaseError::Settled(error),
            Some(401 | 403 | 404 | 405) => PhaseError::Refused(error),
            _ => PhaseError::NotDelivered(error),
        })
    }
}
