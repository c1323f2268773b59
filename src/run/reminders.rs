//! Decides when the agent is reminded of the limits of its run. Pure: the caller passes the time and the counts.

use std::time::Duration;

use jiff::SignedDuration;
use openhands_client::conversation::REMINDER;
use tokio::time::Instant;

/// The remaining fractions of a limit at which the agent is reminded.
const PARTS: [f64; 2] = [0.25, 0.1];

/// The limits that the agent is reminded of.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reminded {
    /// The start of the run, and its latest end.
    pub(super) time: Option<(Instant, Instant)>,
    /// The cost limit of the run, in US dollars.
    pub(super) cost: Option<f64>,
    /// The maximum number of steps for each message.
    pub(super) iterations: Option<u32>,
    /// The shortest remaining time for which a reminder is worth the interruption.
    pub(super) least_time: Duration,
}

/// The reminders that are due. Each fraction of each limit is reported once; if two are due together, the agent gets the last
/// one.
#[derive(Debug, Default)]
pub(super) struct Reminders {
    limits: Reminded,
    /// The number of [`PARTS`] that were reported.
    time: usize,
    cost: usize,
    iterations: usize,
}

impl Reminders {
    pub(super) fn new(limits: Reminded) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Starts a turn: the steps are counted for each message.
    pub(super) fn begin_turn(&mut self) {
        self.iterations = 0;
    }

    /// Returns when the next reminder of the time is due.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let (started, ends) = self.limits.time?;
        let left = (ends - started).mul_f64(*PARTS.get(self.time)?);
        (left >= self.limits.least_time).then(|| ends - left)
    }

    /// Returns the message with the reminders that are due now, if any, for this cost of the run in US dollars and these steps of
    /// the turn.
    pub(super) fn due(&mut self, now: Instant, spent: f64, iterations: u64) -> Option<String> {
        let mut parts = Vec::new();
        let mut time_is_due = false;
        while self.next_at().is_some_and(|at| at <= now) {
            (self.time, time_is_due) = (self.time + 1, true);
        }
        if let Some((_, ends)) = self.limits.time.filter(|_| time_is_due) {
            let left = ends.saturating_duration_since(now).as_secs();
            parts.push(format!("{:#} of the time", SignedDuration::from_secs(left.try_into().unwrap_or(i64::MAX))));
        }
        if let Some(limit) = self.limits.cost {
            let left = limit - spent;
            if is_due(&mut self.cost, left / limit) && left > 0.0 {
                parts.push(format!("${left:.2} of ${limit:.2}"));
            }
        }
        if let Some(limit) = self.limits.iterations {
            let left = u64::from(limit).saturating_sub(iterations);
            #[expect(clippy::cast_precision_loss, reason = "steps are few")]
            let part = left as f64 / f64::from(limit);
            if is_due(&mut self.iterations, part) && left > 0 {
                parts.push(format!("{left} of {limit} steps"));
            }
        }
        (!parts.is_empty()).then(|| {
            let left = parts.join(", ");
            format!(
                "{REMINDER} {left} left. Do what matters most first, and finish before the end. Do not answer this."
            )
        })
    }
}

/// Returns whether so little is left that the agent needs a reminder that it has not had yet.
fn is_due(told: &mut usize, left: f64) -> bool {
    let reached = PARTS.iter().filter(|part| left <= **part).count();
    let is_due = reached > *told;
    *told = reached.max(*told);
    is_due
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn each_part_of_the_time_is_told_once() {
        let started = Instant::now();
        let time = Some((started, started + MINUTE * 40));
        let mut reminders = Reminders::new(Reminded { time, ..Reminded::default() });
        let mut at = |minutes: u32| reminders.due(started + MINUTE * minutes, 0.0, 0);
        assert_eq!(at(29), None);
        assert!(at(30).unwrap().contains(" 10m of the time left."));
        assert_eq!(at(35), None);
        assert!(at(37).unwrap().contains(" 3m of the time left."));
        assert_eq!(at(39), None);
        // Both reminders are overdue.
        let mut late = Reminders::new(Reminded { time, ..Reminded::default() });
        assert!(late.due(started + MINUTE * 39, 0.0, 0).unwrap().contains(" 1m of the time left."));
        assert_eq!(late.next_at(), None);
    }

    #[test]
    fn a_reminder_that_would_leave_too_little_time_is_left_out() {
        let started = Instant::now();
        let time = Some((started, started + MINUTE));
        let reminders = |seconds| {
            Reminders::new(Reminded { time, least_time: Duration::from_secs(seconds), ..Reminded::default() })
        };
        assert_eq!(reminders(15).next_at(), Some(started + Duration::from_secs(45)));
        assert_eq!(reminders(16).next_at(), None);
        let mut one = reminders(15);
        assert!(one.due(started + MINUTE, 0.0, 0).is_some());
        assert_eq!(one.next_at(), None, "a tenth is 6 s");
    }

    #[test]
    fn cost_and_steps_are_told_too_and_steps_for_each_message() {
        let limits = Reminded { cost: Some(2.0), iterations: Some(20), ..Reminded::default() };
        let mut reminders = Reminders::new(limits);
        let now = Instant::now();
        assert_eq!(reminders.due(now, 1.0, 14), None);
        assert!(reminders.due(now, 1.5, 15).unwrap().contains(" $0.50 of $2.00, 5 of 20 steps left."));
        assert_eq!(reminders.due(now, 1.6, 17), None);
        assert!(reminders.due(now, 1.6, 18).unwrap().contains(": 2 of 20 steps left."));
        reminders.begin_turn();
        assert!(reminders.due(now, 1.9, 16).unwrap().contains(" $0.10 of $2.00, 4 of 20 steps left."));
        assert_eq!(reminders.due(now, 2.0, 20), None, "nothing is left");
    }
}
