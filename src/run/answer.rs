//! The object that the agent returns at its end, in addition to its message.

use openhands_client::agent_server::AgentServer;
use openhands_client::agent_server::hooks::HookConfig;
use openhands_client::conversation::{ConversationError, last_words};
use openhands_client::http::HttpError;
use openhands_client::ids::ConversationId;
use openhands_client::retry::{Policy, retry};

use crate::agent_result::{AgentResult, FinishFields, ResultSpec};
use crate::outcome::{Failure, FailureKind};

/// What the agent of a conversation was asked to return.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) conversation: ConversationId,
    pub(super) result_spec: ResultSpec,
    pub(super) fields: FinishFields,
}

/// Returns this program as the commands that run when the agent finishes. The server finds it if it runs in this sandbox; a
/// command that is not found blocks nothing.
pub(super) fn hooks() -> Option<HookConfig> {
    let program = std::env::current_exe().ok()?;
    let program = shell_words::quote(program.to_str()?).into_owned();
    Some(HookConfig::around_finish(format!("{program} hook finish"), format!("{program} hook stop")))
}

/// Returns the object that the agent was asked for, if any.
///
/// # Errors
/// The [`Failure`] that ends the run: the object cannot be read, or has the wrong form.
pub(super) async fn answer(server: &AgentServer, asked: &Asked) -> Result<Option<AgentResult>, Failure> {
    if !matches!(asked.result_spec, ResultSpec::Schema(_)) {
        return Ok(None);
    }
    let policy = Policy::setup(server.client.time_limits());
    let read = retry("reading the agent's result", policy, || last_words(server, asked.conversation));
    let (finish, message) =
        read.await.map_err(|source| ConversationError::Request { doing: "read the agent's result", source })?;
    asked
        .result_spec
        .read(finish.as_ref(), message.as_deref(), asked.fields)
        .map_err(|error| Failure::new(FailureKind::InvalidAnswer, error.to_string()))
}

/// Explains the failure of a run whose agent was asked for an object. If the agent is stopped while it repeatedly calls the
/// finish tool with fields that the server rejects, the missing object is the reason.
pub(super) async fn explain(failure: Failure, server: &AgentServer, asked: &Asked) -> Failure {
    let ended_by = failure.code();
    let is_asked = matches!(asked.result_spec, ResultSpec::Schema(_));
    if !is_asked || !(failure.kind == FailureKind::AgentStuck || ended_by == "MaxIterationsReached") {
        return failure;
    }
    let policy = Policy::setup(server.client.time_limits());
    let read = retry("reading the agent's result", policy, || last_words(server, asked.conversation));
    let Ok((finish @ Some(_), message)) = read.await else { return failure };
    match asked.result_spec.read(finish.as_ref(), message.as_deref(), asked.fields) {
        Ok(_) => failure,
        Err(error) => Failure::new(FailureKind::InvalidAnswer, format!("{error} ({ended_by}: {})", failure.detail)),
    }
}

/// Returns the result of the task as the agent reports it, if it was asked for it and reports one. Without it, the run has still
/// completed.
///
/// # Errors
/// [`HttpError`].
pub(super) async fn task_outcome(server: &AgentServer, asked: &Asked) -> Result<Option<AgentResult>, HttpError> {
    if asked.result_spec != ResultSpec::TaskOutcome || !server.capabilities.finish_schema {
        return Ok(None);
    }
    let (finish, message) = last_words(server, asked.conversation).await?;
    Ok(asked.result_spec.read(finish.as_ref(), message.as_deref(), asked.fields).ok().flatten())
}
