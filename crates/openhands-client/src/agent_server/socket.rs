//! The events socket: connect, authenticate, ping, reconnect.
//!
//! A [`Socket`] is a stream of [`Report`]s that never ends by itself; it does not know when a run is over. It promises no
//! completeness: what was missed while it was down is for the caller to fetch. The socket is a hint, the HTTP state the
//! truth.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Bytes, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

use super::capabilities::SocketAuth;
use super::client::SocketEndpoint;
use super::event::{Event, Meaning};
use super::wire::{Cost, Status};
use super::{AgentServerClient, Capabilities};
use crate::http::{SESSION_KEY_HEADER, USER_AGENT, tunnel};
use crate::ids::ConversationId;
use crate::retry::Policy;
use crate::time_limits;

/// What happens on the socket.
#[derive(Debug)]
pub enum Report {
    /// The subscription works from here on. The state is the one that the server sends first; it is not an event of
    /// the conversation's log.
    Subscribed {
        /// The status at this moment, when it is told.
        status: Option<Status>,
        /// The cost at this moment.
        cost: Cost,
    },
    /// An event of the conversation.
    Event(Event),
    /// The server has answered a ping.
    Alive,
    /// The connection is lost or was not made; the next attempt comes by itself.
    Lost {
        /// Why, for the log.
        reason: String,
    },
}

/// A subscription to a conversation's events. Dropping it closes the connection.
#[derive(Debug)]
pub struct Socket {
    reports: mpsc::Receiver<Report>,
    task: JoinHandle<()>,
}

/// Reports that may wait for the reader; more are held back in the connection.
const WAITING_REPORTS: usize = 16;

impl Socket {
    /// Starts to connect, and goes on trying until dropped. Must be called in a tokio runtime.
    #[must_use]
    pub fn open(client: &AgentServerClient, id: ConversationId, capabilities: Capabilities) -> Self {
        let endpoint = client.socket_endpoint(id);
        let (sender, reports) = mpsc::channel(WAITING_REPORTS);
        let task = tokio::spawn(keep_subscribed(endpoint, capabilities.socket_auth, sender));
        Self { reports, task }
    }

    /// The next report. Cancel safe.
    pub async fn next(&mut self) -> Report {
        match self.reports.recv().await {
            Some(report) => report,
            // Only if the task panicked; polling goes on without it.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep_subscribed(endpoint: SocketEndpoint, auth: SocketAuth, reports: mpsc::Sender<Report>) {
    let mut delays = Policy::socket().delays();
    loop {
        let reason = match connect(&endpoint, auth).await {
            Ok(stream) => match listen(stream, &reports, &mut || delays.reset()).await {
                Some(reason) => reason,
                None => return,
            },
            Err(reason) => reason,
        };
        if reports.send(Report::Lost { reason }).await.is_err() {
            return;
        }
        tokio::time::sleep(delays.next_delay().unwrap_or(time_limits::POLL_WITHOUT_SOCKET)).await;
    }
}

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(endpoint: &SocketEndpoint, auth: SocketAuth) -> Result<Stream, String> {
    let mut url = endpoint.url.clone();
    if let (SocketAuth::Query, Some(key)) = (auth, &endpoint.session_key) {
        url.query_pairs_mut().append_pair("session_api_key", key.expose());
    }
    // The error is not shown: its text may hold the address, and that the key.
    let mut request = url.as_str().into_client_request().map_err(|_| "the address is not one".to_owned())?;
    request.headers_mut().insert("user-agent", HeaderValue::from_static(USER_AGENT));
    if let (SocketAuth::Header, Some(key)) = (auth, &endpoint.session_key) {
        let mut value = HeaderValue::from_str(key.expose()).map_err(|_| "the key is no header value".to_owned())?;
        value.set_sensitive(true);
        request.headers_mut().insert(SESSION_KEY_HEADER, value);
    }
    let config = WebSocketConfig::default().read_buffer_size(16 * 1024).max_frame_size(None);
    let connector = Connector::Rustls(endpoint.tls.clone());
    let opened = async {
        let stream = tunnel::connect(&endpoint.url, endpoint.proxy.as_ref()).await?;
        let opened = client_async_tls_with_config(request, stream, Some(config), Some(connector)).await;
        opened.map(|(stream, _)| stream).map_err(|error| reason_of(&error))
    };
    timeout(time_limits::SOCKET_HANDSHAKE, opened).await.unwrap_or_else(|_| Err("no handshake in time".to_owned()))
}

fn reason_of(error: &tungstenite::Error) -> String {
    match error {
        // A 403 never tells which of a wrong key, a malformed id or a wrong parameter it was.
        tungstenite::Error::Http(response) => format!("the handshake was answered with {}", response.status()),
        tungstenite::Error::Url(_) => "the address is not one".to_owned(),
        other => other.to_string(),
    }
}

/// Passes on what arrives until the connection ends; then why, or `None` when nobody listens any more.
async fn listen(mut stream: Stream, reports: &mpsc::Sender<Report>, works: &mut impl FnMut()) -> Option<String> {
    let mut ping = interval_at(Instant::now() + time_limits::SOCKET_PING, time_limits::SOCKET_PING);
    let mut last_sign = Instant::now();
    let mut subscribed = false;
    loop {
        let silent_at = last_sign + time_limits::SOCKET_SILENCE;
        let message = tokio::select! {
            message = timeout_at(silent_at, stream.next()) => message,
            _ = ping.tick() => {
                // A peer that reads nothing would hold the ping back for ever.
                match timeout(time_limits::SOCKET_PING, stream.send(Message::Ping(Bytes::new()))).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => return Some(reason_of(&error)),
                    Err(_) => return Some("a ping could not be sent".to_owned()),
                }
            }
        };
        let message = match message {
            Err(_) => return Some(format!("silence for {:?}", time_limits::SOCKET_SILENCE)),
            Ok(None) => return Some("closed".to_owned()),
            Ok(Some(Err(error))) => return Some(reason_of(&error)),
            Ok(Some(Ok(message))) => message,
        };
        last_sign = Instant::now();
        let report = match message {
            Message::Text(text) => {
                let Some(event) = Event::parse(text.as_str()) else { continue };
                match event.meaning() {
                    Meaning::FullState { status, cost } if !subscribed => {
                        subscribed = true;
                        works();
                        Report::Subscribed { status, cost }
                    }
                    _ => Report::Event(event),
                }
            }
            Message::Pong(_) | Message::Ping(_) => Report::Alive,
            Message::Close(Some(frame)) => return Some(format!("closed with code {}", u16::from(frame.code))),
            Message::Close(None) => return Some("closed".to_owned()),
            Message::Binary(_) | Message::Frame(_) => continue,
        };
        if reports.send(report).await.is_err() {
            return None;
        }
    }
}
