//! Limits the length of WebSocket frames, whatever length the server announces.
//!
//! tungstenite reserves the announced length of a frame at once. [`ShortFrames`] is placed between it and the connection, and
//! passes a long frame on as fragments (RFC 6455, 5.4). So memory use depends on what has arrived, not on what a peer announces.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead as _, AsyncRead, AsyncWrite, BufReader, ReadBuf};

/// The longest payload of a frame that is passed on, in bytes. tungstenite has to reject longer ones: this module does not cut
/// control frames, which must be short, or masked frames, which a server must not send.
pub(super) const LONGEST_FRAME: usize = 64 * 1024;

/// The number of bytes to read from the connection at once.
const READ_AT_ONCE: usize = 16 * 1024;

// Bits of the first byte of a frame.
const FINAL: u8 = 0x80;
const CONTROL: u8 = 0x08;

// Bits of the second byte.
const MASKED: u8 = 0x80;
const LENGTH_OF_2_BYTES: u8 = 126;
const LENGTH_OF_8_BYTES: u8 = 127;

/// The length of the mask after the header, in bytes.
const MASK_LENGTH: u64 = 4;

const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// A connection to a WebSocket server, starting before the handshake.
#[derive(Debug)]
pub(super) struct ShortFrames<S> {
    connection: BufReader<S>,
    cutter: Cutter,
}

impl<S: AsyncRead> ShortFrames<S> {
    /// Creates the adapter. `longest` is the longest payload that a server may announce, in bytes; a longer one is a connection
    /// error.
    pub(super) fn new(connection: S, longest: u64) -> Self {
        Self { connection: BufReader::with_capacity(READ_AT_ONCE, connection), cutter: Cutter::new(longest) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ShortFrames<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { connection, cutter } = &mut *self;
        let before = buf.filled().len();
        loop {
            cutter.put_header(buf);
            let something = buf.filled().len() > before;
            // Nothing is read from the connection while the reader still has data to process.
            if buf.remaining() == 0 || (something && connection.buffer().is_empty()) {
                return Poll::Ready(Ok(()));
            }
            let bytes = ready!(Pin::new(&mut *connection).poll_fill_buf(cx))?;
            if bytes.is_empty() {
                return Poll::Ready(Ok(()));
            }
            match cutter.advance(bytes, buf) {
                Ok(count) => Pin::new(&mut *connection).consume(count),
                // The next call reports the error again.
                Err(_) if something => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ShortFrames<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}

/// Cuts the frames in a stream of bytes.
#[derive(Debug)]
struct Cutter {
    longest: u64,
    place: Place,
    /// A header that still has to be passed on.
    header: Vec<u8>,
}

/// The part of the stream that the server's next byte belongs to.
#[derive(Debug)]
enum Place {
    /// The head of the handshake response; this many bytes of its end have been seen.
    Head(usize),
    /// The header of a frame; these bytes of it have been seen.
    Header(Vec<u8>),
    /// The payload of a frame.
    Payload(Payload),
}

#[derive(Debug)]
struct Payload {
    /// The remaining bytes of the fragment whose header has been passed on.
    fragment: u64,
    /// The remaining bytes of the frame after that fragment.
    rest: u64,
    /// The FIN bit of the frame, which its last fragment gets.
    last: u8,
}

impl Cutter {
    fn new(longest: u64) -> Self {
        Self { longest, place: Place::Head(0), header: Vec::new() }
    }

    /// Passes on as much of a header as fits.
    fn put_header(&mut self, to: &mut ReadBuf<'_>) {
        let count = self.header.len().min(to.remaining());
        to.put_slice(&self.header[..count]);
        self.header.drain(..count);
    }

    /// Consumes some bytes from the server, and returns their number. Requires bytes, room, and no header that still has to be
    /// passed on.
    fn advance(&mut self, from: &[u8], to: &mut ReadBuf<'_>) -> io::Result<usize> {
        let room = from.len().min(to.remaining());
        match &mut self.place {
            Place::Head(seen) => {
                let mut count = 0;
                while count < room && *seen < END_OF_HEAD.len() {
                    let next = from[count];
                    *seen = if next == END_OF_HEAD[*seen] { *seen + 1 } else { usize::from(next == END_OF_HEAD[0]) };
                    count += 1;
                }
                to.put_slice(&from[..count]);
                if *seen == END_OF_HEAD.len() {
                    self.place = Place::Header(Vec::new());
                }
                Ok(count)
            }
            Place::Header(seen) => {
                let mut count = 0;
                while count < from.len() && seen.len() < header_length(seen) {
                    seen.push(from[count]);
                    count += 1;
                }
                if seen.len() == header_length(seen) {
                    let length = payload_length(seen);
                    if length > self.longest {
                        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
                    }
                    let header = std::mem::take(seen);
                    self.begin(header, length);
                }
                Ok(count)
            }
            Place::Payload(payload) => {
                let count = room.min(usize::try_from(payload.fragment).unwrap_or(usize::MAX));
                to.put_slice(&from[..count]);
                payload.fragment -= count as u64;
                let Payload { fragment, rest, last } = *payload;
                match (fragment, rest) {
                    (0, 0) => self.place = Place::Header(Vec::new()),
                    (0, rest) => self.cut(0, rest, last),
                    _ => {}
                }
                Ok(count)
            }
        }
    }

    fn begin(&mut self, header: Vec<u8>, length: u64) {
        let masked = header[1] & MASKED != 0;
        if length > LONGEST_FRAME as u64 && !masked && header[0] & CONTROL == 0 {
            return self.cut(header[0] & !FINAL, length, header[0] & FINAL);
        }
        self.header = header;
        let fragment = length + if masked { MASK_LENGTH } else { 0 };
        if fragment > 0 {
            self.place = Place::Payload(Payload { fragment, rest: 0, last: 0 });
        }
    }

    /// Begins a fragment of the remaining `length` bytes of a frame. `first` contains the opcode and the reserved bits.
    fn cut(&mut self, first: u8, length: u64, last: u8) {
        let fragment = length.min(LONGEST_FRAME as u64);
        let rest = length - fragment;
        self.header = vec![if rest == 0 { first | last } else { first }, LENGTH_OF_8_BYTES];
        self.header.extend_from_slice(&fragment.to_be_bytes());
        self.place = Place::Payload(Payload { fragment, rest, last });
    }
}

/// Returns the length of the header that begins with these bytes, without the mask.
fn header_length(seen: &[u8]) -> usize {
    match seen.get(1).map(|second| second & !MASKED) {
        Some(LENGTH_OF_2_BYTES) => 4,
        Some(LENGTH_OF_8_BYTES) => 10,
        _ => 2,
    }
}

fn payload_length(header: &[u8]) -> u64 {
    match &header[2..] {
        [] => u64::from(header[1] & !MASKED),
        bytes => bytes.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
    use tokio_tungstenite::tungstenite::{Error, Message};
    use tokio_tungstenite::{WebSocketStream, accept_async, client_async_with_config};

    use super::*;

    const LONGEST: usize = 32 * 1024 * 1024;

    /// Returns a real client that uses the module and a real server, over a connection that buffers this many bytes.
    async fn connected(holds: usize) -> (WebSocketStream<ShortFrames<DuplexStream>>, WebSocketStream<DuplexStream>) {
        let (ours, theirs) = duplex(holds);
        let config = WebSocketConfig::default().max_message_size(Some(LONGEST)).max_frame_size(Some(LONGEST_FRAME));
        let client =
            client_async_with_config("ws://server.test/", ShortFrames::new(ours, LONGEST as u64), Some(config));
        let (client, server) = tokio::join!(client, accept_async(theirs));
        (client.unwrap().0, server.unwrap())
    }

    #[tokio::test]
    async fn messages_of_every_length_arrive_whole() {
        for holds in [509, 4096, 1024 * 1024] {
            let (mut client, mut server) = connected(holds).await;
            let lengths = [0, 1, 125, 126, 65_535, 65_536, 65_537, 131_072, 131_073, 300_000];
            let text =
                |length: usize| Message::text("0123456789\u{e9}".chars().cycle().take(length).collect::<String>());
            let mut sent: Vec<_> = lengths.into_iter().map(text).collect();
            sent.push(Message::binary(vec![0xff; 70_000]));
            let sending = async {
                for message in sent.clone() {
                    server.feed(message).await.unwrap();
                    server.feed(Message::Pong(vec![7; 125].into())).await.unwrap();
                }
                server.flush().await.unwrap();
            };
            let receiving = async {
                let mut received = Vec::new();
                while received.len() < sent.len() {
                    let message = client.next().await.unwrap().unwrap();
                    received.extend((message.is_text() || message.is_binary()).then_some(message));
                }
                received
            };
            let ((), received) = tokio::join!(sending, receiving);
            assert!(received == sent, "over a connection that holds {holds} bytes");
        }
    }

    #[tokio::test]
    async fn a_message_of_20_mib_arrives_whole() {
        let (mut client, mut server) = connected(64 * 1024).await;
        let message = Message::text("x".repeat(20 * 1024 * 1024));
        let (sent, received) = tokio::join!(server.send(message.clone()), client.next());
        sent.unwrap();
        assert!(received.unwrap().unwrap() == message);
    }

    #[tokio::test]
    async fn a_fragmented_message_stays_one() {
        let (mut client, server) = connected(1024).await;
        let mut raw = server.into_inner();
        let sending = async {
            raw.write_all(&[0x01, 127, 0, 0, 0, 0, 0, 1, 0x86, 0xa0]).await.unwrap();
            raw.write_all(&b"a".repeat(100_000)).await.unwrap();
            raw.write_all(b"\x80\x02bc").await.unwrap();
        };
        let ((), received) = tokio::join!(sending, client.next());
        assert_eq!(received.unwrap().unwrap().into_text().unwrap().len(), 100_002);
    }

    /// Returns the error of a client that receives these bytes after the handshake.
    async fn refused(bytes: &[u8]) -> Error {
        let (mut client, server) = connected(1024).await;
        server.into_inner().write_all(bytes).await.unwrap();
        client.next().await.unwrap().unwrap_err()
    }

    #[tokio::test]
    async fn a_length_over_the_limit_is_an_error_before_any_of_it_arrives() {
        let error = refused(&[0x81, 127, 0, 0, 1, 0, 0, 0, 0, 0]).await;
        assert_eq!(error.to_string(), "IO error: a frame of 1099511627776 bytes");
    }

    #[tokio::test]
    async fn a_long_control_frame_and_a_long_masked_frame_are_refused() {
        for first in [[0x89, 127], [0x81, 0xff]] {
            let error = refused(&[&first[..], &[0, 0, 0, 0, 0, 2, 0, 0], &[0; 4]].concat()).await;
            assert!(matches!(error, Error::Capacity(_)), "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_frame_that_is_announced_as_long_is_passed_on_as_a_short_one() {
        let bytes = b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x7f\0\0\0\0\x01\xff\xff\xfflittle";
        let mut passed = Vec::new();
        ShortFrames::new(&bytes[..], LONGEST as u64).read_to_end(&mut passed).await.unwrap();
        assert!(passed.ends_with(b"\r\n\r\n\x01\x7f\0\0\0\0\0\x01\0\0little"), "{passed:?}");
    }
}
