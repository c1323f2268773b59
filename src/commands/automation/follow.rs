//! `automation run` and `automation logs`: follow a run to its end.

use openhands_client::automation::{AutomationId, AutomationRun, AutomationService, RunId, RunStatus};
use openhands_client::retry::Policy;
use openhands_client::text::one_line;
use tokio::time::sleep;

use super::super::{CommandContext, until_signal};
use super::{describe, service};
use crate::outcome::{ExitCode, Failure, FailureKind};
use crate::process::signals::Shutdown;

/// The longest phase in the output, in characters. The service has no longer ones.
const LONGEST_PHASE: usize = 200;

pub(super) async fn run(
    context: &CommandContext,
    id: AutomationId,
    waits: bool,
    shutdown: &mut Shutdown,
) -> Result<ExitCode, Failure> {
    let service = service(context)?;
    let run = until_signal(shutdown, async { Ok(service.dispatch(id).await?) }).await?;
    if waits {
        tracing::info!(run_id = %run.id, "run triggered");
        return to_the_end(context, &service, run, shutdown).await;
    }
    let next = format!("\nnext\n  openhands-runner automation logs {id} {}", run.id);
    context.tell(&(describe::run_text(&run) + &next), &describe::run_object(&run)).await;
    Ok(ExitCode::COMPLETED)
}

pub(super) async fn logs(
    context: &CommandContext,
    id: AutomationId,
    run: Option<RunId>,
    shutdown: &mut Shutdown,
) -> Result<ExitCode, Failure> {
    let service = service(context)?;
    let found = until_signal(shutdown, async {
        match run {
            Some(run) => Ok(service.run(id, &run).await?),
            None => service.runs(id).await?.into_iter().next().ok_or_else(|| {
                let words = format!("no run yet: `openhands-runner automation run {id}` starts one");
                Failure::new(FailureKind::InvalidInput, words)
            }),
        }
    });
    let found = found.await?;
    to_the_end(context, &service, found, shutdown).await
}

/// Logs each new phase of the run, and returns the completed run. A signal does not end the run.
async fn to_the_end(
    context: &CommandContext,
    service: &AutomationService,
    run: AutomationRun,
    shutdown: &mut Shutdown,
) -> Result<ExitCode, Failure> {
    let (id, run_id) = (run.automation_id, run.id.clone());
    let ended = until_signal(shutdown, ended(context, service, run)).await.inspect_err(|failure| {
        if matches!(
            failure.kind,
            FailureKind::HungUp | FailureKind::Interrupted | FailureKind::Quit | FailureKind::Terminated
        ) {
            tracing::info!("the run continues; `openhands-runner automation logs {id} {run_id}` shows its end");
        }
    })?;
    context.tell(&describe::run_text(&ended), &describe::run_object(&ended)).await;
    Ok(if ended.status == RunStatus::Completed { ExitCode::COMPLETED } else { ExitCode::FAILED })
}

async fn ended(
    context: &CommandContext,
    service: &AutomationService,
    mut run: AutomationRun,
) -> Result<AutomationRun, Failure> {
    let mut shown = None;
    let mut delays = Policy::cloud_poll(&context.environment.time_limits.client).delays();
    loop {
        let phase = run.current_phase.clone();
        if phase != shown {
            if let Some(phase) = &phase {
                tracing::info!(run_id = %run.id, "{}", one_line(phase, LONGEST_PHASE));
            }
            shown = phase;
            delays.reset();
        }
        if run.status.is_final() {
            return Ok(run);
        }
        // The policy has no end, because the service ends each run.
        sleep(delays.next_delay().unwrap_or_default()).await;
        run = service.run(run.automation_id, &run.id).await?;
    }
}
