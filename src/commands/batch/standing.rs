//! How a batch stands, as the live line of a terminal tells it.

use std::fmt::Write as _;
use std::time::Duration;

use crate::sinks::terminal::clock;

/// The rows that need no further attempt, and how fast they came to that.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Standing {
    rows: usize,
    pub(super) completed: usize,
    pub(super) failed: usize,
    /// How many there were when this process began.
    before: usize,
}

impl Standing {
    /// Of so many rows, none is done.
    pub(super) fn new(rows: usize) -> Self {
        Self { rows, ..Self::default() }
    }

    /// One more row is done.
    pub(super) fn add(&mut self, has_completed: bool) {
        if has_completed {
            self.completed += 1;
        } else {
            self.failed += 1;
        }
    }

    /// What is added from now on tells how fast rows are done.
    pub(super) fn begin(&mut self) {
        self.before = self.completed + self.failed;
    }

    /// The line, some time after the beginning.
    pub(super) fn line(&self, running: usize, elapsed: Duration) -> String {
        let done = self.completed + self.failed;
        let mut line = format!("{running} running | {done}/{} done | {} failed", self.rows, self.failed);
        if let Some(number) = done.checked_sub(self.before).filter(|number| *number > 0) {
            let each = elapsed.as_secs_f64() / f64::from(u32::try_from(number).unwrap_or(u32::MAX));
            let left = Duration::try_from_secs_f64(each).unwrap_or_default();
            let left = left.saturating_mul(u32::try_from(self.rows.saturating_sub(done)).unwrap_or(u32::MAX));
            // Writing into a String cannot fail.
            let _ = write!(line, " | {:.1}/min | {} left", 60.0 / each.max(0.001), clock(left.as_secs()));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_and_the_time_left_follow_from_the_rows_of_this_process() {
        let mut standing = Standing::new(20);
        standing.add(true);
        standing.add(false);
        standing.begin();
        let line = |standing: &Standing, seconds| standing.line(4, Duration::from_secs(seconds));
        assert_eq!(line(&standing, 30), "4 running | 2/20 done | 1 failed");
        standing.add(true);
        standing.add(true);
        assert_eq!(line(&standing, 30), "4 running | 4/20 done | 1 failed | 4.0/min | 4:00 left");
    }
}
