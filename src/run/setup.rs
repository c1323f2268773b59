//! The task's `setup`: commands that run before the first message.

use openhands_client::text;

use super::task_command::Place;
use crate::outcome::{CommandResult, Failure, FailureKind};
use crate::plan::commands::CommandPlan;
use crate::sinks::{Duty, Record, Sinks};

/// The longest end of an output that the reason of a failure contains, in characters.
const LONGEST_OUTPUT: usize = 1500;

/// Runs the commands in their order. `know` gets the result of each.
///
/// # Errors
/// The [`Failure`] that ends the run: [`FailureKind::SetupFailed`] for the first command that fails.
pub(super) async fn set_up(
    place: Place<'_>,
    plans: &[CommandPlan],
    sinks: &mut Sinks,
    mut know: impl FnMut(CommandResult),
) -> Result<(), Failure> {
    let of = plans.len();
    for (number, plan) in (1..).zip(plans) {
        sinks.record(&Record::Command { duty: Duty::Setup, number, of, name: &plan.name }).await;
        let result = place.run(plan).await?;
        sinks.record(&Record::CommandEnded { duty: Duty::Setup, result: &result }).await;
        know(result.clone());
        if !result.is_passed() {
            return Err(failure(&result, number, of));
        }
    }
    Ok(())
}

fn failure(result: &CommandResult, number: usize, of: usize) -> Failure {
    let output = match text::ending(&result.output, LONGEST_OUTPUT) {
        output if output.is_empty() => "it printed nothing".to_owned(),
        output => format!("the end of its output:\n{output}"),
    };
    let detail = format!("setup command {number} of {of} (`{}`) {}; {output}", result.name, result.ending());
    Failure::new(FailureKind::SetupFailed, detail)
}
