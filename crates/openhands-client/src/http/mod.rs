//! The HTTP client: TLS roots, proxies, time limits, size limits, errors without secrets.
//!
//! This module knows no endpoints. Redirects are never followed, because every request carries a key. A response is untrusted
//! data: it is read up to a limit, and its form is never taken for granted.

mod error;
pub mod json;
mod network;
mod proxy;
mod resolve;
mod transfer;
pub(crate) mod tunnel;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use self::proxy::Proxies;
use crate::secret::Secret;
use crate::time_limits::TimeLimits;

pub use error::HttpError;
pub use network::{Network, SetupError};
pub use proxy::ProxyError;
pub use reqwest::Method;
pub use transfer::{Download, Upload};

/// The header with the session key of a sandbox.
pub const SESSION_KEY_HEADER: HeaderName = HeaderName::from_static("x-session-api-key");

/// The user agent of all requests.
pub const USER_AGENT: &str = concat!("openhands-runner/", env!("CARGO_PKG_VERSION"));

/// The longest response that is read, in bytes. The largest requested object is a page of 100 events.
const LONGEST_RESPONSE: usize = 64 * 1024 * 1024;

/// The maximum number of bytes that are read from the body of an error.
const LONGEST_ERROR: usize = 1024 * 1024;

/// The time limit for reading the body of an error.
const ERROR_BODY: Duration = Duration::from_secs(5);

/// Counters of the bytes of files.
#[derive(Debug, Default)]
struct Transfers {
    /// Bytes sent and received so far.
    moved: AtomicU64,
    /// The total size of the files, without those of unknown size.
    announced: AtomicU64,
}

/// An HTTP client. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Http {
    client: reqwest::Client,
    tls: Arc<rustls::ClientConfig>,
    network: Network,
    time_limits: Arc<TimeLimits>,
    proxies: Arc<Proxies>,
    transfers: Arc<Transfers>,
}

impl Http {
    /// Creates a client with these network settings and these time limits.
    ///
    /// # Errors
    /// [`SetupError`] if the extra certificates cannot be read or a library rejects its configuration.
    pub fn new(network: &Network, time_limits: TimeLimits) -> Result<Self, SetupError> {
        let tls = network::tls_config(network)?;
        #[expect(clippy::disallowed_methods, reason = "this module is the one home of HTTP clients")]
        let mut client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(resolve::SystemResolver))
            .connect_timeout(time_limits.connect)
            .pool_idle_timeout(time_limits.idle_connection)
            .no_proxy();
        let proxies = Proxies::new(network).map_err(|mut errors| SetupError::Proxy(errors.swap_remove(0)))?;
        let proxies = Arc::new(proxies);
        if [&network.http_proxy, &network.https_proxy, &network.all_proxy].into_iter().any(Option::is_some) {
            let chosen = Arc::clone(&proxies);
            client = client.proxy(reqwest::Proxy::custom(move |url| chosen.of(url).cloned()));
        }
        let client = client.build().map_err(|error| SetupError::Client(error.into()))?;
        Ok(Self {
            client,
            tls: Arc::new(tls),
            network: network.clone(),
            proxies,
            time_limits: Arc::new(time_limits),
            transfers: Arc::default(),
        })
    }

    /// Returns the same client with new connections, because connections belong to the runtime that created them.
    ///
    /// # Errors
    /// [`SetupError`], as for [`Http::new`].
    pub fn with_fresh_connections(&self) -> Result<Self, SetupError> {
        Self::new(&self.network, *self.time_limits)
    }

    /// Creates a client from the valid part of these settings, and returns the first error of the invalid part.
    ///
    /// # Panics
    /// If a library rejects its own default configuration.
    #[must_use]
    pub fn lenient(network: &Network, time_limits: TimeLimits) -> (Self, Option<SetupError>) {
        let complaint = match Self::new(network, time_limits) {
            Ok(http) => return (http, None),
            Err(complaint) => Some(complaint),
        };
        let without_file = Network { ca_file: None, ..network.clone() };
        let without_proxies = Network { http_proxy: None, https_proxy: None, all_proxy: None, ..network.clone() };
        let http = Self::new(&without_file, time_limits)
            .or_else(|_| Self::new(&without_proxies, time_limits))
            .or_else(|_| Self::new(&Network::default(), time_limits));
        (http.expect("the defaults are sound"), complaint)
    }

    /// Returns the time limits of this client.
    #[must_use]
    pub fn time_limits(&self) -> &TimeLimits {
        &self.time_limits
    }

    /// Returns how many bytes of files this client and its clones have sent and received so far.
    #[must_use]
    pub fn transferred(&self) -> u64 {
        self.transfers.moved.load(Ordering::Relaxed)
    }

    /// Returns the sum of the sizes of these files in bytes, as far as they are known.
    #[must_use]
    pub fn announced(&self) -> u64 {
        self.transfers.announced.load(Ordering::Relaxed)
    }

    /// Returns the TLS configuration, for connections that are not HTTP requests.
    #[must_use]
    pub fn tls(&self) -> Arc<rustls::ClientConfig> {
        Arc::clone(&self.tls)
    }

    /// Returns the proxy for this URL, for connections that are not HTTP requests.
    #[must_use]
    pub fn proxy_of(&self, url: &Url) -> Option<Url> {
        self.proxies.of(url).cloned()
    }

    /// Starts a request. The methods of [`Request`] complete it.
    pub fn request(&self, method: Method, url: Url) -> Request {
        let way = self.proxies.shown(&url).map(|proxy| format!(" (through the proxy {proxy})")).unwrap_or_default();
        let target = format!("{method} {}{way}", without_secrets(&url));
        let builder = self.client.request(method, url).timeout(self.time_limits.request);
        Request { builder, target, time_limits: Arc::clone(&self.time_limits), transfers: Arc::clone(&self.transfers) }
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

/// Returns a URL without its user part and its query, for output.
#[must_use]
pub fn without_secrets(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

/// Appends path segments to the base URL, each percent-encoded.
#[must_use]
pub fn join(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

/// A request that has not been sent yet.
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    builder: reqwest::RequestBuilder,
    target: String,
    time_limits: Arc<TimeLimits>,
    transfers: Arc<Transfers>,
}

impl Request {
    /// Adds a bearer token.
    pub fn bearer(self, token: &Secret) -> Self {
        let value = format!("Bearer {}", token.expose());
        self.secret_header(AUTHORIZATION, &value)
    }

    /// Adds a sandbox's session key.
    pub fn session_key(self, key: &Secret) -> Self {
        self.secret_header(SESSION_KEY_HEADER, key.expose())
    }

    /// Adds a header that is not a secret. A value that is not valid in a header is left out.
    pub fn header(self, name: &'static str, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(value) => Self { builder: self.builder.header(name, value), ..self },
            Err(_) => self,
        }
    }

    /// Adds the key for an API that has its own header for it.
    pub fn api_key(self, key: &Secret) -> Self {
        self.secret_header(HeaderName::from_static("x-api-key"), key.expose())
    }

    fn secret_header(self, name: HeaderName, value: &str) -> Self {
        let builder = match HeaderValue::from_str(value) {
            Ok(mut value) => {
                value.set_sensitive(true);
                self.builder.header(name, value)
            }
            // The builder stores the error and returns it when the request is sent.
            Err(_) => self.builder.header(name, "\n"),
        };
        Self { builder, ..self }
    }

    /// Adds query parameters.
    pub fn query(self, query: &impl Serialize) -> Self {
        Self { builder: self.builder.query(query), ..self }
    }

    /// Adds a JSON body.
    pub fn json(self, body: &impl Serialize) -> Self {
        Self { builder: self.builder.json(body), ..self }
    }

    /// Adds a body of bytes with this media type.
    pub fn bytes(self, media_type: &'static str, content: impl Into<Bytes>) -> Self {
        Self { builder: self.builder.header(CONTENT_TYPE, media_type).body(content.into()), ..self }
    }

    /// Sets the time limit of the whole request (default: [`TimeLimits::request`]).
    pub fn timeout(self, limit: Duration) -> Self {
        Self { builder: self.builder.timeout(limit), ..self }
    }

    /// Sends the request and reads the whole response.
    ///
    /// # Errors
    /// [`HttpError`], also for a response with a status other than 2xx ([`HttpError::Status`]).
    pub async fn send(self) -> Result<Response, HttpError> {
        Response::read(self.send_for_head().await?).await
    }

    /// Sends the request and waits for the head of the response. The body is read later.
    ///
    /// # Errors
    /// [`HttpError`]. This function does not check the status.
    pub(crate) async fn send_for_head(self) -> Result<ResponseHead, HttpError> {
        let Self { builder, target, .. } = self;
        match builder.send().await {
            Ok(response) => Ok(ResponseHead { response, target }),
            Err(error) => Err(HttpError::from_transport(target, error)),
        }
    }
}

/// A response whose body has not been read yet.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    response: reqwest::Response,
    target: String,
}

impl ResponseHead {
    /// Creates a response for a test or a fuzzer.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of(response: reqwest::Response, url: &Url) -> Self {
        Self { response, target: without_secrets(url) }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Returns the text of a header. `None` if it is missing or not a text.
    pub(crate) fn header(&self, name: HeaderName) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// Returns the error for a status other than 2xx. The status is decisive: a body that is too long, breaks off or never
    /// arrives does not change it.
    pub(crate) async fn into_error(mut self) -> HttpError {
        let (status, retry_after) = (self.status().as_u16(), retry_after(self.response.headers(), Timestamp::now()));
        let mut body = Vec::new();
        let reading = async {
            while body.len() < LONGEST_ERROR
                && let Ok(Some(chunk)) = self.response.chunk().await
            {
                body.extend_from_slice(&chunk[..chunk.len().min(LONGEST_ERROR - body.len())]);
            }
        };
        // The part that has arrived by then is enough.
        let _ = tokio::time::timeout(ERROR_BODY, reading).await;
        HttpError::Status { target: self.target, status, detail: error::detail(&body), retry_after, body }
    }
}

/// A complete 2xx response.
#[derive(Debug)]
pub struct Response {
    status: StatusCode,
    body: Vec<u8>,
    target: String,
}

impl Response {
    async fn read(head: ResponseHead) -> Result<Self, HttpError> {
        let status = head.status();
        if !status.is_success() {
            return Err(head.into_error().await);
        }
        let ResponseHead { mut response, target } = head;
        let transport = |error: reqwest::Error| HttpError::from_transport(target.clone(), error);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > LONGEST_RESPONSE {
                return Err(HttpError::TooLarge { target });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Self { status, body, target })
    }

    /// Returns the status, for calls that depend on it.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// Returns the error for a server that reports in the body of a 200 what others report with 404.
    pub(crate) fn into_not_found(self, detail: &str) -> HttpError {
        let Self { body, target, .. } = self;
        let status = StatusCode::NOT_FOUND.as_u16();
        HttpError::Status { target, status, detail: detail.to_owned(), retry_after: None, body }
    }

    /// Returns the body as text, with invalid UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Parses the body as JSON.
    ///
    /// # Errors
    /// [`HttpError::Unexpected`] if it is not JSON of this type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, HttpError> {
        let whole = serde_json::from_slice(&self.body).or_else(|source| {
            let text = String::from_utf8_lossy(&self.body);
            match json::without_lone_surrogates(&text) {
                Cow::Owned(readable) => serde_json::from_str(&readable),
                Cow::Borrowed(_) => Err(source),
            }
        });
        whole.map_err(|source| {
            let target = self.target.clone();
            if is_page(&self.body) { HttpError::Page { target } } else { HttpError::Unexpected { target, source } }
        })
    }
}

/// Returns whether a body is an HTML page.
fn is_page(body: &[u8]) -> bool {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    let starts =
        |start: &str| body.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start.as_bytes()));
    ["<!doctype", "<html", "<head", "<body", "<!--", "<?xml"].into_iter().any(starts)
}

/// Reads `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3). A date in the past means: at once.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_has_no_user_part_and_no_query() {
        let url = Url::parse("https://user:pass@host:8443/a/b?key=1").unwrap();
        assert_eq!(without_secrets(&url), "https://host:8443/a/b");
    }

    #[test]
    fn joined_segments_are_encoded_and_keep_the_base_path() {
        let base = Url::parse("http://localhost:60000/runtime/").unwrap();
        assert_eq!(join(&base, &["api", "a/b c"]).as_str(), "http://localhost:60000/runtime/api/a%2Fb%20c");
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now: Timestamp = "2026-11-06T08:49:37Z".parse().unwrap();
        for (value, expected) in [
            ("120", Some(120)),
            ("Fri, 06 Nov 2026 08:50:07 GMT", Some(30)),
            ("Fri, 06 Nov 2026 08:00:00 GMT", Some(0)),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(value).unwrap())]);
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{value}");
        }
    }

    #[tokio::test]
    async fn a_key_that_is_no_header_value_is_an_error_and_not_sent() {
        let http = Http::new(&Network::default(), TimeLimits::default()).unwrap();
        let url = Url::parse("http://127.0.0.1:9/").unwrap();
        let error = http.request(Method::GET, url).bearer(&Secret::new("a\nb")).send().await.unwrap_err();
        assert!(matches!(error, HttpError::Invalid { .. }), "{error:?}");
        assert!(!format!("{error:?}").contains("a\\nb"));
    }
}
