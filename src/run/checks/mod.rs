//! The task's `checks`: commands that must pass after the agent has finished.
//!
//! [`Checks`] decides and does no I/O, [`check`] does what it says, and [`Scripts`] finds the files of the checks that were changed.

mod machine;
mod scripts;

use openhands_client::secret::Redactor;

use self::machine::{Checks, Next};
pub(super) use self::scripts::Scripts;
use super::drive::Driver;
use super::task_command::Place;
use super::warnings::Warnings;
use crate::outcome::{CheckResult, Failure, FailureKind};
use crate::plan::commands::ChecksPlan;
use crate::sinks::{Duty, Record, Sinks};

/// What must hold when the agent has finished, and where that is tried.
#[derive(Clone, Copy)]
pub(super) struct Proof<'p> {
    pub(super) place: Place<'p>,
    pub(super) plan: &'p ChecksPlan,
    pub(super) scripts: &'p Scripts,
    pub(super) warnings: &'p Warnings,
}

/// Runs the checks until all pass. What fails goes back to the agent, as long as attempts and time last. `know` gets the number of the
/// attempt and its results so far.
///
/// # Errors
/// The [`Failure`] that ends the run: [`FailureKind::ChecksFailed`], or that of a further turn.
pub(super) async fn check(
    proof: Proof<'_>,
    driver: &mut Driver<'_>,
    sinks: &mut Sinks,
    redactor: &Redactor,
    know: impl Fn(u32, &[CheckResult]),
) -> Result<(), Failure> {
    let Proof { place, plan, scripts, warnings } = proof;
    let of = plan.commands.len();
    let mut checks = Checks::new(of, plan.attempts, driver.sent_back());
    loop {
        match checks.next(driver.has_time()) {
            Next::Run { attempt, index } => {
                let Some(command) = plan.commands.get(index) else { return Ok(()) };
                let duty = Duty::Check { attempt };
                sinks.record(&Record::Command { duty, number: index + 1, of, name: &command.name }).await;
                // Before it runs: what the check itself changes is not the agent's.
                let changed = scripts.changed(place, index, warnings).await;
                let result = place.run(command).await?.without_secrets(redactor);
                sinks.record(&Record::CommandEnded { duty, result: &result }).await;
                checks.ended(CheckResult { command: result, changed });
                know(attempt, checks.results());
            }
            Next::SendBack(message) => {
                driver.continue_with(&message, sinks).await?;
                checks.begin_attempt();
            }
            Next::Passed => break,
            Next::Failed(detail) => return Err(Failure::new(FailureKind::ChecksFailed, detail)),
        }
    }
    Ok(())
}
