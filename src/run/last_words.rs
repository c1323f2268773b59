//! The last requests to the agent-server, once it is decided how a run ended.

use openhands_client::agent_server::AgentServer;
use openhands_client::conversation::{self, ConversationPlan};
use openhands_client::http::HttpError;
use openhands_client::text;
use openhands_client::time_limits::{self, ShutdownBudgets};
use tokio::time::timeout;

use super::answer::task_outcome;
use crate::agent_result::ResultSpec;
use crate::outcome::{Failure, FailureKind, LastWords, Verdict};

/// How long the last words may take.
pub(super) fn budgets(failure: Option<&Failure>) -> ShutdownBudgets {
    match failure.map(|failure| failure.kind) {
        Some(FailureKind::HungUp | FailureKind::Interrupted | FailureKind::Quit | FailureKind::Terminated) => {
            time_limits::AFTER_SIGNAL
        }
        Some(FailureKind::Timeout) => time_limits::AFTER_TIME_LIMIT,
        _ => time_limits::UNHURRIED,
    }
}

/// Whether the agent may still be at work when a run ends so.
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
    )
}

/// Stops an agent that is still at work, and reads its final message, how the task went by its own account, and what it has
/// cost.
pub(super) async fn last_words(
    verdict: &Verdict,
    server: Option<&AgentServer>,
    plan: Option<&(ConversationPlan, ResultSpec)>,
    at_work: bool,
    budgets: ShutdownBudgets,
) -> LastWords {
    let (Some(server), Some(id)) = (server, verdict.conversation_id) else { return LastWords::default() };
    let at_work = at_work && verdict.failure.as_ref().is_some_and(|failure| leaves_agent_at_work(failure.kind));
    let stop = async {
        if at_work {
            // A pause is answered only after the running command; it works all the same.
            in_time("the agent could not be stopped", budgets, server.client.stop(id, server.capabilities)).await;
        }
    };
    let message = in_time("no final message", budgets, conversation::final_message(server, id));
    let info = async {
        // Of a turn that was not followed to its end the last of the cost is still to be read.
        if at_work { in_time("no final cost", budgets, server.client.conversation(id)).await } else { None }
    };
    let completed = verdict.failure.is_none();
    let task_outcome = async {
        let plan = plan.filter(|_| completed)?;
        in_time("no task outcome", budgets, task_outcome(server, &plan.0, &plan.1)).await.flatten()
    };
    let ((), message, info, task_outcome) = tokio::join!(stop, message, info, task_outcome);
    LastWords { message: message.flatten(), task_outcome, cost: info.map(|info| info.cost()).unwrap_or_default() }
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
