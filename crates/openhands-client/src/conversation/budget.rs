//! The cost limit of a run.

use super::follow::FollowError;
use crate::agent_server::wire::Cost;

/// The cost limit of a run, and the cost of its conversation before the run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Budget {
    /// In US dollars.
    pub(super) limit: Option<f64>,
    pub(super) spent_before: Cost,
}

impl Budget {
    /// Returns the cost of this run alone, in US dollars.
    pub(super) fn spent(self, cost: Cost) -> Option<f64> {
        Some(cost.known()? - self.spent_before.known().unwrap_or(0.0))
    }

    /// Fails if the cost of the conversation exceeds the limit.
    pub(super) fn check(self, cost: Cost) -> Result<(), FollowError> {
        let (Some(limit), Some(spent)) = (self.limit, self.spent(cost)) else { return Ok(()) };
        if spent > limit {
            return Err(FollowError::OverBudget { spent: Cost::dollars(spent), limit: Cost::dollars(limit) });
        }
        Ok(())
    }
}
