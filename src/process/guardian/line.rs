//! The guardian's end of the line to its runner.

use std::io::{ErrorKind, Read as _};
use std::os::unix::net::UnixStream;

use super::protocol::Message;

/// The guardian's end of the line.
pub(super) struct Line {
    stream: UnixStream,
    unread: Vec<u8>,
    /// The runner's end is closed: the runner is no more.
    closed: bool,
    /// Whether that was reported.
    is_over: bool,
}

/// What comes on the line.
pub(super) enum Heard {
    Message(Box<Message>),
    /// Once, after the last message.
    End,
}

impl Line {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, unread: Vec::new(), closed: false, is_over: false }
    }

    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Whether nothing more comes.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Waits for the first message. `None` when the line is closed before.
    pub(super) fn first(&mut self) -> Option<Message> {
        loop {
            match self.unread() {
                Some(Heard::Message(message)) => return Some(*message),
                Some(Heard::End) => return None,
                None => self.read(),
            }
        }
    }

    /// What was read and not given yet.
    pub(super) fn unread(&mut self) -> Option<Heard> {
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            if let Ok(message) = serde_json::from_slice(&line) {
                return Some(Heard::Message(Box::new(message)));
            }
        }
        // A half-written line is no message: the runner died while it wrote.
        let ends = self.closed && !self.is_over;
        self.is_over |= ends;
        ends.then_some(Heard::End)
    }

    /// Reads what there is; waits where there is nothing.
    pub(super) fn read(&mut self) {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.closed = true,
            Ok(count) => self.unread.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => self.closed = true,
        }
    }
}
