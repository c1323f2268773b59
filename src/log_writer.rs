//! A log writer that never blocks: a separate thread writes the lines. If the reader is slow, lines are dropped instead of
//! delaying the run. If no thread can be started, the caller writes the lines itself.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// How long the end of the process waits until all lines are written.
const LAST_LINES: Duration = Duration::from_secs(1);
/// The interval between two attempts to put the end marker into a full queue.
const RETRY: Duration = Duration::from_millis(5);

/// A job that the writing thread performs with the output.
type Job<W> = Box<dyn FnOnce(&mut W) + Send>;

enum Message<W> {
    Line(Vec<u8>),
    Job(Job<W>),
    /// Signals that everything before it is written.
    End(SyncSender<()>),
}

/// Accepts lines.
pub(crate) struct LogWriter<W>(Way<W>);

enum Way<W> {
    Queue(SyncSender<Message<W>>),
    InPlace(Arc<Mutex<W>>),
}

impl<W> Clone for LogWriter<W> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Way::Queue(queue) => Way::Queue(queue.clone()),
            Way::InPlace(out) => Way::InPlace(Arc::clone(out)),
        })
    }
}

/// Drop this last: dropping it waits a moment until the previous lines are written.
pub(crate) struct LogGuard<W>(Option<SyncSender<Message<W>>>);

/// Starts a writer in front of `out`. At most `waiting` lines wait in its queue.
pub(crate) fn start<W: Write + Send + 'static>(waiting: usize, out: W) -> (LogWriter<W>, LogGuard<W>) {
    let (queue, lines) = sync_channel(waiting);
    let out = Arc::new(Mutex::new(out));
    let of_thread = Arc::clone(&out);
    match thread::Builder::new().name("log".to_owned()).spawn(move || write_all(lines, &of_thread)) {
        Ok(_) => (LogWriter(Way::Queue(queue.clone())), LogGuard(Some(queue))),
        Err(_) => (LogWriter(Way::InPlace(out)), LogGuard(None)),
    }
}

impl<W: Send + 'static> LogWriter<W> {
    /// Runs a job between two lines. Like a line, it is dropped if the queue is full; returns `false` in that case.
    pub(crate) fn between_lines(&self, job: impl FnOnce(&mut W) + Send + 'static) -> bool {
        match &self.0 {
            Way::Queue(queue) => queue.try_send(Message::Job(Box::new(job))).is_ok(),
            Way::InPlace(out) => {
                job(&mut out.lock().unwrap_or_else(PoisonError::into_inner));
                true
            }
        }
    }
}

fn write_all<W: Write>(lines: Receiver<Message<W>>, out: &Mutex<W>) {
    let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
    for message in lines {
        match message {
            // The program continues if standard error is closed.
            Message::Line(line) => _ = out.write_all(&line),
            Message::Job(job) => job(&mut out),
            Message::End(told) => {
                let _ = out.flush();
                let _ = told.send(());
            }
        }
    }
}

impl<W: Write> Write for LogWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            // If the queue is full, the line is dropped.
            Way::Queue(queue) => _ = queue.try_send(Message::Line(bytes.to_vec())),
            Way::InPlace(out) => out.lock().unwrap_or_else(PoisonError::into_inner).write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w, W: Write + 'w> MakeWriter<'w> for LogWriter<W> {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

impl<W> Drop for LogGuard<W> {
    fn drop(&mut self) {
        let Some(queue) = &self.0 else { return };
        let deadline = Instant::now() + LAST_LINES;
        let (tell, told) = sync_channel(1);
        let mut end = Message::End(tell);
        while let Err(TrySendError::Full(back)) = queue.try_send(end) {
            if Instant::now() >= deadline {
                return;
            }
            end = back;
            thread::sleep(RETRY);
        }
        let _ = told.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_guard_waits_for_what_was_put_before() {
        let out = Shared::default();
        let (mut writer, guard) = start(100, out.clone());
        for _ in 0..100 {
            writer.write_all(b"line\n").unwrap();
        }
        drop(guard);
        assert_eq!(out.0.lock().unwrap().len(), 500);
    }

    #[test]
    fn a_slow_reader_costs_lines_and_no_time() {
        struct Stuck;
        impl Write for Stuck {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                loop {
                    thread::park();
                }
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (mut writer, guard) = start(2, Stuck);
        let began = Instant::now();
        for _ in 0..100 {
            writer.write_all(b"line\n").unwrap();
        }
        assert!(began.elapsed() < LAST_LINES);
        drop(guard);
        assert!(began.elapsed() < LAST_LINES * 5);
    }
}
