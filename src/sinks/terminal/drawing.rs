//! The live line, drawn again a few times a second.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::interval;

use crate::logging::Lines;

/// Between two drawings.
const BETWEEN: Duration = Duration::from_millis(250);

/// Draws a line until it is dropped, which takes the line away.
pub(crate) struct Drawing {
    lines: Lines,
    task: JoinHandle<()>,
}

impl Drawing {
    /// Draws what `line` gives. Must be called in a tokio runtime.
    #[must_use]
    pub(crate) fn start(lines: Lines, line: impl Fn() -> String + Send + 'static) -> Self {
        let task = tokio::spawn({
            let lines = lines.clone();
            async move {
                let mut ticks = interval(BETWEEN);
                loop {
                    ticks.tick().await;
                    lines.live(line());
                }
            }
        });
        Self { lines, task }
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        self.task.abort();
        self.lines.live(String::new());
    }
}
