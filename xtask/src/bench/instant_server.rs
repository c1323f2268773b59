//! An agent-server and a callback receiver that answer at once, for measurements: whatever time a run takes against it is
//! the runner's own.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "support code of the benchmark")]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::SinkExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

/// What happens while a run is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The first request has come.
    FirstRequest,
    /// The callback is there; the run is as good as over, and the process waits for the answer.
    Callback,
}

/// The running server.
pub struct InstantServer {
    pub port: u16,
}

struct State {
    /// Events of the agent in a turn.
    events: usize,
    on: Box<dyn Fn(Moment) + Send + Sync>,
    sockets: Mutex<Vec<mpsc::UnboundedSender<Turn>>>,
    status: Mutex<&'static str>,
    asked: Mutex<bool>,
}

/// A message has come: play the agent's turn.
struct Turn;

impl InstantServer {
    /// Serves on a free port. `on` hears of the moments; it may block.
    pub async fn start(events: usize, on: impl Fn(Moment) + Send + Sync + 'static) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State {
            events,
            on: Box::new(on),
            sockets: Mutex::default(),
            status: Mutex::new("idle"),
            asked: Mutex::new(false),
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&state)));
            }
        });
        Ok(Self { port })
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let state = Arc::clone(&state);
        async move { Ok::<_, std::convert::Infallible>(state.answer(request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let _ = connection.with_upgrades().await;
}

impl State {
    async fn answer(self: Arc<Self>, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
        if !std::mem::replace(&mut *self.asked.lock().expect("not poisoned"), true) {
            (self.on)(Moment::FirstRequest);
        }
        let path = request.uri().path().to_owned();
        if path.starts_with("/sockets/") {
            return self.subscribe(&mut request);
        }
        let _ = request.body_mut().collect().await;
        let answer = match (request.method(), path.rsplit('/').next().unwrap_or_default()) {
            (_, "server_info") => json!({"version": "1.58.0"}),
            (&Method::POST, "conversations") => {
                *self.status.lock().expect("not poisoned") = "idle";
                return body(StatusCode::CREATED, &self.info());
            }
            (&Method::POST, "events") => {
                *self.status.lock().expect("not poisoned") = "finished";
                self.sockets.lock().expect("not poisoned").retain(|socket| socket.send(Turn).is_ok());
                json!({"success": true})
            }
            (_, "skills") => json!({"skills": [], "sources": {}}),
            (_, "search") => json!({"items": [], "next_page_id": null}),
            (_, "agent_final_response") => json!({"response": "Done."}),
            (_, "complete") => {
                (self.on)(Moment::Callback);
                *self.asked.lock().expect("not poisoned") = false;
                json!({"status": "ok"})
            }
            (&Method::GET, _) if path.starts_with("/api/conversations/") => self.info(),
            _ => json!({"success": true}),
        };
        body(StatusCode::OK, &answer)
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
        let mut number = 0_u64;
        let mut event = move |kind: &str, rest: Value| {
            number += 1;
            let mut event = json!({"id": format!("event-{number}"), "kind": kind, "timestamp": "2026-01-01T00:00:00", "source": "agent"});
            if let (Value::Object(event), Value::Object(rest)) = (&mut event, rest) {
                event.extend(rest);
            }
            Message::text(event.to_string())
        };
        let state = |status: &str| json!({"key": "full_state", "value": {"execution_status": status}});
        let _ = socket.send(event("ConversationStateUpdateEvent", state("idle"))).await;
        while turns.recv().await.is_some() {
            for _ in 0..self.events {
                let action =
                    json!({"tool_name": "terminal", "action": {"kind": "TerminalAction", "command": "x".repeat(800)}});
                if socket.feed(event("ActionEvent", action)).await.is_err() {
                    return;
                }
            }
            let _ = socket.send(event("ConversationStateUpdateEvent", state("finished"))).await;
        }
    }
}

fn body(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    *response.status_mut() = status;
    response
}
