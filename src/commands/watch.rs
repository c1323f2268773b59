//! The live view of a command on a terminal: a line that changes in place, and below it one line for each row of a batch.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::future::pending;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openhands_client::agent_server::wire::Cost;
use openhands_client::agent_server::{AgentServer, AgentServerClient};
use openhands_client::sandbox::copy;
use tokio::time::{Instant, sleep};

use crate::logging::Lines;
use crate::screen::{height, width};
use crate::sinks::status::State;
use crate::sinks::terminal::{Counts, Drawing, Live};

/// The interval between two reads of the state of a run in a sandbox.
const BETWEEN_STATES: Duration = Duration::from_secs(1);

/// The live lines of a command; `None` if there is no live view. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Watch(Option<Rc<Shown>>);

struct Shown {
    lines: Lines,
    now: Arc<Mutex<Option<Now>>>,
    drawing: RefCell<Option<Drawing>>,
}

/// What is in progress.
struct Now {
    live: Live,
    counts: Counts,
    /// The lines below.
    rows: Vec<String>,
    since: Instant,
    /// The client whose bytes are counted, and how many it had moved and announced before.
    transfer: Option<(AgentServerClient, u64, u64)>,
    /// Whether the live line is hidden, because output without a final line break is in its place.
    is_hidden: bool,
}

impl Watch {
    /// Creates live lines below these.
    pub(super) fn of(lines: Lines) -> Self {
        Self(Some(Rc::new(Shown { lines, now: Arc::default(), drawing: RefCell::default() })))
    }

    /// Returns whether there is a live view.
    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Shows the start of a stage. `doing` describes it, without secrets and terminal control sequences.
    pub(super) fn begin(&self, stage: &str, doing: impl Into<String>, limit: Option<Duration>) {
        let mut counts = Counts::default();
        counts.limits.seconds = limit.map(|limit| limit.as_secs_f64());
        let live = Live { stage: stage.to_owned(), doing: doing.into(), ..Live::default() };
        self.show(live, counts, None);
    }

    /// Updates the current stage: its description, its cost and cost limit in US dollars, and the lines below it.
    pub(super) fn change(&self, doing: String, rows: Vec<String>, cost: f64, limit: Option<f64>) {
        if let Some(now) = self.0.as_ref().map(|shown| shown.now()).as_deref_mut().and_then(Option::as_mut) {
            now.live.doing = doing;
            now.rows = rows;
            now.counts.cost = Cost::dollars(cost);
            now.counts.limits.cost = limit;
        }
    }

    /// Shows a transfer: how much this client has moved since its start, and how fast.
    pub(super) fn begin_transfer(&self, stage: &str, what: impl Into<String>, client: &AgentServerClient) {
        let live = Live { stage: stage.to_owned(), doing: what.into(), ..Live::default() };
        let transfer = Some((client.clone(), client.transferred(), client.announced()));
        self.show(live, Counts::default(), transfer);
    }

    fn show(&self, live: Live, counts: Counts, transfer: Option<(AgentServerClient, u64, u64)>) {
        let Some(shown) = &self.0 else { return };
        *shown.now() = Some(Now { live, counts, rows: Vec::new(), since: Instant::now(), transfer, is_hidden: false });
        shown.drawing.borrow_mut().get_or_insert_with(|| {
            let now = Arc::clone(&shown.now);
            Drawing::start(shown.lines.clone(), move || lock(&now).as_ref().map(Now::lines).unwrap_or_default())
        });
    }

    /// Removes the lines, so that others can write to the terminal.
    pub(super) async fn end(&self) {
        if let Some(shown) = &self.0 {
            *shown.now() = None;
            drop(shown.drawing.take());
            shown.lines.written().await;
        }
    }

    /// Writes output of the command in place of the live line. If the output ends with a line break, the live line appears again
    /// below it.
    pub(super) async fn aside(&self, output: &[u8], write: impl Future<Output = ()>) {
        let Some(shown) = &self.0 else { return write.await };
        shown.hide(true);
        shown.lines.live(String::new());
        shown.lines.written().await;
        write.await;
        shown.hide(!output.ends_with(b"\n"));
    }

    /// Shows the state that a run in the sandbox writes to this file. Never returns.
    pub(super) async fn follow_run(&self, server: &AgentServer, status_file: &str) -> ! {
        loop {
            let Some(shown) = &self.0 else {
                pending::<()>().await;
                continue;
            };
            // If the state cannot be read, the file does not exist yet, or not any more.
            if let Ok(text) = copy::download_bytes(server, status_file).await
                && let Ok(state) = serde_json::from_slice::<State>(&text)
                && let Some(now) = shown.now().as_mut()
            {
                now.take(&state);
            }
            sleep(BETWEEN_STATES).await;
        }
    }
}

impl Shown {
    fn now(&self) -> MutexGuard<'_, Option<Now>> {
        lock(&self.now)
    }

    fn hide(&self, is_hidden: bool) {
        if let Some(now) = self.now().as_mut() {
            now.is_hidden = is_hidden;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Now {
    fn take(&mut self, state: &State) {
        self.live = Live::of(state);
        self.counts = Counts::of(state, Duration::ZERO);
    }

    fn lines(&self) -> String {
        let mut lines = self.line();
        let room = height().saturating_sub(lines.lines().count() + 1);
        if !self.is_hidden {
            add(&mut lines, &self.rows, room);
        }
        lines
    }

    fn line(&self) -> String {
        if self.is_hidden {
            return String::new();
        }
        let elapsed = self.since.elapsed();
        let counts = Counts { elapsed, ..self.counts };
        let Some((client, moved, announced)) = &self.transfer else { return self.live.line(&counts, width()) };
        let (moved, announced) = (client.transferred() - moved, client.announced() - announced);
        let moved = progress(moved, announced, elapsed);
        let live = Live { doing: format!("{moved} | {}", self.live.doing), ..self.live.clone() };
        live.line(&counts, width())
    }
}

/// Adds the rows that fit, and the number of the others.
fn add(lines: &mut String, rows: &[String], room: usize) {
    let shown = if rows.len() <= room { rows.len() } else { room.saturating_sub(1) };
    for row in &rows[..shown] {
        lines.push('\n');
        lines.push_str(row);
    }
    if shown < rows.len() && room > 0 {
        // Writing to a `String` cannot fail.
        let _ = write!(lines, "\nand {} more", rows.len() - shown);
    }
}

/// Returns `12.3 MB of 40.0 MB, 4.1 MB/s`, without the total if it is unknown.
fn progress(bytes: u64, total: u64, elapsed: Duration) -> String {
    let per_second = u128::from(bytes) * 1000 / elapsed.as_millis().max(1);
    let total = if total >= bytes.max(1) { format!(" of {}", size(total)) } else { String::new() };
    format!("{}{total}, {}/s", size(bytes), size(u64::try_from(per_second).unwrap_or(u64::MAX)))
}

/// Returns `812 B`, `4.1 kB` or `12.3 MB`, in powers of 1000.
fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..1_000 => return format!("{bytes} B"),
        1_000..1_000_000 => (1_000, "kB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    };
    format!("{}.{} {name}", bytes / unit, bytes % unit / (unit / 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_counted() {
        let rows = ["a", "b", "c"].map(str::to_owned);
        for (room, shown) in [
            (4, "batch\na\nb\nc"),
            (3, "batch\na\nb\nc"),
            (2, "batch\na\nand 2 more"),
            (1, "batch\nand 3 more"),
            (0, "batch"),
        ] {
            let mut lines = "batch".to_owned();
            add(&mut lines, &rows, room);
            assert_eq!(lines, shown, "{room}");
        }
    }

    #[test]
    fn bytes_and_their_rate_have_the_unit_that_fits() {
        for (bytes, total, seconds, shown) in [
            (0, 0, 0, "0 B, 0 B/s"),
            (0, 5_000, 0, "0 B of 5.0 kB, 0 B/s"),
            (999, 0, 1, "999 B, 999 B/s"),
            (12_345_678, 40_000_000, 3, "12.3 MB of 40.0 MB, 4.1 MB/s"),
            (1_000, 999, 2, "1.0 kB, 500 B/s"),
            (5_990_000_000, 5_990_000_000, 1, "5.9 GB of 5.9 GB, 5.9 GB/s"),
        ] {
            assert_eq!(progress(bytes, total, Duration::from_secs(seconds)), shown);
        }
    }
}
