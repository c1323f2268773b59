//! A proxy in front of an agent-server that answers some requests itself, and changes what goes through: faults that no real server
//! produces. The rest is the server's own, the events socket included.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// What becomes of a request.
pub enum Meddling {
    /// It gets this status, content type and body. The server does not see it.
    Answer(u16, &'static str, String),
    /// It is read, and gets no answer.
    Silence,
    /// The server's response has another body.
    Response(fn(&mut Value)),
    /// The server gets it with this text in the place of the other, which is as long.
    Request(&'static str, &'static str),
}

/// Decides by method and path.
type Rule = Arc<dyn Fn(&str, &str) -> Option<Meddling> + Send + Sync>;

/// Passes requests on to a port of this machine, each on a connection of its own.
pub struct Meddler {
    pub port: u16,
    rule: Arc<Mutex<Rule>>,
    requests: Arc<Mutex<Vec<String>>>,
    accepting: AbortHandle,
}

impl Meddler {
    pub async fn to(port: u16, rule: impl Fn(&str, &str) -> Option<Meddling> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own_port = listener.local_addr().unwrap().port();
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Arc::new(rule)));
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let (rules, seen) = (Arc::clone(&rule), Arc::clone(&requests));
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, port, Arc::clone(&rules), Arc::clone(&seen)));
            }
        });
        Self { port: own_port, rule, requests, accepting: accepting.abort_handle() }
    }

    /// Follows another rule from now on.
    pub fn now(&self, rule: impl Fn(&str, &str) -> Option<Meddling> + Send + Sync + 'static) {
        *self.rule.lock().unwrap() = Arc::new(rule);
    }

    /// How many requests with this method had a path that ends so.
    pub fn count(&self, method: &str, path_end: &str) -> usize {
        self.count_that(|of, path| of == method && path.ends_with(path_end))
    }

    /// How many requests there were with such a method and path.
    pub fn count_that(&self, is_meant: impl Fn(&str, &str) -> bool) -> usize {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|line| line.split_once(' ').is_some_and(|(method, path)| is_meant(method, path))).count()
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Whether this is the path of a conversation itself, whose state it tells.
pub fn is_state(method: &str, path: &str) -> bool {
    let id = path.strip_prefix("/api/conversations/").unwrap_or_default();
    method == "GET" && id.len() == 36 && !id.contains('/')
}

/// A client that breaks off needs no answer.
async fn serve(client: TcpStream, port: u16, rule: Arc<Mutex<Rule>>, seen: Arc<Mutex<Vec<String>>>) {
    let _ = try_serve(client, port, rule, seen).await;
}

async fn try_serve(
    mut client: TcpStream,
    port: u16,
    rule: Arc<Mutex<Rule>>,
    seen: Arc<Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    let (head, mut body) = message(&mut client).await?;
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    seen.lock().unwrap().push(format!("{method} {path}"));
    let mut server = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    if head.to_ascii_lowercase().contains("\r\nupgrade:") {
        server.write_all(head.as_bytes()).await?;
        return copy_bidirectional(&mut client, &mut server).await.map(drop);
    }
    let rule = Arc::clone(&rule.lock().unwrap());
    let meddling = rule(method, path);
    if let Some(Meddling::Answer(status, kind, text)) = &meddling {
        let length = text.len();
        let answer = format!(
            "HTTP/1.1 {status} Meddled\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}"
        );
        return client.write_all(answer.as_bytes()).await;
    }
    if let Some(Meddling::Silence) = &meddling {
        // Until the client leaves.
        return client.read(&mut [0]).await.map(drop);
    }
    if let Some(Meddling::Request(from, to)) = &meddling {
        assert_eq!(from.len(), to.len());
        body = String::from_utf8(body).unwrap().replace(from, to).into_bytes();
    }
    // The next request comes on another connection.
    let head = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    server.write_all(head.as_bytes()).await?;
    server.write_all(&body).await?;
    if let Some(Meddling::Response(change)) = &meddling {
        let (head, body) = message(&mut server).await?;
        let mut body: Value = serde_json::from_slice(&body).unwrap();
        change(&mut body);
        let (body, line) = (body.to_string(), head.lines().next().unwrap_or_default());
        let length = body.len();
        let answer = format!(
            "{line}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        return client.write_all(answer.as_bytes()).await;
    }
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

/// Reads the head of a request or response, with its empty line, and the body that the head announces.
async fn message(stream: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    Ok((head, body))
}
