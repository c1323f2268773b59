//! Which actions of the agent need a confirmation. No one is there to give it, so the runner rejects them.

use openhands_client::agent_server::{AgentServer, ConfirmationPolicy};
use openhands_client::conversation::Conversation;

use crate::input::task::agent::{AgentChoice, Confirmation};
use crate::outcome::Failure;

/// What the agent is told of a rejected action.
pub(super) const REASON: &str = "This action needs a confirmation, and no one is here to give it. Continue without it.";

/// A turn in which more actions are rejected ends.
pub(super) const MOST_REJECTIONS: u32 = 10;

/// Whether the runner rejects actions that wait for a confirmation.
pub(super) fn rejects(choice: &AgentChoice) -> bool {
    choice.confirmation_policy.is_some_and(|policy| policy != Confirmation::Never)
}

/// Sets what the task says of a conversation that has no message yet.
///
/// # Errors
/// The [`Failure`] that ends the run.
pub(super) async fn set(
    conversation: &Conversation,
    server: &AgentServer,
    choice: &AgentChoice,
) -> Result<(), Failure> {
    if let Some(analyzer) = choice.security_analyzer {
        let set = server.client.set_security_analyzer(conversation.id(), analyzer.kind()).await;
        set.map_err(|error| Failure::of_request("set the security analyzer", &error))?;
    }
    let policy = match choice.confirmation_policy {
        None => return Ok(()),
        Some(Confirmation::Never) => ConfirmationPolicy::Never,
        Some(Confirmation::Risky) => ConfirmationPolicy::Risky,
        Some(Confirmation::Always) => ConfirmationPolicy::Always,
    };
    Ok(conversation.set_confirmation_policy(policy).await?)
}
