//! The time at which a run ends at the latest: set by the task, or by the agent-server that started this process.

use std::time::Duration;

use jiff::Timestamp;
use openhands_client::agent_server::AgentServer;
use openhands_client::text;
use tokio::time::{Instant, timeout, timeout_at};

use super::deadline;
use crate::input::settings::Account;
use crate::outcome::{Failure, FailureKind};
use crate::plan::RunPlan;
use crate::process::ancestry::Ancestry;

/// The time at which a run ends, and the reason.
pub(super) struct Limit {
    at: Instant,
    reason: String,
}

impl Limit {
    /// Returns the earliest limit that the user has set. At a deadline everything must be over, so the steps after the agent's
    /// work, which take `for_salvage`, have to come before it.
    pub(super) fn of_user(
        started: Instant,
        timeout: Option<Duration>,
        deadline: Option<Timestamp>,
        for_salvage: Duration,
    ) -> Option<Self> {
        let of_task = timeout.map(|limit| Self::of_task(started, limit));
        let of_deadline = deadline.map(|deadline| Self::of_deadline(deadline).leaving(for_salvage));
        of_task.into_iter().chain(of_deadline).min_by_key(Self::at)
    }

    fn of_task(started: Instant, limit: Duration) -> Self {
        Self { at: started + limit, reason: format!("the run reached its time limit of {limit:?}") }
    }

    /// Returns the limit for a deadline. A deadline in the past ends the run at once.
    fn of_deadline(deadline: Timestamp) -> Self {
        let left = Duration::try_from(deadline.duration_since(Timestamp::now())).unwrap_or_default();
        Self { at: Instant::now() + left, reason: format!("the run reached its deadline, {deadline}") }
    }

    /// Moves the limit back, if necessary, so that a continuing run can still find its agent and stop it.
    pub(super) fn with_time_to_attach(self, time: Duration) -> Self {
        Self { at: self.at.max(Instant::now() + time), ..self }
    }

    /// Moves the limit forward by this time, for the steps after the agent's work, unless that would leave too little time for
    /// the agent.
    fn leaving(self, time: Duration) -> Self {
        let is_long = self.at > Instant::now() + time * 4;
        Self { at: if is_long { self.at - time } else { self.at }, ..self }
    }

    /// Returns when the run ends at the latest.
    pub(super) fn at(&self) -> Instant {
        self.at
    }

    /// Returns when the agent is asked to wrap up. In a run that is not longer than twice the landing time, it is not asked.
    pub(super) fn wrap_up_at(&self, landing: Duration) -> Option<Instant> {
        (self.at > Instant::now() + landing * 2).then(|| self.at - landing)
    }
}

/// Returns the task's limit, or the limit of this process if that is earlier.
pub(super) async fn earliest(
    own: Option<Limit>,
    server: &AgentServer,
    plan: &RunPlan,
    for_salvage: Duration,
) -> Option<Limit> {
    let theirs = timeout(plan.time_limits.limit_search, limit_of_process(server, plan)).await.ok().flatten();
    match theirs.map(|limit| limit.leaving(for_salvage)) {
        Some(theirs) if own.as_ref().is_none_or(|own| theirs.at < own.at) => Some(theirs),
        _ => own,
    }
}

/// Runs the work until the limit.
pub(super) async fn within<T>(limit: Option<&Limit>, work: impl Future<Output = T>) -> Result<T, Failure> {
    match limit {
        None => Ok(work.await),
        Some(Limit { at, reason }) => {
            timeout_at(*at, work).await.map_err(|_| Failure::new(FailureKind::Timeout, reason.clone()))
        }
    }
}

/// Returns the limit that the agent-server has set for this process, if it started the process: early enough to report the
/// outcome before it.
async fn limit_of_process(server: &AgentServer, plan: &RunPlan) -> Option<Limit> {
    if matches!(plan.account, Account::OfSandbox(_)) {
        return None;
    }
    let program = std::env::current_exe().ok()?.file_name()?.to_string_lossy().into_owned();
    // A server with another host name may be on this machine or on another.
    let program = plan.agent_server.is_local().then_some(program.as_str());
    match deadline::time_left(&server.client, &Ancestry::of_process(), program).await {
        Ok(left) => left.map(|left| {
            tracing::info!("the agent-server will end this process in {} s", left.as_secs());
            Limit {
                at: Instant::now() + left.saturating_sub(plan.time_limits.before_kill),
                reason: "the run reached the agent-server's time limit for this process".to_owned(),
            }
        }),
        Err(error) => {
            tracing::debug!(error = %text::chain(&error), "the time limit of this process is unknown");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;

    use super::*;

    #[tokio::test]
    async fn the_nearest_limit_of_the_user_counts() {
        let (started, now) = (Instant::now(), Timestamp::now());
        let reason = |timeout: Option<u64>, deadline: Option<i64>| {
            let deadline = deadline.map(|minutes| now.checked_add(minutes.minutes()).unwrap());
            let timeout = timeout.map(|minutes| Duration::from_secs(minutes * 60));
            Limit::of_user(started, timeout, deadline, Duration::ZERO).map(|limit| limit.reason)
        };
        assert_eq!(reason(None, None), None);
        assert!(reason(Some(30), Some(60)).unwrap().ends_with("time limit of 1800s"));
        assert!(reason(Some(60), Some(30)).unwrap().contains("deadline"));
        let over = Limit::of_user(started, None, Some(now.checked_sub(1.hours()).unwrap()), Duration::ZERO);
        let over = over.unwrap();
        assert!(over.at <= Instant::now(), "a deadline in the past");
    }
    #[tokio::test]
    async fn a_deadline_leaves_time_for_what_is_kept_and_the_agent_most_of_it() {
        let (started, salvage) = (Instant::now(), Duration::from_secs(5));
        let left = |seconds: i64| {
            let deadline = Timestamp::now().checked_add(seconds.seconds()).unwrap();
            let limit = Limit::of_user(started, None, Some(deadline), salvage).unwrap();
            (limit.at().saturating_duration_since(started) + Duration::from_millis(500)).as_secs()
        };
        assert_eq!([left(60), left(10)], [55, 10]);
        let of_task = Limit::of_user(started, Some(Duration::from_secs(60)), None, salvage).unwrap();
        assert_eq!(of_task.at(), started + Duration::from_secs(60), "what is kept comes behind a time limit");
    }
}
