//! An agent-server that gives each conversation its own container (`conversation_runtime: docker`). The agent works in the
//! container, so the task's commands run there, and the agent's work is collected from there.

use openhands_client::agent_server::{AgentServer, CONTAINER_WORKSPACE};
use openhands_client::ids::ConversationId;

use crate::outcome::{Failure, FailureKind};
use crate::plan::RunPlan;

/// Checks that the run can use its repositories in the container: the container sees the working directory of this machine,
/// unless that has the same name as the container's own working directory.
///
/// # Errors
/// The run cannot use them.
pub(super) fn check(server: &AgentServer, plan: &RunPlan) -> Result<(), Failure> {
    let is_own = plan.conversation.working_dir.trim_end_matches('/') == CONTAINER_WORKSPACE;
    if !server.capabilities.own_container || plan.repos.is_empty() || !is_own {
        return Ok(());
    }
    let detail = format!(
        "working_dir: on this agent-server each conversation has a container of its own, and {CONTAINER_WORKSPACE} is a directory of the \
        container: repositories cannot be cloned there; choose another directory, such as {CONTAINER_WORKSPACE}/project"
    );
    Err(Failure::new(FailureKind::InvalidInput, detail))
}

/// Returns the server and the directory in which the agent of this conversation works.
pub(super) fn workplace(server: &AgentServer, id: ConversationId, working_dir: &str) -> (AgentServer, String) {
    if server.capabilities.own_container {
        tracing::info!("the conversation has a container of its own");
        (server.in_container_of(id), CONTAINER_WORKSPACE.to_owned())
    } else {
        (server.clone(), working_dir.to_owned())
    }
}
