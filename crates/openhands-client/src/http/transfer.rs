//! Bodies of any size, in both directions: streamed, and limited by their progress instead of their length.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use reqwest::Body;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, RANGE};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{HttpError, Request, Response, ResponseHead, Transfers};

/// Longer than any transfer: its limit is its progress.
const NO_LIMIT: Duration = Duration::from_secs(30 * 24 * 3600);

/// A body of pieces that are read while they are sent.
pub struct Upload {
    pieces: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>,
    size: Option<u64>,
    sent: Arc<AtomicU64>,
}

impl Upload {
    /// A body of this size in bytes, or of an unknown one.
    pub fn new(size: Option<u64>, pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        let sent = Arc::new(AtomicU64::new(0));
        let of_pieces = Arc::clone(&sent);
        let counted = pieces.inspect(move |piece| count(&of_pieces, piece.as_ref().map_or(0, Bytes::len)));
        Self { pieces: Box::pin(counted), size, sent }
    }
}

fn count(counter: &AtomicU64, bytes: usize) {
    counter.fetch_add(bytes as u64, Ordering::Relaxed);
}

impl Request {
    /// Sends the request with a file as its body: the field `file` of a form. The limit is [`TimeLimits::stalled`](crate::time_limits::TimeLimits::stalled) without
    /// progress; the answer may come [`TimeLimits::busy_request`](crate::time_limits::TimeLimits::busy_request) after the last byte, and later for a large file.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn send_file(self, upload: Upload) -> Result<Response, HttpError> {
        let Upload { pieces, size, sent } = upload;
        let Self { builder, target, time_limits, transfers } = self;
        transfers.announced.fetch_add(size.unwrap_or(0), Ordering::Relaxed);
        let pieces = pieces.inspect(move |piece| count(&transfers.moved, piece.as_ref().map_or(0, Bytes::len)));
        let Form { content_type, head, tail } = Form::of_one_file();
        let length = size.map(|size| size + (head.len() + tail.len()) as u64);
        let piece = |text: String| stream::iter([Ok(Bytes::from(text))]);
        let body = Body::wrap_stream(piece(head).chain(pieces).chain(piece(tail)));
        let builder = builder.header(CONTENT_TYPE, content_type).body(body);
        let builder = match length {
            Some(length) => builder.header(CONTENT_LENGTH, length),
            None => builder,
        };
        let stalled = HttpError::Timeout { target: target.clone() };
        let request = async {
            let response = builder.timeout(NO_LIMIT).send().await;
            let response = response.map_err(|error| HttpError::from_transport(target.clone(), error))?;
            Response::read(ResponseHead { response, target }).await
        };
        let mut request = Box::pin(request);
        let mut before = 0;
        let mut waited = Duration::ZERO;
        loop {
            if let Ok(answer) = timeout(time_limits.stalled, &mut request).await {
                return answer;
            }
            let now = sent.load(Ordering::Relaxed);
            waited = if now == before { waited + time_limits.stalled } else { Duration::ZERO };
            before = now;
            let complete = size.is_none_or(|size| now >= size);
            // The server writes the file when all of it has come.
            let patience = time_limits.busy_request + Duration::from_secs(now / SLOW_DISK);
            if waited > Duration::ZERO && (!complete || waited > patience) {
                return Err(stalled);
            }
        }
    }

    /// Asks only for these bytes of the body, from the first to the last.
    pub fn range(self, first: u64, last: u64) -> Self {
        Self { builder: self.builder.header(RANGE, format!("bytes={first}-{last}")), ..self }
    }

    /// Sends the request and leaves the body to be read piece by piece. Each piece may take [`TimeLimits::stalled`](crate::time_limits::TimeLimits::stalled).
    ///
    /// # Errors
    /// [`HttpError`]; an answer that is not 2xx is one too.
    pub async fn download(self) -> Result<Download, HttpError> {
        let Self { builder, target, time_limits, transfers } = self;
        let sent = timeout(time_limits.busy_request, builder.timeout(NO_LIMIT).send()).await;
        let response = sent
            .map_err(|_| HttpError::Timeout { target: target.clone() })?
            .map_err(|error| HttpError::from_transport(target.clone(), error))?;
        if response.status().is_success() {
            transfers.announced.fetch_add(response.content_length().unwrap_or(0), Ordering::Relaxed);
            return Ok(Download { response, first: None, target, stalled: time_limits.stalled, transfers });
        }
        Err(ResponseHead { response, target }.into_error().await)
    }
}

/// What stands around a file that is the one field, `file`, of a form (RFC 7578).
struct Form {
    content_type: String,
    head: String,
    tail: String,
}

impl Form {
    fn of_one_file() -> Self {
        // Random, so that no file holds it.
        let boundary = Uuid::new_v4().simple();
        Self {
            content_type: format!("multipart/form-data; boundary={boundary}"),
            head: format!("--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"file\"\r\n\r\n"),
            tail: format!("\r\n--{boundary}--\r\n"),
        }
    }
}

/// Bytes a second that any disk takes.
const SLOW_DISK: u64 = 2 * 1024 * 1024;

/// A body that is being read.
#[derive(Debug)]
pub struct Download {
    response: reqwest::Response,
    /// What has been read already.
    first: Option<Bytes>,
    target: String,
    /// How long a piece may take.
    stalled: Duration,
    transfers: Arc<Transfers>,
}

impl Download {
    /// The status: 200, or 206 for a range.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The size of the body in bytes, if the server announces it. A body that ends earlier is an error.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The same without its first bytes; nothing where it has no more.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn after(mut self, offset: u64) -> Result<Option<Self>, HttpError> {
        let mut left = offset;
        while let Some(mut piece) = self.piece().await? {
            if (piece.len() as u64) > left {
                self.first = Some(piece.split_off(usize::try_from(left).unwrap_or(usize::MAX)));
                return Ok(Some(self));
            }
            left -= piece.len() as u64;
        }
        Ok(None)
    }

    /// The next piece; nothing at the end.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn piece(&mut self) -> Result<Option<Bytes>, HttpError> {
        if let Some(piece) = self.first.take() {
            return Ok(Some(piece));
        }
        tokio::select! {
            piece = self.response.chunk() => {
                let piece = piece.map_err(|error| HttpError::from_transport(self.target.clone(), error))?;
                count(&self.transfers.moved, piece.as_ref().map_or(0, Bytes::len));
                Ok(piece)
            }
            () = sleep(self.stalled) => Err(HttpError::Timeout { target: self.target.clone() }),
        }
    }
}
