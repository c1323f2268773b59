//! Completes the messages of a run. The only place that does: what the task says has its places filled in by [`crate::plan`];
//! here the first message gets what the run brings along, and the last one the question for a result.

use crate::agent_result::FinishFields;
use crate::plan::RunPlan;
use crate::plan::repos::ClonedRepo;

/// The messages as the agent gets them.
pub(super) fn complete(plan: &RunPlan, cloned: &[ClonedRepo], fields: FinishFields) -> Vec<String> {
    let mut messages = plan.conversation.messages.clone();
    if let Some(first) = messages.first_mut() {
        *first = plan.context.message(cloned, first);
    }
    // Where the finish tool has the fields, the tool asks.
    if let (Some(words), Some(last)) = (plan.result_spec.in_words(fields), messages.last_mut()) {
        last.push_str("\n\n");
        last.push_str(&words);
    }
    messages
}
