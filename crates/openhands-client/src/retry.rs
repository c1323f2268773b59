//! Retry policies. This is the only module that uses the `backoff` crate.
//!
//! Each policy is named after the peer that it is for. Callers classify their errors ([`Retryable`]) and have no retry loops of
//! their own. Every delay has jitter, and every policy has an end.

#![expect(clippy::disallowed_types, reason = "this module is the one home of retries")]

use std::error::Error;
use std::fmt;
use std::time::Duration;

use backoff::backoff::Backoff as _;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
use tokio::time::Instant;

use crate::time_limits::{RetryDelays, TimeLimits};

/// Whether a retry may succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same request would get the same response.
    No,
    /// Retry after the policy's own delay.
    Soon,
    /// Retry after the time that the peer has set (`Retry-After`).
    After(Duration),
}

/// An error that knows whether a retry may succeed.
pub trait Retryable: Error {
    /// Returns whether and when to retry.
    fn retry(&self) -> Retry;

    /// Returns whether the peer rejected the key (401).
    fn refuses_key(&self) -> bool {
        false
    }

    /// Returns whether the peer has reached a limit (429), until something else ends.
    fn is_full(&self) -> bool {
        false
    }
}

/// How often to retry, and for how long in total.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    delays: RetryDelays,
    budget: Option<Duration>,
    /// The maximum number of attempts, if they differ too much in length for a common time budget.
    attempts: Option<u32>,
    /// How long to retry with a rejected key, if the peer sometimes rejects valid keys.
    refusals: Duration,
}

/// The longest `Retry-After` that is obeyed. A longer wait could exceed the time of the run.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

impl Policy {
    const fn new(delays: RetryDelays, budget: Option<Duration>) -> Self {
        Self { delays, budget, attempts: None, refusals: Duration::ZERO }
    }

    /// Policy for a local agent-server, which is close and may just be starting.
    #[must_use]
    pub const fn agent_server(limits: &TimeLimits, budget: Duration) -> Self {
        Self::new(limits.agent_server_delays, Some(budget))
    }

    /// Policy for the agent-server while a conversation is set up.
    #[must_use]
    pub const fn setup(limits: &TimeLimits) -> Self {
        Self::agent_server(limits, limits.setup_budget)
    }

    /// Policy for an agent-server that has reached its limit of active conversations.
    #[must_use]
    pub const fn run_capacity(limits: &TimeLimits) -> Self {
        Self::new(limits.run_capacity_delays, Some(limits.run_capacity))
    }

    /// Policy for the Cloud API, which throttles clients with more than 10 requests per second.
    #[must_use]
    pub const fn cloud(limits: &TimeLimits) -> Self {
        Self::new(limits.cloud_delays, Some(limits.cloud_budget))
    }

    /// The same policy for calls that only read, which also retries if the key is rejected.
    #[must_use]
    pub const fn cloud_read(limits: &TimeLimits) -> Self {
        Self { refusals: limits.cloud_refusal, ..Self::cloud(limits) }
    }

    /// Policy for creating a sandbox while the account is at its limit.
    #[must_use]
    pub const fn capacity(limits: &TimeLimits) -> Self {
        Self::new(limits.capacity_delays, Some(limits.sandbox_capacity))
    }

    /// Policy for a git server after a clone failed midway. The time limit is that of the whole clone.
    #[must_use]
    pub const fn git_server(limits: &TimeLimits, attempts: u32) -> Self {
        Self { attempts: Some(attempts), ..Self::new(limits.git_server_delays, None) }
    }

    /// Policy for reading the state of a sandbox that is not ready yet. It has no end, because the wait has its own limit.
    #[must_use]
    pub const fn cloud_poll(limits: &TimeLimits) -> Self {
        Self::new(limits.cloud_poll_delays, None)
    }

    /// Policy for the completion callback. Its budget is large, because each run has only one outcome.
    #[must_use]
    pub const fn callback(limits: &TimeLimits, budget: Duration) -> Self {
        Self::new(limits.callback_delays, Some(budget))
    }

    /// Policy for the events socket. It has no end, because the run has its own limit.
    #[must_use]
    pub const fn socket(limits: &TimeLimits) -> Self {
        Self::new(limits.socket_delays, None)
    }

    fn backoff(self) -> ExponentialBackoff {
        ExponentialBackoffBuilder::new()
            .with_initial_interval(self.delays.first)
            .with_multiplier(2.0)
            .with_randomization_factor(0.3)
            .with_max_interval(self.delays.longest)
            .with_max_elapsed_time(self.budget)
            .build()
    }

    /// Returns only the sequence of delays, for a loop that does more than retry.
    #[must_use]
    pub fn delays(self) -> Delays {
        Delays(self.backoff())
    }
}

/// A bounded or endless sequence of growing delays with jitter.
pub struct Delays(ExponentialBackoff);

impl Delays {
    /// Returns the next delay; `None` if the policy's budget is used up.
    pub fn next_delay(&mut self) -> Option<Duration> {
        self.0.next_backoff()
    }

    /// Starts again with the first delay, after a success.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

impl fmt::Debug for Delays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Delays")
    }
}

/// Calls `attempt` until it succeeds, fails with an error that is not worth a retry, or the policy's budget is used up; then
/// returns the last error. `doing` describes the operation in the log ("reading the account's LLM").
///
/// # Errors
/// The last error of `attempt`.
pub async fn retry<T, E, F>(doing: &str, policy: Policy, attempt: impl FnMut() -> F) -> Result<T, E>
where
    E: Retryable,
    F: Future<Output = Result<T, E>>,
{
    attempt_by(Schedule::new(policy, None), doing, attempt).await
}

/// Retries with a separate policy while the peer reports that it has reached a limit ([`Retryable::is_full`]). Such a wait lasts
/// until something else ends, so it is longer than a wait for a peer that does not respond.
///
/// # Errors
/// The last error of `attempt`.
pub async fn retry_while_full<T, E, F>(
    doing: &str,
    policy: Policy,
    while_full: Policy,
    attempt: impl FnMut() -> F,
) -> Result<T, E>
where
    E: Retryable,
    F: Future<Output = Result<T, E>>,
{
    attempt_by(Schedule::new(policy, Some(while_full)), doing, attempt).await
}

async fn attempt_by<T, E, F>(mut schedule: Schedule, doing: &str, mut attempt: impl FnMut() -> F) -> Result<T, E>
where
    E: Retryable,
    F: Future<Output = Result<T, E>>,
{
    loop {
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        match schedule.after(&error, doing) {
            Some(delay) => tokio::time::sleep(delay).await,
            None => return Err(error),
        }
    }
}

/// The attempts so far. Separate from [`attempt_by`], which the compiler generates for each caller.
struct Schedule {
    attempts: u32,
    usual: Budget,
    while_full: Option<Budget>,
}

impl Schedule {
    fn new(policy: Policy, while_full: Option<Policy>) -> Self {
        Self { attempts: 0, usual: Budget::new(policy), while_full: while_full.map(Budget::new) }
    }

    /// Returns the time until the next attempt after this error, and logs it; `None` if there is no next attempt.
    fn after(&mut self, error: &dyn Retryable, doing: &str) -> Option<Duration> {
        self.attempts += 1;
        let budget = match &mut self.while_full {
            Some(while_full) if error.is_full() => {
                // The peer responds, so the usual budget starts again.
                self.usual = Budget::new(self.usual.policy);
                while_full
            }
            _ => &mut self.usual,
        };
        if budget.policy.attempts.is_some_and(|most| self.attempts >= most) {
            return None;
        }
        let delay = budget.delay(error)?;
        tracing::warn!(
            attempt = self.attempts, error = %crate::text::chain(error), "{doing} failed, retrying in {delay:.1?}"
        );
        Some(delay)
    }
}

/// The used part of a policy.
struct Budget {
    policy: Policy,
    started: Instant,
    delays: Delays,
}

impl Budget {
    fn new(policy: Policy) -> Self {
        Self { policy, started: Instant::now(), delays: policy.delays() }
    }

    fn delay(&mut self, error: &dyn Retryable) -> Option<Duration> {
        let elapsed = self.started.elapsed();
        match error.retry() {
            Retry::No if error.refuses_key() && elapsed < self.policy.refusals => self.delays.next_delay(),
            Retry::No => None,
            Retry::Soon => self.delays.next_delay(),
            Retry::After(delay) => {
                let delay = delay.clamp(self.policy.delays.first, LONGEST_RETRY_AFTER);
                let fits = self.policy.budget.is_none_or(|budget| elapsed + delay <= budget);
                fits.then_some(delay)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("refused")]
    struct Refused(Retry);

    impl Retryable for Refused {
        fn retry(&self) -> Retry {
            self.0
        }
    }

    fn delays(first: u64, longest: u64) -> RetryDelays {
        RetryDelays { first: Duration::from_millis(first), longest: Duration::from_millis(longest) }
    }

    async fn attempts_of(answers: &[Result<(), Retry>]) -> (u32, bool) {
        let attempts = Cell::new(0_usize);
        let policy = Policy::new(delays(1, 2), Some(Duration::from_secs(5)));
        let result = retry("testing", policy, || {
            let answer = answers[attempts.get()];
            attempts.set(attempts.get() + 1);
            async move { answer.map_err(Refused) }
        })
        .await;
        (u32::try_from(attempts.get()).unwrap(), result.is_ok())
    }

    #[tokio::test]
    async fn transient_errors_are_tried_again() {
        assert_eq!(attempts_of(&[Err(Retry::Soon), Err(Retry::After(Duration::ZERO)), Ok(())]).await, (3, true));
    }

    #[tokio::test]
    async fn permanent_errors_are_final() {
        assert_eq!(attempts_of(&[Err(Retry::Soon), Err(Retry::No), Ok(())]).await, (2, false));
    }

    #[tokio::test]
    async fn a_full_peer_is_tried_for_longer_than_one_that_fails() {
        #[derive(Debug, thiserror::Error)]
        #[error("full: {0}")]
        struct Busy(bool);
        impl Retryable for Busy {
            fn retry(&self) -> Retry {
                Retry::Soon
            }

            fn is_full(&self) -> bool {
                self.0
            }
        }
        let brief = Policy::new(delays(1, 1), Some(Duration::from_millis(20)));
        let patient = Policy::new(delays(5, 5), Some(Duration::from_secs(60)));
        for (is_full, expected) in [(true, true), (false, false)] {
            let started = Instant::now();
            let result = retry_while_full("testing", brief, patient, || async move {
                if started.elapsed() > Duration::from_millis(200) { Ok(()) } else { Err(Busy(is_full)) }
            })
            .await;
            assert_eq!(result.is_ok(), expected, "full: {is_full}");
        }
    }

    #[tokio::test]
    async fn a_refused_key_is_tried_for_a_short_time_where_the_policy_says_so() {
        #[derive(Debug, thiserror::Error)]
        #[error("401")]
        struct NotTaken;
        impl Retryable for NotTaken {
            fn retry(&self) -> Retry {
                Retry::No
            }

            fn refuses_key(&self) -> bool {
                true
            }
        }
        let attempts = async |refusals: u64, passes: u32| {
            let policy = Policy { refusals: Duration::from_millis(refusals), ..Policy::new(delays(5, 5), None) };
            let mut attempts = 0;
            let result = retry("testing", policy, || {
                attempts += 1;
                let passed = attempts > passes;
                async move { if passed { Ok(()) } else { Err(NotTaken) } }
            });
            let passed = result.await.is_ok();
            (attempts, passed)
        };
        assert_eq!(attempts(0, 1).await, (1, false));
        assert_eq!(attempts(60_000, 2).await, (3, true));
        assert!(!attempts(20, 1_000).await.1, "not for ever");
    }

    #[tokio::test]
    async fn a_used_up_budget_ends_it() {
        let policy = Policy::new(delays(5, 5), Some(Duration::from_millis(30)));
        for again in [Retry::Soon, Retry::After(Duration::ZERO), Retry::After(Duration::from_millis(7))] {
            let mut attempts = 0;
            let result: Result<(), _> = retry("testing", policy, || {
                attempts += 1;
                async move { Err(Refused(again)) }
            })
            .await;
            assert!(result.is_err());
            assert!((2..12).contains(&attempts), "{again:?}: {attempts}");
        }
    }

    #[tokio::test]
    async fn attempts_are_counted_where_there_is_no_budget() {
        let policy = Policy { attempts: Some(3), ..Policy::new(delays(0, 0), None) };
        let mut attempts = 0;
        let result: Result<(), _> = retry("testing", policy, || {
            attempts += 1;
            async move { Err(Refused(Retry::Soon)) }
        })
        .await;
        assert!(result.is_err());
        assert_eq!(attempts, 3);
    }

    #[test]
    fn delays_grow_to_the_longest_and_start_over() {
        let mut delays = Policy::socket(&TimeLimits::default()).delays();
        let grown = (0..12).filter_map(|_| delays.next_delay()).max().unwrap();
        assert!(grown > Duration::from_secs(3), "{grown:?}");
        delays.reset();
        assert!(delays.next_delay().unwrap() < Duration::from_millis(200));
    }
}
