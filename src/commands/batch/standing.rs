//! The progress of a batch for the live lines of a terminal: its totals, and a line for each running row.

use std::fmt::Write as _;
use std::time::Duration;

use crate::screen::cut;
use crate::sinks::status::State;
use crate::sinks::terminal::{Counts, Live, clock};

/// The longest name of a row in its line, in columns.
const LONGEST_KEY: usize = 24;

/// The rows that need no further attempt, the rate at which they are done, and the running rows.
#[derive(Debug, Default)]
pub(super) struct Standing {
    rows: usize,
    pub(super) completed: usize,
    pub(super) failed: usize,
    /// How many were done when this process began.
    before: usize,
    /// The running rows, in the order of the rows.
    running: Vec<RunningRow>,
}

/// A running row, as far as it is known here.
#[derive(Debug)]
struct RunningRow {
    index: usize,
    key: String,
    /// The start of its attempt, measured from the beginning.
    began: Duration,
    live: Live,
    counts: Counts,
}

impl Standing {
    /// Creates the progress of this many rows, none of them done.
    pub(super) fn new(rows: usize) -> Self {
        Self { rows, ..Self::default() }
    }

    /// Records that another row is done.
    pub(super) fn add(&mut self, has_completed: bool) {
        if has_completed {
            self.completed += 1;
        } else {
            self.failed += 1;
        }
    }

    /// Starts the measurement: rows that are added from now on determine the rate.
    pub(super) fn begin(&mut self) {
        self.before = self.completed + self.failed;
    }

    /// Records that an attempt of a row begins, this long after the beginning.
    pub(super) fn starts(&mut self, index: usize, key: &str, began: Duration) {
        let (place, key) = (self.running.partition_point(|row| row.index < index), cut(key, LONGEST_KEY));
        let row = RunningRow { index, key, began, live: Live::default(), counts: Counts::default() };
        self.running.insert(place, row);
    }

    /// Records that the attempt of a row has ended.
    pub(super) fn ends(&mut self, index: usize) {
        self.running.retain(|row| row.index != index);
    }

    /// Records the state of the run of a row.
    pub(super) fn has_state(&mut self, index: usize, state: &State) {
        if let Some(row) = self.running.iter_mut().find(|row| row.index == index) {
            (row.live, row.counts) = (Live::of(state), Counts::of(state, Duration::ZERO));
        }
    }

    /// Returns a line for each running row, without the limits of its task, at this time after the beginning.
    pub(super) fn rows(&self, elapsed: Duration) -> Vec<String> {
        let longest = self.running.iter().map(|row| row.key.chars().count()).max().unwrap_or_default();
        let line = |row: &RunningRow| {
            let counts = Counts { elapsed: elapsed.saturating_sub(row.began), ..row.counts };
            format!("{:longest$} | {}", row.key, row.live.line(&counts, 0))
        };
        self.running.iter().map(line).collect()
    }

    /// Returns the totals in two lines, at this time after the beginning.
    pub(super) fn line(&self, running: usize, waiting: usize, elapsed: Duration) -> String {
        let done = self.completed + self.failed;
        let mut line =
            format!("{done}/{} done | {} failed\n{running} running | {waiting} waiting", self.rows, self.failed);
        if let Some(number) = done.checked_sub(self.before).filter(|number| *number > 0) {
            let each = elapsed.as_secs_f64() / f64::from(u32::try_from(number).unwrap_or(u32::MAX));
            let left = Duration::try_from_secs_f64(each).unwrap_or_default();
            let left = left.saturating_mul(u32::try_from(self.rows.saturating_sub(done)).unwrap_or(u32::MAX));
            // Writing to a `String` cannot fail.
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
        let line = |standing: &Standing, seconds| standing.line(4, 14, Duration::from_secs(seconds));
        assert_eq!(line(&standing, 30), "2/20 done | 1 failed\n4 running | 14 waiting");
        standing.add(true);
        standing.add(true);
        assert_eq!(line(&standing, 30), "4/20 done | 1 failed\n4 running | 14 waiting | 4.0/min | 4:00 left");
    }

    #[test]
    fn each_row_that_runs_has_a_line_with_its_stage_time_cost_and_last_step() {
        let (mut standing, now) = (Standing::new(20), Duration::from_secs(100));
        standing.starts(7, "a-row", Duration::from_secs(35));
        standing.starts(3, "r3", now);
        standing.starts(9, &"long".repeat(25), now);
        let state = r#"{"stage": "turn", "turn": 1, "turns": 2, "iterations": 4, "cost": 0.126, "last_action": "terminal: make",
            "limits": {"seconds": 60, "cost": 2}}"#;
        standing.has_state(7, &serde_json::from_str(state).unwrap());
        standing.ends(9);
        assert_eq!(
            standing.rows(now),
            ["r3    | starting | 0:00", "a-row | turn 1/2 | 1:05 | $0.13 | step 4 | terminal: make"]
        );
        standing.starts(9, &"long".repeat(25), now);
        assert_eq!(standing.rows(now)[2], "longlonglonglonglonglon… | starting | 0:00");
        // Late updates change nothing.
        standing.ends(7);
        standing.has_state(7, &serde_json::from_str(state).unwrap());
        assert_eq!(standing.rows(now).len(), 2);
    }
}
