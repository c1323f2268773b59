//! The client of the automation service, for automations and their runs.

use bytes::Bytes;
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::change::{AutomationUpdate, NewAutomation};
use super::error::AutomationError;
use super::run::{AutomationRun, RunPage};
use super::wire::{Automation, AutomationPage, Tarball, Uploaded};
use crate::http::{self, Http, HttpError, Network, Request, Response};
use crate::ids::{AutomationId, RunId};
use crate::retry::{Policy, retry};
use crate::secret::Secret;
use crate::time_limits::TimeLimits;

/// The largest tarball that the service accepts as an upload, in bytes (`MAX_UPLOAD_SIZE` in its `uploads.py`).
pub const LARGEST_UPLOAD: usize = 1024 * 1024;

/// The automation service of OpenHands Cloud.
const CLOUD_URL: &str = "https://app.all-hands.dev/api/automation";

/// The maximum number of items in a page.
const PAGE: usize = 100;

/// The automation service of an account, used from outside. Cheap to clone.
///
/// Calls that only read are retried. A call that changes something makes one attempt.
#[derive(Debug, Clone)]
pub struct AutomationService {
    http: Http,
    url: Url,
    key: Secret,
}

impl AutomationService {
    /// Creates a client of the service in OpenHands Cloud, with the API key of an account.
    ///
    /// # Errors
    /// [`AutomationError::Setup`].
    ///
    /// # Panics
    /// Never: the URL is valid.
    pub fn cloud(api_key: impl Into<Secret>) -> Result<Self, AutomationError> {
        Self::at(Url::parse(CLOUD_URL).expect("a valid address"), api_key)
    }

    /// Creates a client of the service at this URL, which ends in `/api/automation`. The key of a self-hosted service is its
    /// `AUTOMATION_LOCAL_API_KEY`.
    ///
    /// # Errors
    /// [`AutomationError::Setup`].
    pub fn at(url: Url, key: impl Into<Secret>) -> Result<Self, AutomationError> {
        Ok(Self::with_http(Http::new(&Network::default(), TimeLimits::default())?, url, key.into()))
    }

    /// Creates a client of the service at this URL that uses this HTTP client.
    #[doc(hidden)]
    #[must_use]
    pub fn with_http(http: Http, url: Url, key: Secret) -> Self {
        Self { http, url, key }
    }

    /// Returns the base URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    fn request(&self, method: Method, rest: &[&str]) -> Request {
        let segments: Vec<&str> = ["v1"].iter().chain(rest).copied().collect();
        self.http.request(method, http::join(&self.url, &segments)).bearer(&self.key)
    }

    async fn read<T: DeserializeOwned>(
        &self,
        doing: &'static str,
        rest: &[&str],
        query: &(impl Serialize + ?Sized),
    ) -> Result<T, HttpError> {
        let policy = Policy::cloud(self.http.time_limits());
        let read = || async { self.request(Method::GET, rest).query(&query).send().await?.json() };
        retry(doing, policy, read).await
    }

    /// Uploads a gzipped tarball of at most [`LARGEST_UPLOAD`] bytes, with a name for people.
    ///
    /// # Errors
    /// [`AutomationError`]; [`AutomationError::TooLarge`] before anything is sent.
    pub async fn upload(&self, name: &str, tarball: impl Into<Bytes>) -> Result<Tarball, AutomationError> {
        let tarball = tarball.into();
        if tarball.len() > LARGEST_UPLOAD {
            return Err(AutomationError::TooLarge { size: tarball.len(), limit: LARGEST_UPLOAD });
        }
        let request = self.request(Method::POST, &["uploads"]).query(&[("name", name)]);
        let uploaded = request.bytes("application/gzip", tarball).send().await;
        let uploaded: Uploaded =
            uploaded.and_then(|response| response.json()).map_err(AutomationError::request("uploading the tarball"))?;
        uploaded.tarball_path.ok_or_else(|| {
            AutomationError::NotStored(uploaded.error_message.unwrap_or_else(|| "no reason given".to_owned()))
        })
    }

    /// Deletes an upload. It is not an error if the service no longer has the tarball.
    ///
    /// # Errors
    /// [`AutomationError::Request`].
    pub async fn delete_upload(&self, tarball: &Tarball) -> Result<(), AutomationError> {
        let Some(id) = tarball.upload_id() else { return Ok(()) };
        match self.request(Method::DELETE, &["uploads", id]).send().await {
            Err(error) if error.status() != Some(404) => Err(AutomationError::request("deleting the tarball")(error)),
            _ => Ok(()),
        }
    }

    /// Creates an automation. If the response is lost, the list of automations shows whether the service has created it.
    ///
    /// # Errors
    /// [`AutomationError::Request`]; its source contains the service's message about a field that it rejects.
    pub async fn create(&self, new: &NewAutomation) -> Result<Automation, AutomationError> {
        let sent = self.request(Method::POST, &[]).json(new).send().await;
        match sent.and_then(|response| response.json()) {
            Err(error) if error.is_ambiguous() => match self.list().await {
                Ok(all) => all.into_iter().find(|automation| automation.tarball_path == *new.tarball()).ok_or(error),
                Err(_) => Err(error),
            },
            end => end,
        }
        .map_err(AutomationError::request("creating the automation"))
    }

    /// Lists all automations that the account can see, the newest first.
    ///
    /// # Errors
    /// [`AutomationError::Request`].
    pub async fn list(&self) -> Result<Vec<Automation>, AutomationError> {
        let doing = "listing the automations";
        let mut all: Vec<Automation> = Vec::new();
        loop {
            let query = [("limit", PAGE), ("offset", all.len())];
            let page: AutomationPage = self.read(doing, &[], &query).await.map_err(AutomationError::request(doing))?;
            let is_last = page.automations.len() < PAGE;
            all.extend(page.automations);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// Reads an automation.
    ///
    /// # Errors
    /// [`AutomationError`]; [`AutomationError::NoSuchAutomation`] for an unknown id.
    pub async fn get(&self, id: AutomationId) -> Result<Automation, AutomationError> {
        let doing = "reading the automation";
        self.read(doing, &[&id.to_string()], &()).await.map_err(AutomationError::about(doing, id))
    }

    /// Changes an automation.
    ///
    /// # Errors
    /// The errors of [`AutomationService::create`], and [`AutomationError::NoSuchAutomation`].
    pub async fn update(&self, id: AutomationId, update: &AutomationUpdate) -> Result<Automation, AutomationError> {
        let sent = self.request(Method::PATCH, &[&id.to_string()]).json(update).send().await;
        sent.and_then(|response| response.json()).map_err(AutomationError::about("changing the automation", id))
    }

    /// Deletes an automation. Its tarball is kept ([`AutomationService::delete_upload`]). Pending runs are skipped, and a running
    /// one continues.
    ///
    /// # Errors
    /// [`AutomationError`]; [`AutomationError::NoSuchAutomation`] if it does not exist.
    pub async fn delete(&self, id: AutomationId) -> Result<(), AutomationError> {
        let sent = self.request(Method::DELETE, &[&id.to_string()]).send().await;
        sent.map(drop).map_err(AutomationError::about("deleting the automation", id))
    }

    /// Starts a run now.
    ///
    /// # Errors
    /// [`AutomationError`]; [`AutomationError::NoSuchAutomation`] for an unknown id.
    pub async fn dispatch(&self, id: AutomationId) -> Result<AutomationRun, AutomationError> {
        let sent = self.request(Method::POST, &[&id.to_string(), "dispatch"]).send().await;
        sent.and_then(|response| response.json()).map_err(AutomationError::about("starting a run", id))
    }

    /// Lists the last runs of an automation, at most 100, the newest first.
    ///
    /// # Errors
    /// [`AutomationError`]; [`AutomationError::NoSuchAutomation`] for an unknown id.
    pub async fn runs(&self, id: AutomationId) -> Result<Vec<AutomationRun>, AutomationError> {
        let doing = "listing the runs";
        let page: Result<RunPage, _> = self.read(doing, &[&id.to_string(), "runs"], &[("limit", PAGE)]).await;
        page.map(|page| page.runs).map_err(AutomationError::about(doing, id))
    }

    /// Reads one of the last 100 runs of an automation.
    ///
    /// # Errors
    /// [`AutomationError`]; [`AutomationError::NoSuchRun`] for a run that is not among them.
    pub async fn run(&self, id: AutomationId, run: &RunId) -> Result<AutomationRun, AutomationError> {
        let found = self.runs(id).await?.into_iter().find(|found| found.id == *run);
        found.ok_or_else(|| AutomationError::NoSuchRun { automation: id, run: run.clone() })
    }

    /// Cancels a pending or running run.
    ///
    /// # Errors
    /// [`AutomationError::Request`]; 404 for an unknown run, 409 for a run that is over.
    pub async fn cancel(&self, run: &RunId) -> Result<(), AutomationError> {
        let sent: Result<Response, _> = self.request(Method::POST, &["runs", run.as_str(), "cancel"]).send().await;
        sent.map(drop).map_err(AutomationError::request("cancelling the run"))
    }
}
