//! The events socket: connects, authenticates, sends pings, reconnects.
//!
//! A [`Socket`] is a stream of [`SocketUpdate`]s without an end; it does not know when a run is over. It does not guarantee
//! completeness: the caller has to fetch what was missed while the socket was disconnected. The socket gives fast hints, and the
//! HTTP state is authoritative.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Bytes, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_with_config};

use super::capabilities::SocketAuth;
use super::client::SocketEndpoint;
use super::event::{Event, Meaning};
use super::short_frames::{LONGEST_FRAME, ShortFrames};
use super::wire::{Status, Usage};
use super::{AgentServerClient, Capabilities};
use crate::http::{SESSION_KEY_HEADER, USER_AGENT, tunnel};
use crate::ids::ConversationId;
use crate::retry::Policy;
use crate::time_limits::TimeLimits;

/// An update from the socket.
#[derive(Debug)]
pub enum SocketUpdate {
    /// The subscription is active from now on. The state is the one that the server sends first; it is not an event of the
    /// conversation's log.
    Subscribed {
        /// The current status, if the frame has it.
        status: Option<Status>,
        /// The usage of the conversation so far.
        usage: Usage,
    },
    /// An event of the conversation.
    Event(Box<Event>),
    /// The server has responded to a ping.
    Alive,
    /// The connection was lost or could not be made. The next attempt starts automatically.
    Lost {
        /// The reason, for the log.
        reason: String,
    },
}

/// A subscription to a conversation's events. Dropping it closes the connection.
#[derive(Debug)]
pub struct Socket {
    reports: mpsc::Receiver<SocketUpdate>,
    task: JoinHandle<()>,
}

/// The longest message on the socket, in bytes. A longer one ends the connection, and the log is read over HTTP.
const LONGEST_MESSAGE: usize = 32 * 1024 * 1024;

/// The number of updates that may wait for the reader. Further ones stay in the connection.
const WAITING_REPORTS: usize = 16;

impl Socket {
    /// Starts to connect, and retries until it is dropped. Must be called in a tokio runtime.
    #[must_use]
    pub fn open(client: &AgentServerClient, id: ConversationId, capabilities: Capabilities) -> Self {
        let endpoint = client.socket_endpoint(id);
        let (sender, reports) = mpsc::channel(WAITING_REPORTS);
        let task = tokio::spawn(keep_subscribed(endpoint, capabilities.socket_auth, sender));
        Self { reports, task }
    }

    /// Waits for the next update. Cancel safe.
    pub async fn next(&mut self) -> SocketUpdate {
        match self.reports.recv().await {
            Some(report) => report,
            // The task has panicked. Polling continues without it.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep_subscribed(endpoint: SocketEndpoint, auth: SocketAuth, reports: mpsc::Sender<SocketUpdate>) {
    let mut delays = Policy::socket(&endpoint.time_limits).delays();
    loop {
        let reason = match connect(&endpoint, auth).await {
            Ok(stream) => match listen(stream, &endpoint.time_limits, &reports, &mut || delays.reset()).await {
                Some(reason) => reason,
                None => return,
            },
            Err(reason) => reason,
        };
        if reports.send(SocketUpdate::Lost { reason }).await.is_err() {
            return;
        }
        tokio::time::sleep(delays.next_delay().unwrap_or(endpoint.time_limits.poll_without_socket)).await;
    }
}

type Stream = WebSocketStream<ShortFrames<MaybeTlsStream<TcpStream>>>;

async fn connect(endpoint: &SocketEndpoint, auth: SocketAuth) -> Result<Stream, String> {
    let mut url = endpoint.url.clone();
    if let (SocketAuth::Query, Some(key)) = (auth, &endpoint.session_key) {
        url.query_pairs_mut().append_pair("session_api_key", key.expose());
    }
    // The error is not shown: its text may contain the address with the key.
    let mut request = url.as_str().into_client_request().map_err(|_| "invalid address".to_owned())?;
    request.headers_mut().insert("user-agent", HeaderValue::from_static(USER_AGENT));
    if let (SocketAuth::Header, Some(key)) = (auth, &endpoint.session_key) {
        let mut value =
            HeaderValue::from_str(key.expose()).map_err(|_| "the key is not a valid header value".to_owned())?;
        value.set_sensitive(true);
        request.headers_mut().insert(SESSION_KEY_HEADER, value);
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .max_message_size(Some(LONGEST_MESSAGE))
        .max_frame_size(Some(LONGEST_FRAME));
    let opened = async {
        let stream = ShortFrames::new(transport(endpoint).await?, LONGEST_MESSAGE as u64);
        let opened = client_async_with_config(request, stream, Some(config)).await;
        opened.map(|(stream, _)| stream).map_err(|error| reason_of(&error))
    };
    timeout(endpoint.time_limits.socket_handshake, opened)
        .await
        .unwrap_or_else(|_| Err("no handshake within the time limit".to_owned()))
}

/// Opens the connection for the WebSocket protocol.
async fn transport(endpoint: &SocketEndpoint) -> Result<MaybeTlsStream<TcpStream>, String> {
    let stream = tunnel::connect(&endpoint.url, endpoint.proxy.as_ref()).await?;
    if endpoint.url.scheme() != "wss" {
        return Ok(MaybeTlsStream::Plain(stream));
    }
    let host = endpoint.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host).map_err(|_| "the host has no valid name for TLS".to_owned())?;
    let secured = TlsConnector::from(endpoint.tls.clone()).connect(name, stream).await;
    secured.map(MaybeTlsStream::Rustls).map_err(|error| error.to_string())
}

fn reason_of(error: &tungstenite::Error) -> String {
    match error {
        // A 403 does not say whether the key, the id or a parameter was wrong.
        tungstenite::Error::Http(response) => format!("the server answered the handshake with {}", response.status()),
        tungstenite::Error::Url(_) => "invalid address".to_owned(),
        other => other.to_string(),
    }
}

/// Passes on updates until the connection ends, and returns the reason, or `None` if no one receives the updates any more.
async fn listen(
    mut stream: Stream,
    limits: &TimeLimits,
    reports: &mpsc::Sender<SocketUpdate>,
    works: &mut impl FnMut(),
) -> Option<String> {
    let mut ping = interval_at(Instant::now() + limits.socket_ping, limits.socket_ping);
    let mut last_sign = Instant::now();
    // Set again when it expires, and not with each message.
    let mut silence = Box::pin(sleep_until(last_sign + limits.socket_silence));
    let mut subscribed = false;
    loop {
        let message = tokio::select! {
            biased;
            message = stream.next() => message,
            () = &mut silence => {
                let silent_at = last_sign + limits.socket_silence;
                if silent_at <= Instant::now() {
                    return Some(format!("no data for {:?}", limits.socket_silence));
                }
                silence.as_mut().reset(silent_at);
                continue;
            }
            _ = ping.tick() => {
                // A peer that does not read could block the ping forever.
                match timeout(limits.socket_ping, stream.send(Message::Ping(Bytes::new()))).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => return Some(reason_of(&error)),
                    Err(_) => return Some("a ping could not be sent".to_owned()),
                }
            }
        };
        let message = match message {
            None => return Some("closed".to_owned()),
            Some(Err(error)) => return Some(reason_of(&error)),
            Some(Ok(message)) => message,
        };
        last_sign = Instant::now();
        let report = match message {
            Message::Text(text) => {
                let Some(event) = Event::parse(text.as_str()) else { continue };
                match event.meaning() {
                    Meaning::FullState { status, usage } if !subscribed => {
                        subscribed = true;
                        works();
                        SocketUpdate::Subscribed { status: status.clone(), usage: usage.clone() }
                    }
                    _ => SocketUpdate::Event(Box::new(event)),
                }
            }
            Message::Pong(_) | Message::Ping(_) => SocketUpdate::Alive,
            Message::Close(Some(frame)) => return Some(format!("closed with code {}", u16::from(frame.code))),
            Message::Close(None) => return Some("closed".to_owned()),
            Message::Binary(_) | Message::Frame(_) => continue,
        };
        if reports.send(report).await.is_err() {
            return None;
        }
    }
}
