//! A TCP proxy that keeps what clients send to a server.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

type Sent = Arc<Mutex<Vec<u8>>>;

/// Passes connections on to a port of this machine, and records the requests.
pub struct Recorder {
    pub port: u16,
    connections: Arc<Mutex<Vec<Sent>>>,
    accepting: AbortHandle,
}

/// A request as the client sent it.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub method: String,
    pub path: String,
    /// The request line and the headers.
    pub head: String,
    pub body: Value,
}

impl Recorder {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own_port = listener.local_addr().unwrap().port();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let sent = Sent::default();
                kept.lock().unwrap().push(Arc::clone(&sent));
                tokio::spawn(pass_on(client, port, sent));
            }
        });
        Self { port: own_port, connections, accepting: accepting.abort_handle() }
    }

    /// The requests whose bodies are JSON, connection by connection.
    pub fn requests(&self) -> Vec<Recorded> {
        let connections = self.connections.lock().unwrap();
        connections.iter().flat_map(|sent| requests(&sent.lock().unwrap())).collect()
    }

    /// The body of the one request with this method and such a path.
    #[track_caller]
    pub fn body(&self, method: &str, is_meant: impl Fn(&str) -> bool) -> Value {
        self.request(method, is_meant).body
    }

    /// The one request with this method and such a path.
    #[track_caller]
    pub fn request(&self, method: &str, is_meant: impl Fn(&str) -> bool) -> Recorded {
        let requests = self.requests();
        let mut found = requests.iter().filter(|request| request.method == method && is_meant(&request.path));
        let only = found.next().unwrap_or_else(|| panic!("no such {method} in {requests:?}"));
        assert!(found.next().is_none(), "more than one {method}");
        only.clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass_on(client: TcpStream, port: u16, sent: Sent) {
    let Ok(server) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let upwards = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            sent.lock().unwrap().extend_from_slice(&buffer[..length]);
            if to_server.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
        let _ = to_server.shutdown().await;
    };
    let downwards = async {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    tokio::join!(upwards, downwards);
}

fn requests(mut sent: &[u8]) -> Vec<Recorded> {
    let mut requests = Vec::new();
    while let Some(end) = sent.windows(4).position(|window| window == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&sent[..end]).into_owned();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
        });
        let (body, rest) = sent[end + 4..].split_at(length.unwrap_or(0).min(sent.len() - end - 4));
        sent = rest;
        if let Ok(body) = serde_json::from_slice(body) {
            let mut words = head.split(' ').map(str::to_owned);
            let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            requests.push(Recorded { method, path, head, body });
        }
    }
    requests
}
