//! The one HTTP client: TLS roots, proxies, time limits, bounded answers, errors without secrets.
//!
//! Knows no endpoint. Redirects are never followed, because every request carries a key. An answer is data: it is
//! read up to a limit and never trusted to be well formed.

mod transfer;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use crate::config::settings::Network;
use crate::display;
use crate::retry::{Retry, Retryable};
use crate::secret::Secret;
use crate::timing;

pub use transfer::{Download, Upload};

/// The header that carries a sandbox's session key.
pub const SESSION_KEY_HEADER: HeaderName = HeaderName::from_static("x-session-api-key");

/// What we call ourselves.
pub const USER_AGENT: &str = concat!("openhands-runner/", env!("CARGO_PKG_VERSION"));

/// The longest answer that is read, in bytes. A page of 100 events is the largest thing that we ask for.
const LONGEST_ANSWER: usize = 64 * 1024 * 1024;
/// The longest error text that is kept, in characters.
const LONGEST_DETAIL: usize = 600;

/// The client could not be made from the network settings.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// `SSL_CERT_FILE` cannot be used.
    #[error("failed to read the certificates in {path}")]
    Certificates {
        /// The file.
        path: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The HTTP client refused its configuration.
    #[error("failed to set up the HTTP client")]
    Client(#[source] reqwest::Error),
    /// The TLS library refused its configuration.
    #[error("failed to set up TLS")]
    Tls(#[source] rustls::Error),
}

/// Makes requests. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Http {
    client: reqwest::Client,
    tls: Arc<rustls::ClientConfig>,
    network: Network,
}

impl Http {
    /// A client for these network settings.
    ///
    /// # Errors
    /// [`SetupError`] when the extra certificates cannot be read or a library refuses its configuration.
    pub fn new(network: &Network) -> Result<Self, SetupError> {
        let tls = tls_config(network)?;
        #[expect(clippy::disallowed_methods, reason = "this module is the one home of HTTP clients")]
        let mut client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(timing::CONNECT)
            .pool_idle_timeout(timing::IDLE_CONNECTION)
            .no_proxy();
        for proxy in proxies(network).map_err(SetupError::Client)? {
            client = client.proxy(proxy);
        }
        let client = client.build().map_err(SetupError::Client)?;
        Ok(Self { client, tls: Arc::new(tls), network: network.clone() })
    }

    /// The same without its connections, which belong to the runtime in which they were made.
    ///
    /// # Errors
    /// [`SetupError`], as in [`Http::new`].
    pub fn anew(&self) -> Result<Self, SetupError> {
        Self::new(&self.network)
    }

    /// A client for what can be used of these settings, and the first complaint about what cannot.
    ///
    /// # Panics
    /// When a library refuses its defaults, which read nothing that could be wrong.
    #[must_use]
    pub fn lenient(network: &Network) -> (Self, Option<SetupError>) {
        let complaint = match Self::new(network) {
            Ok(http) => return (http, None),
            Err(complaint) => Some(complaint),
        };
        let without_file = Network { ca_file: None, ..network.clone() };
        let http = Self::new(&without_file).or_else(|_| Self::new(&Network::default()));
        (http.expect("the defaults are sound"), complaint)
    }

    /// The TLS configuration, for connections that are not HTTP requests.
    #[must_use]
    pub fn tls(&self) -> Arc<rustls::ClientConfig> {
        Arc::clone(&self.tls)
    }

    /// A request to be completed with the methods of [`Request`].
    pub fn request(&self, method: Method, url: Url) -> Request {
        let target = format!("{method} {}", without_secrets(&url));
        Request { builder: self.client.request(method, url).timeout(timing::REQUEST), target }
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

fn tls_config(network: &Network) -> Result<rustls::ClientConfig, SetupError> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = &network.ca_file {
        let unusable = |source: Box<dyn Error + Send + Sync>| SetupError::Certificates {
            path: path.display().to_string(),
            source,
        };
        let pem = std::fs::read(path).map_err(|error| unusable(error.into()))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| unusable(error.to_string().into()))?;
            // A system's bundle may hold certificates that this library does not take; the others still count.
            if let Err(error) = roots.add(certificate) {
                tracing::debug!(%error, "a certificate of the extra file is left out");
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(SetupError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn proxies(network: &Network) -> Result<Vec<reqwest::Proxy>, reqwest::Error> {
    // The agent-server is on this machine: no proxy could reach it.
    let mut exempt = "localhost,127.0.0.0/8,::1".to_owned();
    if let Some(hosts) = &network.no_proxy {
        exempt = format!("{exempt},{hosts}");
    }
    let exempt = reqwest::NoProxy::from_string(&exempt);
    let mut proxies = Vec::new();
    if let Some(proxy) = &network.http_proxy {
        proxies.push(reqwest::Proxy::http(proxy.expose())?.no_proxy(exempt.clone()));
    }
    if let Some(proxy) = &network.https_proxy {
        proxies.push(reqwest::Proxy::https(proxy.expose())?.no_proxy(exempt));
    }
    Ok(proxies)
}

/// A URL as it may be shown: no user part, no query.
#[must_use]
pub fn without_secrets(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

/// The base URL extended by path segments, each percent-encoded.
#[must_use]
pub fn join(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

/// One request, not sent yet.
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    builder: reqwest::RequestBuilder,
    target: String,
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

    /// Adds a header that is no secret. A value that no header can hold is left out.
    pub fn header(self, name: &'static str, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(value) => Self { builder: self.builder.header(name, value), ..self },
            Err(_) => self,
        }
    }

    /// Adds the key of an API that has a header of its own for it.
    pub fn api_key(self, key: &Secret) -> Self {
        self.secret_header(HeaderName::from_static("x-api-key"), key.expose())
    }

    fn secret_header(self, name: HeaderName, value: &str) -> Self {
        let builder = match HeaderValue::from_str(value) {
            Ok(mut value) => {
                value.set_sensitive(true);
                self.builder.header(name, value)
            }
            // The builder keeps the error and gives it when the request is sent.
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

    /// Sets the limit of the whole request (default [`timing::REQUEST`]).
    pub fn timeout(self, limit: Duration) -> Self {
        Self { builder: self.builder.timeout(limit), ..self }
    }

    /// Sends the request and reads the whole answer.
    ///
    /// # Errors
    /// [`HttpError`]; an answer that is not 2xx is one too ([`HttpError::Status`]).
    pub async fn send(self) -> Result<Answer, HttpError> {
        let Self { builder, target } = self;
        let response = builder.send().await.map_err(|error| HttpError::from_transport(target.clone(), error))?;
        Answer::read(response, target).await
    }
}

impl Answer {
    async fn read(mut response: reqwest::Response, target: String) -> Result<Self, HttpError> {
        let transport = |error: reqwest::Error| HttpError::from_transport(target.clone(), error);
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > LONGEST_ANSWER {
                return Err(HttpError::TooLarge { target });
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            Ok(Answer { status, body, target })
        } else {
            let detail = detail(&body);
            Err(HttpError::Status { target, status: status.as_u16(), detail, retry_after, body })
        }
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The words of an error body. The servers answer `detail` as text, `detail` as a list of `{loc, msg}`, `message`,
/// `exception` (agent-server 500), or plain text.
fn detail(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let words = match serde_json::from_str::<Value>(&text) {
        Ok(Value::Object(fields)) => ["exception", "detail", "message", "error"]
            .into_iter()
            .find_map(|name| fields.get(name).and_then(words))
            .unwrap_or_else(|| text.clone().into_owned()),
        Ok(Value::String(words)) => words,
        _ => text.into_owned(),
    };
    display::bounded(&words, LONGEST_DETAIL)
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

/// A 2xx answer, read whole.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    body: Vec<u8>,
    target: String,
}

impl Answer {
    /// The status, for calls that tell cases apart by it.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// The body as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`HttpError::Unexpected`] when it is not JSON of this type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, HttpError> {
        serde_json::from_slice(&self.body)
            .map_err(|source| HttpError::Unexpected { target: self.target.clone(), source })
    }
}

/// A request that did not succeed. The text names method and address, never a key, a query or a user part.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection could be made.
    #[error("{target}: no connection: {reason}")]
    Connect {
        /// Method and address.
        target: String,
        /// The innermost cause.
        reason: String,
    },
    /// No complete answer within the limit.
    #[error("{target}: no answer in time")]
    Timeout {
        /// Method and address.
        target: String,
    },
    /// The connection broke, before or while the answer came.
    #[error("{target}: the connection broke: {reason}")]
    Broken {
        /// Method and address.
        target: String,
        /// The innermost cause.
        reason: String,
    },
    /// The request could not be made from what we were given (a key with a line break, for example).
    #[error("{target}: the request cannot be made")]
    Invalid {
        /// Method and address.
        target: String,
        /// The reason.
        source: reqwest::Error,
    },
    /// The server answered with a status other than 2xx.
    #[error("{target}: {status}{}", if detail.is_empty() { String::new() } else { format!(" {detail}") })]
    Status {
        /// Method and address.
        target: String,
        /// The HTTP status.
        status: u16,
        /// The server's words, bounded.
        detail: String,
        /// `Retry-After`, when it is a number of seconds.
        retry_after: Option<Duration>,
        /// The body, for callers that know its shape.
        body: Vec<u8>,
    },
    /// A 2xx answer that is not the JSON that the endpoint gives.
    #[error("{target}: an answer that this program does not understand")]
    Unexpected {
        /// Method and address.
        target: String,
        /// Where the JSON differs.
        source: serde_json::Error,
    },
    /// An answer larger than 64 MiB.
    #[error("{target}: an answer larger than {} MiB", LONGEST_ANSWER / (1024 * 1024))]
    TooLarge {
        /// Method and address.
        target: String,
    },
}

impl HttpError {
    fn from_transport(target: String, error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_builder() {
            Self::Invalid { target, source: error }
        } else if error.is_connect() {
            Self::Connect { target, reason: display::innermost(&error) }
        } else if error.is_timeout() {
            Self::Timeout { target }
        } else {
            Self::Broken { target, reason: display::innermost(&error) }
        }
    }

    /// The HTTP status, when there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the server refused our key.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self.status(), Some(401 | 403))
    }

    /// Whether it is unknown if the server acted on the request: it was sent and no answer came.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Broken { .. }) || matches!(self.status(), Some(500..))
    }
}

impl Retryable for HttpError {
    fn retry(&self) -> Retry {
        match self {
            Self::Connect { .. } | Self::Timeout { .. } | Self::Broken { .. } => Retry::Soon,
            Self::Status { status: 408 | 429 | 500.., retry_after, .. } => {
                retry_after.map_or(Retry::Soon, Retry::After)
            }
            Self::Status { .. } | Self::Unexpected { .. } | Self::TooLarge { .. } | Self::Invalid { .. } => Retry::No,
        }
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
            ("", ""),
            ("[null]", "[null]"),
        ] {
            assert_eq!(detail(body.as_bytes()), words, "{body}");
        }
    }

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

    #[tokio::test]
    async fn a_key_that_is_no_header_value_is_an_error_and_not_sent() {
        let http = Http::new(&Network::default()).unwrap();
        let url = Url::parse("http://127.0.0.1:9/").unwrap();
        let error = http.request(Method::GET, url).bearer(&Secret::new("a\nb")).send().await.unwrap_err();
        assert!(matches!(error, HttpError::Invalid { .. }), "{error:?}");
        assert!(!format!("{error:?}").contains("a\\nb"));
    }
}
