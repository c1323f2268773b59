//! A TCP proxy in front of a server, whose connections can be cut, and which can be slow, or away when it matters.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// Passes connections on to a port of this machine.
pub struct Proxy {
    pub port: u16,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
    absence: Arc<Mutex<Absence>>,
    speaks_alone: Arc<AtomicBool>,
    announcing: Arc<Mutex<Announcing>>,
    /// How long everything takes on its way, in each direction, in milliseconds.
    delay: Arc<AtomicU64>,
    accepting: AbortHandle,
}

/// A frame that is announced and never comes.
#[derive(Default)]
struct Announcing {
    /// Its length; `None` if none is announced.
    length: Option<u64>,
    /// How often it was announced.
    count: usize,
}

/// When no connection gets through.
#[derive(Default)]
struct Absence {
    /// From the next message to a conversation on.
    next: Option<Duration>,
    /// Whether that message still gets through, and only its answer is lost.
    gets_through: bool,
    until: Option<Instant>,
}

impl Absence {
    fn is_now(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }

    /// Whether these bytes of a client get lost.
    fn takes(&mut self, request: &[u8]) -> bool {
        let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let is_message = line.starts_with(b"POST /api/conversations/") && line.ends_with(b"/events HTTP/1.1");
        if is_message && let Some(absence) = self.next.take() {
            self.until = Some(Instant::now() + absence);
            return !self.gets_through;
        }
        self.is_now()
    }
}

impl Proxy {
    pub async fn to(port: u16) -> Self {
        Self::of_kind(port, false).await
    }

    /// One for `HTTPS_PROXY`: whatever host a client asks for, it gets a tunnel to this port.
    pub async fn tunnel_to(port: u16) -> Self {
        Self::of_kind(port, true).await
    }

    async fn of_kind(port: u16, is_tunnel: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own_port = listener.local_addr().unwrap().port();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&connections);
        let absence = Arc::<Mutex<Absence>>::default();
        let away = Arc::clone(&absence);
        let speaks_alone = Arc::<AtomicBool>::default();
        let alone = Arc::clone(&speaks_alone);
        let announcing = Arc::<Mutex<Announcing>>::default();
        let announced = Arc::clone(&announcing);
        let delay = Arc::<AtomicU64>::default();
        let delayed = Arc::clone(&delay);
        let accepting = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (away, delay) = (Arc::clone(&away), Arc::clone(&delayed));
                let alone = alone.load(Ordering::Relaxed);
                let announcing = Arc::clone(&announced);
                let task = tokio::spawn(async move {
                    if alone {
                        return answer(client).await;
                    }
                    if is_tunnel && open_tunnel(&mut client, &delay).await.is_err() {
                        return;
                    }
                    let server = SocketAddr::from(([127, 0, 0, 1], port));
                    if let Ok(server) = TcpStream::connect(server).await {
                        pass_on(client, server, &away, &announcing, &delay).await;
                    }
                });
                kept.lock().unwrap().push(task.abort_handle());
            }
        });
        Self {
            port: own_port,
            connections,
            absence,
            speaks_alone,
            announcing,
            delay,
            accepting: accepting.abort_handle(),
        }
    }

    /// From now on everything takes this long on its way, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.delay.store(delay.as_millis().try_into().unwrap(), Ordering::Relaxed);
    }

    /// Is away for this long when a message is sent to a conversation; the message does not get through.
    pub fn away_at_message(&self, absence: Duration) {
        self.absence.lock().unwrap().next = Some(absence);
    }

    /// Is away for this long when a message is sent to a conversation; the message gets through, its answer does not.
    pub fn away_after_message(&self, absence: Duration) {
        *self.absence.lock().unwrap() = Absence { next: Some(absence), gets_through: true, until: None };
    }

    /// From now on answers as a gateway does whose server is no more.
    pub fn speak_alone(&self) {
        self.speaks_alone.store(true, Ordering::Relaxed);
        self.cut();
    }

    /// Puts the header of a frame of so many bytes, and 6 of them, in the place of the frame that says that a run has finished.
    pub fn announce_a_frame_that_never_comes(&self, length: u64) {
        self.announcing.lock().unwrap().length = Some(length);
    }

    /// How often that was done.
    pub fn announced(&self) -> usize {
        self.announcing.lock().unwrap().count
    }

    /// Cuts every connection that there is, without a word.
    pub fn cut(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            connection.abort();
        }
    }
}

async fn answer(mut client: TcpStream) {
    let _ = client.read(&mut [0; 4096]).await;
    let _ = client.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
}

/// Answers `CONNECT`.
async fn open_tunnel(client: &mut TcpStream, delay: &AtomicU64) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    on_the_way(delay).await;
    on_the_way(delay).await;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await
}

async fn on_the_way(delay: &AtomicU64) {
    tokio::time::sleep(Duration::from_millis(delay.load(Ordering::Relaxed))).await;
}

/// What is passed on of these bytes of a server.
fn announced<'b>(bytes: &'b [u8], announcing: &Mutex<Announcing>) -> Cow<'b, [u8]> {
    let mut announcing = announcing.lock().unwrap();
    // A server writes a frame at once.
    let says_end = || bytes.first() == Some(&0x81) && bytes.windows(10).any(|text| text == br#""finished""#);
    match announcing.length {
        Some(length) if says_end() => {
            announcing.count += 1;
            Cow::Owned([&[0x81, 127], &length.to_be_bytes()[..], &br#"{"kind"#[..]].concat())
        }
        _ => Cow::Borrowed(bytes),
    }
}

async fn pass_on(
    client: TcpStream,
    server: TcpStream,
    absence: &Mutex<Absence>,
    announcing: &Mutex<Announcing>,
    delay: &AtomicU64,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let forth = async {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count) = from_client.read(&mut bytes).await
            && count > 0
            && !absence.lock().unwrap().takes(&bytes[..count])
        {
            on_the_way(delay).await;
            if to_server.write_all(&bytes[..count]).await.is_err() {
                break;
            }
        }
    };
    let back = async {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count) = from_server.read(&mut bytes).await
            && count > 0
            && !absence.lock().unwrap().is_now()
        {
            on_the_way(delay).await;
            if to_client.write_all(&announced(&bytes[..count], announcing)).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = forth => {}
        () = back => {}
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}
