//! Standard output, written beside the run.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Lines that may wait for a slow reader; further ones hold the run back.
const WAITING_LINES: usize = 64;

/// Writes lines to standard output, as long as someone reads them.
///
/// A thread for the whole run does it: at its end there may be none to get any more. Where there is none at the start, lines are
/// written in place.
#[derive(Debug)]
pub(super) struct Stdout {
    lines: Option<mpsc::Sender<String>>,
    /// Tells when everything is written.
    written: Option<oneshot::Receiver<()>>,
    patience: Duration,
}

impl Stdout {
    /// A line that no one reads for the time of `patience` is the last one. Must be called in a tokio runtime.
    pub(super) fn new(patience: Duration) -> Self {
        let (lines, waiting) = mpsc::channel(WAITING_LINES);
        let (tell, written) = oneshot::channel();
        // A failed start of a thread drops its closure, so the work is kept where both ways find it.
        let shared = Arc::new(Mutex::new(Some((waiting, tell))));
        let of_thread = Arc::clone(&shared);
        let started = thread::Builder::new().name("stdout".to_owned()).spawn(move || {
            if let Some((mut waiting, tell)) = take(&of_thread) {
                let mut stdout = io::BufWriter::new(io::stdout());
                while let Some(line) = waiting.blocking_recv()
                    && write(&mut stdout, line, &mut waiting)
                {}
                let _ = tell.send(());
            }
        });
        if started.is_err()
            && let Some((mut waiting, tell)) = take(&shared)
        {
            tokio::spawn(async move {
                let mut stdout = io::BufWriter::new(io::stdout());
                while let Some(line) = waiting.recv().await
                    && write(&mut stdout, line, &mut waiting)
                {}
                let _ = tell.send(());
            });
        }
        Self { lines: Some(lines), written: Some(written), patience }
    }

    pub(super) async fn line(&mut self, line: String) {
        let Some(lines) = &self.lines else { return };
        // Refused when the writer has given up.
        if timeout(self.patience, lines.send(line)).await.is_err() {
            tracing::warn!("standard output is not read; the run continues without it");
            (self.lines, self.written) = (None, None);
        }
    }

    /// Waits until everything is written.
    pub(super) async fn finish(&mut self) {
        self.lines = None;
        if let Some(written) = self.written.take() {
            let _ = written.await;
        }
    }
}

fn take<T>(shared: &Mutex<Option<T>>) -> Option<T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Writes this line and those that wait behind it. Whether anyone still reads.
fn write(stdout: &mut impl Write, line: String, waiting: &mut mpsc::Receiver<String>) -> bool {
    let all = || -> io::Result<()> {
        let mut next = Ok(line);
        while let Ok(line) = next {
            stdout.write_all(line.as_bytes())?;
            stdout.write_all(b"\n")?;
            next = waiting.try_recv();
        }
        stdout.flush()
    };
    let written = all();
    if let Err(error) = &written {
        tracing::warn!(%error, "standard output is closed; the run continues without it");
    }
    written.is_ok()
}
