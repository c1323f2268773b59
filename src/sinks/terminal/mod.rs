//! A run on a terminal: a permanent line for each step, a live line, and a summary at the end.
//!
//! `steps`, `live` and `summary` decide what the lines say, and `paint` how they look. The thread of the log draws them.

mod drawing;
mod error;
mod live;
mod steps;
mod summary;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use openhands_client::secret::Redactor;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

pub(crate) use self::drawing::Drawing;
pub(crate) use self::error::{error_text, tell_failure};
pub(crate) use self::live::{Counts, Live, clock};
use self::steps::Steps;
use self::summary::summary;
use super::status::LimitsInForce;
use super::tally::Tally;
use super::{Record, Sink};
use crate::logging::Lines;
use crate::paint::Line;
use crate::screen::{cut, width};
use crate::view::View;

/// How long the end of a run waits for a terminal that has stopped.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Shows a run on a terminal.
pub(crate) struct Terminal {
    display: Arc<Display>,
    steps: Steps,
    redactor: Redactor,
    /// The path of the run folder, for the summary.
    folder: Option<String>,
    drawing: Option<Drawing>,
}

/// What the sink and the task that draws share.
struct Display {
    view: View,
    lines: Lines,
    live: Mutex<Live>,
    started: Instant,
    tally: Tally,
    limits: Arc<watch::Sender<LimitsInForce>>,
}

impl Terminal {
    /// Shows a run that started then. What is counted is `tally`'s; the limits are set when they are known. Must be called in a
    /// tokio runtime.
    #[must_use]
    pub(crate) fn new(
        view: View,
        lines: Lines,
        started: Instant,
        tally: Tally,
        limits: Arc<watch::Sender<LimitsInForce>>,
        redactor: Redactor,
        folder: Option<String>,
    ) -> Self {
        let display = Arc::new(Display { view, lines, live: Mutex::default(), started, tally, limits });
        let drawing = Drawing::start(display.lines.clone(), {
            let display = Arc::clone(&display);
            move || display.line()
        });
        let steps = Steps::new(redactor.clone(), view.args.verbose);
        Self { display, steps, redactor, folder, drawing: Some(drawing) }
    }

    fn say(&self, lines: Vec<Line>) {
        if !lines.is_empty() {
            self.display.say(lines);
        }
    }

    /// Takes the live line away, says the last words, and waits until both are done: then standard output has the terminal.
    async fn end(&mut self, lines: Vec<Line>) {
        self.drawing = None;
        self.say(lines);
        let _ = timeout(LAST_LINES, self.display.lines.written()).await;
    }
}

impl Display {
    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self) -> String {
        let counts = Counts {
            elapsed: self.started.elapsed(),
            cost: self.tally.cost(),
            iterations: self.tally.iterations(),
            limits: *self.limits.borrow(),
        };
        self.live().line(&counts, width())
    }

    fn say(&self, lines: Vec<Line>) {
        let longest = if self.view.args.verbose { usize::MAX } else { width() };
        for line in lines {
            let longest = if line.is_whole { usize::MAX } else { longest };
            self.lines.say(line.kind.paint(&cut(&line.text, longest), self.view.has_colors));
        }
    }
}

impl Sink for Terminal {
    fn record<'a>(&'a mut self, record: &'a Record<'_>) -> BoxFuture<'a, ()> {
        self.steps.see(record, &mut self.display.live(), self.display.tally.iterations());
        let lines = self.steps.take();
        async move {
            match record {
                Record::Result(result) => {
                    let shows_answer = !self.display.view.shows_output;
                    let end = summary(result, shows_answer, self.folder.as_deref(), &self.redactor);
                    self.end(lines.into_iter().chain(end).collect()).await;
                }
                Record::Amended(_) => {}
                _ => self.say(lines),
            }
        }
        .boxed()
    }
}
