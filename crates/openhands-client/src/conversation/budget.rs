//! What a run may spend.

use super::follow::FollowError;
use crate::agent_server::wire::Cost;

/// What a run may spend, and what its conversation had cost before it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Budget {
    /// US dollars.
    pub(super) limit: Option<f64>,
    pub(super) spent_before: Cost,
}

impl Budget {
    /// US dollars of this run alone.
    pub(super) fn spent(self, cost: Cost) -> Option<f64> {
        Some(cost.known()? - self.spent_before.known().unwrap_or(0.0))
    }

    /// Refuses a cost of the conversation that is beyond the limit.
    pub(super) fn check(self, cost: Cost) -> Result<(), FollowError> {
        let (Some(limit), Some(spent)) = (self.limit, self.spent(cost)) else { return Ok(()) };
        if spent > limit {
            return Err(FollowError::OverBudget { spent: Cost::dollars(spent), limit: Cost::dollars(limit) });
        }
        Ok(())
    }
}
