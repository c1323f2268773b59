//! The known state of a run in progress.

use openhands_client::agent_server::wire::Cost;
use openhands_client::ids::ConversationId;
use tokio::time::Instant;

/// What is currently known, for the report of a run that is cut off.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RunState {
    /// The conversation, as soon as it may exist.
    pub(super) conversation_id: Option<ConversationId>,
    /// Its cost so far.
    pub(super) cost: Cost,
    /// Whether the agent may be working for this run.
    pub(super) at_work: bool,
    /// The latest end of the run, as soon as it is known.
    pub(super) deadline: Option<Instant>,
    /// Whether the agent has wrapped up because time ran out.
    pub(super) cut_short: bool,
}
