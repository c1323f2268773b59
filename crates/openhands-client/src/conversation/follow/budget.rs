//! What a run may spend.

use super::FollowError;
use crate::agent_server::wire::Cost;

/// What a run may spend, and what its conversation had cost before it.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::conversation) struct Budget {
    pub(in crate::conversation) limit: Option<f64>,
    pub(in crate::conversation) spent_before: Cost,
}

impl Budget {
    /// Refuses a cost beyond the limit.
    pub(in crate::conversation) fn check(self, cost: Cost) -> Result<(), FollowError> {
        let (Some(limit), Some(cost)) = (self.limit, cost.known()) else { return Ok(()) };
        let spent = cost - self.spent_before.known().unwrap_or(0.0);
        if spent > limit {
            return Err(FollowError::OverBudget { spent: Cost::dollars(spent), limit: Cost::dollars(limit) });
        }
        Ok(())
    }
}
