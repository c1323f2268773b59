//! A TCP proxy in front of a server, whose connections can be cut, and which can be away when it matters.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// Passes connections on to a port of this machine.
pub struct Proxy {
    pub port: u16,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
    absence: Arc<Mutex<Absence>>,
    accepting: AbortHandle,
}

/// When no connection gets through.
#[derive(Default)]
struct Absence {
    /// From the next message to a conversation on.
    next: Option<Duration>,
    until: Option<Instant>,
}

impl Absence {
    fn is_now(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }

    fn begins_with(&mut self, request: &[u8]) -> bool {
        let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let is_message = line.starts_with(b"POST /api/conversations/") && line.ends_with(b"/events HTTP/1.1");
        if is_message && let Some(absence) = self.next.take() {
            self.until = Some(Instant::now() + absence);
        }
        self.is_now()
    }
}

impl Proxy {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own_port = listener.local_addr().unwrap().port();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&connections);
        let absence = Arc::<Mutex<Absence>>::default();
        let away = Arc::clone(&absence);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let away = Arc::clone(&away);
                let task = tokio::spawn(async move {
                    let server = SocketAddr::from(([127, 0, 0, 1], port));
                    if let Ok(server) = TcpStream::connect(server).await {
                        pass_on(client, server, &away).await;
                    }
                });
                kept.lock().unwrap().push(task.abort_handle());
            }
        });
        Self { port: own_port, connections, absence, accepting: accepting.abort_handle() }
    }

    /// Is away for this long when a message is sent to a conversation; the message does not get through.
    pub fn away_at_message(&self, absence: Duration) {
        self.absence.lock().unwrap().next = Some(absence);
    }

    /// Cuts every connection that there is, without a word.
    pub fn cut(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            connection.abort();
        }
    }
}

async fn pass_on(client: TcpStream, server: TcpStream, absence: &Mutex<Absence>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let forth = async {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count) = from_client.read(&mut bytes).await
            && count > 0
            && !absence.lock().unwrap().begins_with(&bytes[..count])
            && to_server.write_all(&bytes[..count]).await.is_ok()
        {}
    };
    tokio::select! {
        () = forth => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}
