//! Which row runs next. Pure: times are those since the start of the batch.
//!
//! | an attempt ends | and the row |
//! | --- | --- |
//! | completed | is done |
//! | failed, and another sandbox may help | waits for its next attempt, as often as `--retries` allows |
//! | failed otherwise | is done |
//! | the account has no place for a sandbox | waits; this is not an attempt |
//! | the batch ends early | stays open for the next start of the batch |

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::batch_folder::FailureClass;

/// The first delay before a row is tried again. It doubles with each attempt.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// What a batch may do at once, and in all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueLimits {
    /// Rows at the same time.
    pub(crate) concurrency: usize,
    /// Further attempts of a row after a failure that another sandbox may fix.
    pub(crate) retries: u32,
    /// US dollars for all rows.
    pub(crate) cost: Option<f64>,
}

/// An attempt of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Attempt {
    /// Which row of those that were selected.
    pub(crate) row: usize,
    /// Which attempt, from 1.
    pub(crate) number: u32,
    /// The cost limit of the row, in US dollars.
    pub(crate) cost_limit: Option<f64>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Ending {
    /// The run has completed.
    Completed,
    /// The run has failed.
    Failed(FailureClass),
    /// The provider has no place for a sandbox.
    NoPlace {
        /// When to ask again, if the provider says so.
        retry_after: Option<Duration>,
    },
    /// The batch ended before the run had begun.
    NotBegun,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Next {
    /// Start this attempt.
    Start(Attempt),
    /// Wait for the end of an attempt, or until this time.
    Wait(Option<Duration>),
    /// Nothing runs, and nothing is to be started.
    Over,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    attempt: Attempt,
    not_before: Duration,
}

/// The rows that wait and those that run.
#[derive(Debug)]
pub(crate) struct Queue {
    limits: QueueLimits,
    waiting: VecDeque<Waiting>,
    running: HashMap<usize, Attempt>,
    retried: HashMap<usize, u32>,
    /// US dollars of the attempts that have ended.
    spent: f64,
    /// US dollars of the attempts that run, as far as they are known.
    spent_by_running: HashMap<usize, f64>,
    /// The most that an attempt has cost.
    dearest: f64,
    is_stopped: bool,
    is_out_of_money: bool,
}

impl Queue {
    /// Creates a queue of these attempts, in their order. Earlier attempts have had this cost.
    pub(crate) fn new(limits: QueueLimits, attempts: impl IntoIterator<Item = Attempt>, spent: f64) -> Self {
        let waiting = attempts.into_iter().map(|attempt| Waiting { attempt, not_before: Duration::ZERO }).collect();
        Self {
            limits,
            waiting,
            running: HashMap::new(),
            retried: HashMap::new(),
            spent,
            spent_by_running: HashMap::new(),
            dearest: 0.0,
            is_stopped: false,
            is_out_of_money: false,
        }
    }

    /// What is to be done now. An attempt that is to be started counts as running from then on.
    pub(crate) fn next(&mut self, now: Duration) -> Next {
        let idle = if self.running.is_empty() { Next::Over } else { Next::Wait(None) };
        if self.is_stopped || self.waiting.is_empty() {
            return idle;
        }
        if self.running.len() >= self.limits.concurrency {
            return Next::Wait(None);
        }
        let Some(ready) = self.waiting.iter().position(|waiting| waiting.not_before <= now) else {
            return Next::Wait(self.waiting.iter().map(|waiting| waiting.not_before).min());
        };
        if !self.has_money_for(&self.waiting[ready].attempt) {
            // A row that ends for less than its limit may leave enough.
            self.is_out_of_money = self.running.is_empty();
            return idle;
        }
        let Some(Waiting { attempt, .. }) = self.waiting.remove(ready) else { return idle };
        self.running.insert(attempt.row, attempt);
        Next::Start(attempt)
    }

    /// Takes the end of an attempt, and what it has cost. Whether the row is done.
    pub(crate) fn ended(&mut self, attempt: Attempt, ending: Ending, cost: Option<f64>, now: Duration) -> bool {
        self.running.remove(&attempt.row);
        self.spent_by_running.remove(&attempt.row);
        let cost = cost.unwrap_or_default();
        self.spent += cost;
        self.dearest = self.dearest.max(cost);
        let again = match ending {
            Ending::Completed => return true,
            Ending::Failed(class) => {
                let retried = self.retried.entry(attempt.row).or_default();
                if !class.is_mended_by_retry() || *retried >= self.limits.retries || self.is_stopped {
                    return true;
                }
                *retried += 1;
                let delay = FIRST_DELAY.saturating_mul(1 << (*retried - 1).min(10)).min(LONGEST_DELAY);
                Waiting {
                    attempt: Attempt { number: attempt.number + 1, ..attempt },
                    not_before: now.saturating_add(delay),
                }
            }
            Ending::NoPlace { retry_after } => {
                Waiting { attempt, not_before: now.saturating_add(retry_after.unwrap_or(FIRST_DELAY)) }
            }
            Ending::NotBegun => Waiting { attempt, not_before: now },
        };
        self.waiting.push_front(again);
        false
    }

    /// Takes what the attempt of a row has cost so far, in US dollars.
    pub(crate) fn has_cost(&mut self, row: usize, cost: f64) {
        if self.running.contains_key(&row) {
            self.spent_by_running.insert(row, cost);
        }
    }

    /// Starts nothing any more.
    pub(crate) fn stop(&mut self) {
        self.is_stopped = true;
    }

    /// Whether rows were not started because of the cost limit.
    pub(crate) fn is_out_of_money(&self) -> bool {
        self.is_out_of_money
    }

    /// Whether what has been spent has reached the cost limit.
    pub(crate) fn is_overspent(&self) -> bool {
        self.limits.cost.is_some_and(|limit| self.spent() >= limit)
    }

    /// Rows that run.
    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// Rows that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// US dollars so far.
    pub(crate) fn spent(&self) -> f64 {
        self.spent + self.spent_by_running.values().sum::<f64>()
    }

    /// A row may cost as much as its limit allows; without a limit, as much as the dearest so far.
    fn has_money_for(&self, attempt: &Attempt) -> bool {
        let Some(limit) = self.limits.cost else { return true };
        let expected = |attempt: &Attempt| attempt.cost_limit.unwrap_or(self.dearest);
        let so_far = |attempt: &Attempt| self.spent_by_running.get(&attempt.row).copied().unwrap_or_default();
        let of_running: f64 = self.running.values().map(|attempt| expected(attempt).max(so_far(attempt))).sum();
        self.spent < limit && self.spent + of_running + expected(attempt) <= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: QueueLimits = QueueLimits { concurrency: 2, retries: 1, cost: None };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn queue(rows: usize, limits: QueueLimits, cost_limit: Option<f64>) -> Queue {
        Queue::new(limits, (0..rows).map(|row| Attempt { row, number: 1, cost_limit }), 0.0)
    }

    fn start(queue: &mut Queue, now: u64) -> Attempt {
        match queue.next(seconds(now)) {
            Next::Start(attempt) => attempt,
            other => panic!("{other:?}: {queue:?}"),
        }
    }

    #[test]
    fn so_many_rows_run_at_once_and_all_end() {
        let mut queue = queue(3, LIMITS, None);
        let (first, second) = (start(&mut queue, 0), start(&mut queue, 0));
        assert_eq!(queue.next(seconds(0)), Next::Wait(None));
        assert!(queue.ended(second, Ending::Completed, Some(0.5), seconds(1)));
        let third = start(&mut queue, 1);
        assert_eq!((first.row, second.row, third.row), (0, 1, 2));
        assert!(queue.ended(first, Ending::Completed, None, seconds(2)));
        assert_eq!(queue.next(seconds(2)), Next::Wait(None));
        assert!(queue.ended(third, Ending::Failed(FailureClass::Checks), Some(0.25), seconds(3)));
        assert_eq!(queue.next(seconds(3)), Next::Over);
        assert!((queue.spent() - 0.75).abs() < 1e-9);
    }

    #[test]
    fn a_row_is_tried_again_only_where_another_sandbox_may_help() {
        for (class, is_tried_again) in [
            (FailureClass::Infrastructure, true),
            (FailureClass::Agent, false),
            (FailureClass::Checks, false),
            (FailureClass::Limit, false),
            (FailureClass::Input, false),
            (FailureClass::Interrupted, false),
            (FailureClass::Runner, false),
        ] {
            let mut queue = queue(1, LIMITS, None);
            let first = start(&mut queue, 0);
            assert_eq!(queue.ended(first, Ending::Failed(class), None, seconds(5)), !is_tried_again, "{class:?}");
            if !is_tried_again {
                assert_eq!(queue.next(seconds(5)), Next::Over);
                continue;
            }
            assert_eq!(queue.next(seconds(5)), Next::Wait(Some(seconds(6))));
            let second = start(&mut queue, 6);
            assert_eq!((second.row, second.number), (0, 2));
            assert!(queue.ended(second, Ending::Failed(class), None, seconds(7)), "there is one retry");
            assert_eq!(queue.next(seconds(7)), Next::Over);
        }
    }

    #[test]
    fn a_full_account_makes_a_row_wait_and_costs_no_attempt() {
        let mut queue = queue(1, LIMITS, None);
        for now in [0, 10, 20] {
            let attempt = start(&mut queue, now);
            assert_eq!(attempt.number, 1);
            let ending = Ending::NoPlace { retry_after: Some(seconds(10)) };
            assert!(!queue.ended(attempt, ending, None, seconds(now)));
            assert_eq!(queue.next(seconds(now + 1)), Next::Wait(Some(seconds(now + 10))));
        }
    }

    #[test]
    fn no_row_starts_that_may_pass_the_cost_limit() {
        let limits = QueueLimits { cost: Some(2.5), ..LIMITS };
        let mut with_limit = queue(9, limits, Some(1.0));
        let (first, second) = (start(&mut with_limit, 0), start(&mut with_limit, 0));
        with_limit.ended(first, Ending::Completed, Some(0.25), seconds(1));
        // 0.25 are spent, and two rows may cost 2.00.
        let third = start(&mut with_limit, 1);
        with_limit.ended(second, Ending::Completed, Some(1.0), seconds(2));
        assert_eq!(with_limit.next(seconds(2)), Next::Wait(None), "it may pass the limit");
        with_limit.ended(third, Ending::Completed, Some(0.5), seconds(3));
        assert_eq!(with_limit.next(seconds(3)), Next::Over);
        assert!(with_limit.is_out_of_money() && !with_limit.is_overspent());
        assert_eq!(with_limit.waiting(), 6);

        // Without a limit in the task, the most expensive row so far is the estimate for the next.
        let mut without = queue(9, QueueLimits { concurrency: 1, ..limits }, None);
        let first = start(&mut without, 0);
        without.ended(first, Ending::Completed, Some(2.0), seconds(1));
        assert_eq!(without.next(seconds(1)), Next::Over);
        assert!(without.is_out_of_money());
    }

    #[test]
    fn what_running_rows_have_cost_counts_until_they_end() {
        let mut queue = queue(3, QueueLimits { cost: Some(1.0), ..LIMITS }, None);
        let first = start(&mut queue, 0);
        queue.has_cost(first.row, 0.75);
        queue.has_cost(2, 5.0);
        assert!((queue.spent() - 0.75).abs() < 1e-9, "a row that does not run has no cost");
        let second = start(&mut queue, 0);
        queue.has_cost(second.row, 0.5);
        assert!(queue.is_overspent());
        queue.ended(first, Ending::Completed, Some(0.25), seconds(1));
        assert!((queue.spent() - 0.75).abs() < 1e-9 && !queue.is_overspent());
    }

    #[test]
    fn a_stopped_queue_starts_nothing_and_waits_for_what_runs() {
        let mut queue = queue(3, LIMITS, None);
        let (first, second) = (start(&mut queue, 0), start(&mut queue, 0));
        queue.stop();
        assert_eq!(queue.next(seconds(1)), Next::Wait(None));
        assert!(!queue.ended(first, Ending::NotBegun, None, seconds(1)));
        assert!(queue.ended(second, Ending::Failed(FailureClass::Infrastructure), None, seconds(1)), "not again");
        assert_eq!(queue.next(seconds(1)), Next::Over);
        assert_eq!(queue.waiting(), 2);
    }
}
