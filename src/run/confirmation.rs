//! Actions of the agent that need confirmation. No one can give it during a run, so the runner rejects them.

use openhands_client::agent_server::{AgentServer, ConfirmationPolicy};
use openhands_client::conversation::Conversation;

use crate::input::task::agent::{AgentChoice, Confirmation};
use crate::outcome::Failure;

/// The message to the agent about a rejected action.
pub(super) const REASON: &str = "This action needs a confirmation, and no one is here to give it. Continue without it.";

/// The maximum number of rejected actions in a turn. After that, the turn ends.
pub(super) const MOST_REJECTIONS: u32 = 10;

/// Returns whether the runner rejects actions that wait for confirmation.
pub(super) fn rejects(choice: &AgentChoice) -> bool {
    choice.confirmation_policy.is_some_and(|policy| policy != Confirmation::Never)
}

/// Sets the confirmation policy of the task in a conversation that has no message yet.
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
