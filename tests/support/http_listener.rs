//! A small real HTTP/1.1 server on a port of its own: one handler for all requests.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "support code, of which tests and the demo use different parts"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Answers one request.
pub trait Handler: Send + Sync + 'static {
    fn answer(&self, request: Request<Bytes>) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

/// A running server; it ends when dropped.
pub struct HttpListener {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl HttpListener {
    /// Serves on `127.0.0.1:port`; port 0 is a free one.
    pub async fn start(port: u16, handler: impl Handler) -> std::io::Result<Self> {
        Self::start_at("127.0.0.1", port, handler).await
    }

    /// The same on another address of this machine.
    pub async fn start_at(host: &str, port: u16, handler: impl Handler) -> std::io::Result<Self> {
        let listener = TcpListener::bind((host, port)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(serve(listener, Arc::new(handler)));
        Ok(Self { address, task })
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for HttpListener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<H: Handler>(listener: TcpListener, handler: Arc<H>) {
    while let Ok((stream, _)) = listener.accept().await {
        let handler = Arc::clone(&handler);
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let handler = Arc::clone(&handler);
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                    Ok::<_, Infallible>(handler.answer(Request::from_parts(head, body)).await)
                }
            });
            // A client that goes away is no matter of the server.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// A JSON answer.
pub fn json(status: u16, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = hyper::StatusCode::from_u16(status).expect("a status");
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    response
}

/// An answer of one server-sent event, and the mark of the end that LLMs send.
pub fn event_stream(event: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("data: {event}\n\ndata: [DONE]\n\n"))));
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("text/event-stream"));
    response
}
