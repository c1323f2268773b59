//! Pipes between streamed bodies and threads that read or write.

use std::io::{self, Read, Write};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::mpsc;

/// The maximum number of pieces that wait between a file and a connection.
const WAITING_PIECES: usize = 8;
/// The size of a piece, in bytes.
const PIECE: usize = 256 * 1024;

/// The writing end of a pipe from a thread to a body.
pub(super) struct PipeWriter {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

/// Creates a pipe from a thread to a body.
pub(super) fn pipe() -> (PipeWriter, impl Stream<Item = io::Result<Bytes>> + Send + 'static) {
    let (pieces, waiting) = mpsc::channel(WAITING_PIECES);
    let read = stream::unfold(waiting, async |mut waiting| waiting.recv().await.map(|piece| (piece, waiting)));
    (PipeWriter { pieces, buffer: Vec::new() }, read)
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = Bytes::from(std::mem::take(&mut self.buffer));
        self.pieces.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// The reading end of a pipe from a body to a thread.
pub(super) struct PipeReader {
    waiting: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

/// Creates a pipe from a body to a thread.
pub(super) fn reverse_pipe() -> (mpsc::Sender<Bytes>, PipeReader) {
    let (pieces, waiting) = mpsc::channel(WAITING_PIECES);
    (pieces, PipeReader { waiting, piece: Bytes::new() })
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.waiting.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.piece.len());
        buffer[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}
