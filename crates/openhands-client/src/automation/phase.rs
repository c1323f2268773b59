//! Phases: short progress texts for the automation service's dashboard.

use reqwest::Method;
use serde_json::json;
use url::Url;

use crate::http::{Http, HttpError};
use crate::secret::Secret;

/// The longest phase that the service takes, in characters (422 above).
pub const LONGEST: usize = 200;

/// Where phases go, `POST …/v1/runs/{run id}/phase`; the service has it from 1.9.0.
#[derive(Debug, Clone)]
pub struct PhaseEndpoint {
    /// Its address.
    pub url: Url,
    /// The callback's key.
    pub key: Option<Secret>,
}

/// A phase was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum PhaseError {
    /// 409: the run is settled; it was cancelled, or ended by someone else.
    #[error("the automation service has settled the run")]
    Settled(#[source] HttpError),
    /// The endpoint will not take another one either.
    #[error("the automation service accepts no phases")]
    Refused(#[source] HttpError),
    /// Another attempt may succeed.
    #[error("the phase was not delivered")]
    NotDelivered(#[source] HttpError),
}

impl PhaseEndpoint {
    /// Posts one phase of 1 to [`LONGEST`] characters. One attempt; may be repeated.
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
