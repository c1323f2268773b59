//! Request and response bodies of any size: streamed, with a limit on the time without progress instead of the total time.

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

/// Longer than any transfer, which is limited by its progress.
const NO_LIMIT: Duration = Duration::from_secs(30 * 24 * 3600);

/// A body in pieces that are read while they are sent.
pub struct Upload {
    pieces: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>,
    size: Option<u64>,
    sent: Arc<AtomicU64>,
}

impl Upload {
    /// Creates a body of this size in bytes, or of unknown size.
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
    /// Sends the request with a file as its body, in the form field `file`. The transfer fails after
    /// [`TimeLimits::stalled`](crate::time_limits::TimeLimits::stalled) without progress. The response may take
    /// [`TimeLimits::busy_request`](crate::time_limits::TimeLimits::busy_request) after the last byte, and longer for a large
    /// file.
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
            // The server writes the file when the whole body has arrived.
            let patience = time_limits.busy_request + Duration::from_secs(now / SLOW_DISK);
            if waited > Duration::ZERO && (!complete || waited > patience) {
                return Err(stalled);
            }
        }
    }

    /// Requests only these bytes of the body, from the first to the last.
    pub fn range(self, first: u64, last: u64) -> Self {
        Self { builder: self.builder.header(RANGE, format!("bytes={first}-{last}")), ..self }
    }

    /// Sends the request, and leaves the body to be read in pieces. Each piece may take
    /// [`TimeLimits::stalled`](crate::time_limits::TimeLimits::stalled).
    ///
    /// # Errors
    /// [`HttpError`], also for a response with a status other than 2xx.
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

/// The text around a file that is the only field, `file`, of a form (RFC 7578).
struct Form {
    content_type: String,
    head: String,
    tail: String,
}

impl Form {
    fn of_one_file() -> Self {
        // Random, so that no file contains it.
        let boundary = Uuid::new_v4().simple();
        Self {
            content_type: format!("multipart/form-data; boundary={boundary}"),
            head: format!("--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"file\"\r\n\r\n"),
            tail: format!("\r\n--{boundary}--\r\n"),
        }
    }
}

/// A number of bytes per second that any disk can write.
const SLOW_DISK: u64 = 2 * 1024 * 1024;

/// A response body that is being read.
#[derive(Debug)]
pub struct Download {
    response: reqwest::Response,
    /// The part that has already been read.
    first: Option<Bytes>,
    target: String,
    /// The time limit of a piece.
    stalled: Duration,
    transfers: Arc<Transfers>,
}

impl Download {
    /// Returns the status: 200, or 206 for a range.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// Returns the size of the body in bytes, if the server announces it. A body that ends earlier is an error.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// Skips the first bytes of the body. Returns `None` if the body has no more bytes.
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

    /// Reads the next piece; `None` at the end.
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
