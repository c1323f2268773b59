//! An agent-server and a callback receiver that respond at once: the time that a run takes with them is the runner's own.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "support code, of which tests use a part"
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::SinkExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

use super::instant_machine::{Lost, Machine};

/// The length of each event of the agent, in bytes of JSON.
const EVENT_LENGTH: usize = 900;

/// The running server. It ends when dropped.
pub struct InstantServer {
    pub port: u16,
    state: Arc<State>,
    accepting: AbortHandle,
}

struct State {
    /// Events of the agent in a turn.
    events: usize,
    on_callback: Box<dyn Fn() + Send + Sync>,
    sockets: Mutex<Vec<mpsc::UnboundedSender<Turn>>>,
    status: Mutex<&'static str>,
    /// Messages that have come.
    messages: AtomicUsize,
    /// The machine that it runs on, with its commands and files, where it is one of a sandbox.
    machine: Option<Arc<Machine>>,
}

/// A message has arrived: play the agent's turn.
struct Turn;

impl InstantServer {
    /// Serves on a free port. Calls `on_callback` when a callback arrives, before it is accepted; it may block.
    pub async fn start(events: usize, on_callback: impl Fn() + Send + Sync + 'static) -> std::io::Result<Self> {
        Self::serve(events, Box::new(on_callback), None).await
    }

    /// The same in a sandbox.
    pub async fn in_sandbox(events: usize, machine: Arc<Machine>) -> std::io::Result<Self> {
        Self::serve(events, Box::new(|| {}), Some(machine)).await
    }

    async fn serve(
        events: usize,
        on_callback: Box<dyn Fn() + Send + Sync>,
        machine: Option<Arc<Machine>>,
    ) -> std::io::Result<Self> {
        let state = Arc::new(State {
            events,
            on_callback,
            sockets: Mutex::default(),
            status: Mutex::new("idle"),
            messages: AtomicUsize::new(0),
            machine,
        });
        let responding = Arc::clone(&state);
        let respond = move |request| Arc::clone(&responding).respond(request);
        let (port, accepting) = listen(respond).await?;
        Ok(Self { port, state, accepting })
    }

    /// Messages that have come.
    pub fn messages(&self) -> usize {
        self.state.messages.load(Ordering::Relaxed)
    }
}

impl Drop for InstantServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Serves on a free port, also upgrades. A lost response ends its connection.
pub async fn listen<R>(
    respond: impl Fn(Request<Incoming>) -> R + Clone + Send + 'static,
) -> std::io::Result<(u16, AbortHandle)>
where
    R: Future<Output = Result<Response<Full<Bytes>>, Lost>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let accepting = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let respond = respond.clone();
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                let http = hyper::server::conn::http1::Builder::new();
                let connection = http.serve_connection(TokioIo::new(stream), service_fn(respond));
                let _ = connection.with_upgrades().await;
            });
        }
    });
    Ok((port, accepting.abort_handle()))
}

impl State {
    async fn respond(self: Arc<Self>, mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Lost> {
        let path = request.uri().path().to_owned();
        if path.starts_with("/sockets/") {
            return Ok(self.subscribe(&mut request));
        }
        let content = request.body_mut().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        if let Some(machine) = &self.machine
            && let Some(response) = machine.respond(&request, &content).await?
        {
            return Ok(response);
        }
        let value = match (request.method(), path.rsplit('/').next().unwrap_or_default()) {
            (_, "server_info") => json!({"version": "1.58.2"}),
            (&Method::POST, "conversations") => {
                *self.status.lock().expect("not poisoned") = "idle";
                return Ok(json_body(StatusCode::CREATED, &self.info()));
            }
            (&Method::POST, "events") => {
                self.messages.fetch_add(1, Ordering::Relaxed);
                *self.status.lock().expect("not poisoned") = "finished";
                self.sockets.lock().expect("not poisoned").retain(|socket| socket.send(Turn).is_ok());
                json!({"success": true})
            }
            (_, "skills") => json!({"skills": [], "sources": {}}),
            (_, "search") => json!({"items": [], "next_page_id": null}),
            (_, "agent_final_response") => json!({"response": "Done."}),
            (_, "complete") => {
                (self.on_callback)();
                json!({"status": "ok"})
            }
            (&Method::GET, _) if path.starts_with("/api/conversations/") => self.info(),
            _ => json!({"success": true}),
        };
        Ok(json_body(StatusCode::OK, &value))
    }

    fn info(&self) -> Value {
        json!({
            "id": "c",
            "execution_status": *self.status.lock().expect("not poisoned"),
            "stats": {"usage_to_metrics": {"agent": {"accumulated_cost": 0.5}}},
            "tags": {},
        })
    }

    fn subscribe(self: &Arc<Self>, request: &mut Request<Incoming>) -> Response<Full<Bytes>> {
        let key = request.headers().get("sec-websocket-key").map(|key| derive_accept_key(key.as_bytes()));
        let upgrade = hyper::upgrade::on(request);
        let (sender, turns) = mpsc::unbounded_channel();
        let state = Arc::clone(self);
        tokio::spawn(async move {
            if let Ok(stream) = upgrade.await {
                let socket = WebSocketStream::from_raw_socket(TokioIo::new(stream), Role::Server, None).await;
                state.sockets.lock().expect("not poisoned").push(sender);
                state.play(socket, turns).await;
            }
        });
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert("connection", "Upgrade".parse().expect("a value"));
        headers.insert("upgrade", "websocket".parse().expect("a value"));
        headers.insert("sec-websocket-accept", key.unwrap_or_default().parse().expect("a value"));
        response
    }

    async fn play(
        &self,
        mut socket: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>,
        mut turns: mpsc::UnboundedReceiver<Turn>,
    ) {
        let mut number = 0;
        let mut next = || {
            number += 1;
            number
        };
        let _ = socket.send(state_update(next(), "idle")).await;
        while turns.recv().await.is_some() {
            for _ in 0..self.events {
                if socket.feed(action(next())).await.is_err() {
                    return;
                }
            }
            let _ = socket.send(state_update(next(), "finished")).await;
        }
    }
}

fn event(number: u64, kind: &str, source: &str, rest: Value) -> String {
    let mut event = json!({
        "id": format!("event-{number}"), "kind": kind, "timestamp": "2026-01-01T00:00:00", "source": source,
    });
    if let (Value::Object(event), Value::Object(rest)) = (&mut event, rest) {
        event.extend(rest);
    }
    event.to_string()
}

fn state_update(number: u64, status: &str) -> Message {
    let rest = json!({"key": "full_state", "value": {"execution_status": status}});
    Message::text(event(number, "ConversationStateUpdateEvent", "environment", rest))
}

/// A command of the agent with the fields of agent-server 1.58.0, as long as every other.
fn action(number: u64) -> Message {
    let with_thought = |length: usize| {
        let rest = json!({
            "thought": [{"type": "text", "text": "x".repeat(length)}],
            "reasoning_content": null,
            "thinking_blocks": [],
            "action": {"kind": "TerminalAction", "command": "ls -l src", "is_input": false, "timeout": null, "reset": false},
            "tool_name": "terminal",
            "tool_call_id": "call-1",
            "tool_call": {
                "id": "call-1", "name": "terminal", "arguments": "{\"command\": \"ls -l src\"}", "origin": "completion",
            },
            "llm_response_id": "response-1",
            "security_risk": "LOW",
            "summary": "list the sources",
        });
        event(number, "ActionEvent", "agent", rest)
    };
    let rest = with_thought(0).len();
    Message::text(with_thought(EVENT_LENGTH.saturating_sub(rest)))
}

/// A response with this JSON.
pub fn json_body(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    *response.status_mut() = status;
    response
}
