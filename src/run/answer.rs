//! What the agent is asked to give at its end: how it is asked, and how its answer is read.

use openhands_client::agent_server::AgentServer;
use openhands_client::agent_server::Capabilities;
use openhands_client::agent_server::hooks::HookConfig;
use openhands_client::conversation::{ConversationError, ConversationPlan, last_words};
use openhands_client::http::HttpError;
use openhands_client::retry::{Policy, retry};

use crate::agent_result::{AgentResult, FinishFields, ResultSpec};
use crate::outcome::{Failure, FailureKind};
use crate::plan::RunPlan;

/// The conversation with the run's question in it: as further fields of the finish tool, or in words where the tool takes
/// none: an older server's, and that of a conversation which someone else may have started.
pub(super) fn asked(
    plan: &RunPlan,
    mut conversation: ConversationPlan,
    capabilities: Capabilities,
) -> ConversationPlan {
    let words = plan.result_spec.in_words(finish_fields(&conversation, capabilities));
    if let (Some(words), Some(last)) = (words, conversation.messages.last_mut()) {
        last.push_str("\n\n");
        last.push_str(&words);
    }
    conversation.finish_schema = plan.result_spec.finish_schema();
    conversation.hook_config = conversation.finish_schema.as_ref().filter(|_| plan.with_hooks).and_then(|_| hooks());
    conversation
}

/// Our own program as the commands around the agent's finish. It is where the server looks, if that is in our sandbox; a command that it does not find holds up nothing.
fn hooks() -> Option<HookConfig> {
    let program = std::env::current_exe().ok()?;
    let program = shell_words::quote(program.to_str()?).into_owned();
    Some(HookConfig::around_finish(format!("{program} hook finish"), format!("{program} hook stop")))
}

/// A conversation that may be another run's may be this one's too, with the fields.
fn finish_fields(plan: &ConversationPlan, capabilities: Capabilities) -> FinishFields {
    match (capabilities.finish_schema, plan.continued) {
        (false, _) => FinishFields::None,
        (true, true) => FinishFields::Unknown,
        (true, false) => FinishFields::Asked,
    }
}

/// The object that the agent was asked for, if it was.
///
/// # Errors
/// The [`Failure`] that ends the run: the answer cannot be read, or is not what was asked for.
pub(super) async fn answer(
    server: &AgentServer,
    plan: &ConversationPlan,
    result_spec: &ResultSpec,
) -> Result<Option<AgentResult>, Failure> {
    if !matches!(result_spec, ResultSpec::Schema(_)) {
        return Ok(None);
    }
    let (finish, message) =
        retry("reading the agent's result", Policy::setup(server.client.time_limits()), || last_words(server, plan.id))
            .await
            .map_err(|source| ConversationError::Request { doing: "read the agent's result", source })?;
    result_spec
        .read(finish.as_ref(), message.as_deref(), finish_fields(plan, server.capabilities))
        .map_err(|error| Failure::new(FailureKind::InvalidAnswer, error.to_string()))
}

/// How the task went by the agent's own account, if it was asked and says so. The run has completed without it.
///
/// # Errors
/// [`HttpError`].
pub(super) async fn task_outcome(
    server: &AgentServer,
    plan: &ConversationPlan,
    result_spec: &ResultSpec,
) -> Result<Option<AgentResult>, HttpError> {
    if *result_spec != ResultSpec::TaskOutcome || !server.capabilities.finish_schema {
        return Ok(None);
    }
    let (finish, message) = last_words(server, plan.id).await?;
    Ok(result_spec.read(finish.as_ref(), message.as_deref(), finish_fields(plan, server.capabilities)).ok().flatten())
}
