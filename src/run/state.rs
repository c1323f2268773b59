//! What is known of a run while it is under way.

use openhands_client::agent_server::wire::Cost;
use openhands_client::ids::ConversationId;
use tokio::time::Instant;

/// What is known at this moment, for the report of a run that is cut off.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RunState {
    /// The conversation, once it may exist.
    pub(super) conversation_id: Option<ConversationId>,
    /// Its cost so far.
    pub(super) cost: Cost,
    /// Whether its agent may be at work for this run.
    pub(super) at_work: bool,
    /// When the run ends at the latest, once that is known.
    pub(super) deadline: Option<Instant>,
    /// Whether the agent has wrapped up because time ran out.
    pub(super) cut_short: bool,
}
