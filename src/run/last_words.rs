//! The last requests to the agent-server, after it is decided how the run ended.

use openhands_client::agent_server::AgentServer;
use openhands_client::conversation;
use openhands_client::http::HttpError;
use openhands_client::text;
use tokio::time::timeout;

use super::answer::{Asked, task_outcome};
use crate::input::time_limits::{ShutdownBudgets, ShutdownLimits};
use crate::outcome::{FailureKind, LastWords, Verdict};

/// Returns how long the last requests may take after this failure, or after a completed run.
pub(super) fn budgets(ending: Option<FailureKind>, is_outside: bool, limits: &ShutdownLimits) -> ShutdownBudgets {
    match ending {
        Some(FailureKind::HungUp | FailureKind::Interrupted | FailureKind::Quit | FailureKind::Terminated) => {
            if is_outside {
                limits.after_signal_from_outside
            } else {
                limits.after_signal
            }
        }
        Some(FailureKind::Timeout) => limits.after_time_limit,
        _ => limits.unhurried,
    }
}

/// Returns whether the agent may still be working after this failure.
fn leaves_agent_at_work(kind: FailureKind) -> bool {
    matches!(
        kind,
        FailureKind::Timeout
            | FailureKind::CostLimitReached
            | FailureKind::HungUp
            | FailureKind::Interrupted
            | FailureKind::Quit
            | FailureKind::Terminated
            | FailureKind::InternalError
            | FailureKind::RunEndedElsewhere
            | FailureKind::AgentServerUnreachable
            | FailureKind::RequestRefused
            | FailureKind::CredentialsRefused
    )
}

/// Stops an agent that is still working, and reads its final message, the result of the task as it reports it, and the cost.
pub(super) async fn last_words(
    verdict: &Verdict,
    server: Option<&AgentServer>,
    asked: Option<&Asked>,
    at_work: bool,
    knows_usage: bool,
    budgets: ShutdownBudgets,
) -> LastWords {
    let (Some(server), Some(id)) = (server, verdict.conversation_id) else { return LastWords::default() };
    let at_work = at_work && verdict.failure.as_ref().is_some_and(|failure| leaves_agent_at_work(failure.kind));
    let stop = async {
        if at_work {
            // The server responds to a pause only after the running command, but the pause takes effect anyway.
            let stop = server.client.stop(id, server.capabilities);
            if in_time("the agent could not be stopped", budgets, stop).await.is_none() {
                tracing::warn!("the agent may still be at work: the agent-server has not confirmed its end in time");
            }
        }
    };
    let message = in_time("no final message", budgets, conversation::final_message(server, id));
    let info = async {
        // If a turn was not followed to its end, its last cost has not been read. Older servers report the tokens only here.
        if at_work || !knows_usage {
            in_time("no final cost", budgets, server.client.conversation(id)).await
        } else {
            None
        }
    };
    let completed = verdict.failure.is_none();
    let task_outcome = async {
        let asked = asked.filter(|_| completed)?;
        in_time("no task outcome", budgets, task_outcome(server, asked)).await.flatten()
    };
    let ((), message, info, task_outcome) = tokio::join!(stop, message, info, task_outcome);
    let usage = info.map(|info| info.stats).unwrap_or_default();
    LastWords { message: message.flatten(), task_outcome, cost: usage.cost(), usage }
}

async fn in_time<T>(
    complaint: &str,
    budgets: ShutdownBudgets,
    call: impl Future<Output = Result<T, HttpError>>,
) -> Option<T> {
    match timeout(budgets.agent, call).await {
        Ok(Ok(answer)) => return Some(answer),
        Ok(Err(error)) => tracing::warn!(error = %text::chain(&error), "{complaint}"),
        Err(_) => tracing::debug!("{complaint} in time"),
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_signal_leaves_a_server_on_another_machine_the_time_of_several_round_trips() {
        let limits = ShutdownLimits::default();
        let [inside, outside] =
            [false, true].map(|is_outside| budgets(Some(FailureKind::Terminated), is_outside, &limits));
        assert!(inside.agent + inside.output + inside.callback < Duration::from_millis(800));
        // A TLS handshake and a request take three round trips of 80 ms or more.
        assert!(outside.agent >= Duration::from_secs(1));
    }
}
