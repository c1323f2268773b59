//! One run in a sandbox, from the environment to the exit code. This is the only module that uses all others.
//!
//! ```text
//! environment ─► Reporting (lenient, first) ─► guardian
//!             └► Settings ─┐
//! task file   ──► Task ────┴► RunPlan ─► Workspace ─► conversation::drive ─► Outcome ─► sinks, callback, ExitCode
//! signals     ──► Shutdown ──────────────────────────────────┘
//! ```

mod account_secrets;
mod answer;
mod checks;
mod confirmation;
mod container;
mod deadline;
mod drive;
mod folder;
mod last_words;
mod limits;
mod mcp;
mod outside;
mod reminders;
mod reporter;
mod resources;
mod row;
mod salvage;
mod setup;
mod state;
mod task_command;
mod warnings;
mod work;

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

use self::last_words::budgets;
use self::reporter::Reporter;
use self::row::Chosen;
use self::state::RunState;
use self::work::Run;
use crate::agent_result::AgentResult;
use crate::cli::RunArgs;
use crate::input::Environment;
use crate::input::time_limits::ShutdownBudgets;
use crate::logging::Lines;
use crate::outcome::{ExitCode, Failure, FailureKind, Verdict};
use crate::process::footprint::give_back_code;
use crate::process::hook;
use crate::process::init::RestartState;
use crate::process::server::ServerProcess;
use crate::process::signals::Shutdown;
use crate::run_folder::RunFolder;
use crate::sinks::github::StepFiles;
use crate::sinks::phases::SettledElsewhere;
use crate::sinks::terminal::tell_failure;
use crate::sinks::{Record, Sinks, Stage};
use crate::view::View;

/// Runs a task in this sandbox, reports its outcome, and returns the exit code.
///
/// As soon as the reporting part of the environment has been read, every exit path delivers exactly one outcome.
///
/// `restart` is the state that PID 1 stores for the run, if this program is PID 1. `lines` is the output for people.
pub(crate) async fn run(
    mut args: RunArgs,
    mut environment: Environment,
    restart: Option<RestartState>,
    lines: Lines,
    mut shutdown: Shutdown,
) -> ExitCode {
    let row = match ends_or_signal(row::choose(&mut args, &mut environment), &mut shutdown).await {
        Ok(Chosen::Done(row)) => {
            tracing::info!(row = row.number, id = row.key, "the row has already completed: nothing to do");
            return ExitCode::COMPLETED;
        }
        Ok(Chosen::Row(row)) => Ok(row),
        Err(failure) => Err(failure),
    };
    let mut report = Reporter::new(&environment);
    if let Err(failure) = report.guard(args.out.is_some(), restart.as_ref(), &mut shutdown).await {
        let form = View::of_process(&args, &environment.raw).errors;
        tell_failure(&failure, &environment.redactor, &lines, form);
        return failure.kind.exit_code();
    }
    let run = Run::new(&args, &environment, row, restart.as_ref());
    let mut sinks = run.sinks(&lines);
    let mut own_server = None;
    let ended = execute(&run, &mut report, &mut sinks, &mut own_server, &mut shutdown).await;

    let ending = ended.as_ref().err().map(|failure| failure.kind);
    let ending = ending.or(run.state().cut_short.then_some(FailureKind::Timeout));
    let budgets = budgets(ending, run.is_from_outside(), &environment.time_limits.shutdown);
    let verdict = report.decide(ended, run.state());
    if let Some(restart) = restart.as_ref().filter(|_| report.is_guarded()) {
        restart.outcome_is_known();
    }
    let exit_code = verdict.exit_code();
    tokio::select! {
        () = finish(verdict, &run, &mut report, &mut sinks, own_server, budgets) => {}
        _ = shutdown.requested() => tracing::warn!("a signal while reporting: leaving the rest to the guardian"),
    }
    run.forget_sandbox();
    exit_code
}

/// Executes the run: plan, own agent-server, work; until its end or a signal.
async fn execute(
    run: &Run<'_>,
    report: &mut Reporter,
    sinks: &mut Sinks,
    own_server: &mut Option<ServerProcess>,
    shutdown: &mut Shutdown,
) -> Result<Option<AgentResult>, Failure> {
    let settled_elsewhere = report.phases().map(|(phases, settled)| {
        sinks.add(phases);
        settled
    });
    if let Some(folder) = run.open_folder(report.run_id())? {
        report.has_folder(folder);
    }
    sinks.record(&Record::Stage(Stage::SettingUp)).await;
    run.refuse_tracer()?;
    let mut plan = ends_or_signal(run.plan(), shutdown).await?;
    report.notifies(std::mem::take(&mut plan.notify), run, shutdown).await?;
    *own_server = run.start_own_server(&mut plan)?;
    if let Some(group) = own_server.as_ref().and_then(ServerProcess::group) {
        report.ends_with_us(group);
    }
    // A conversation needs little of the code that ran at the start.
    give_back_code();
    let work = async {
        tokio::select! {
            ended = run.work(plan, report.http.clone(), sinks) => ended,
            failure = death_of(own_server) => Err(failure),
            failure = settled(settled_elsewhere) => Err(failure),
            () = report.keep_informed(run.watch()) => Ok(None),
            () = run.panic_if_asked() => Ok(None),
        }
    };
    Box::pin(ends_or_signal(work, shutdown)).await
}

/// Completes a run after its verdict: stops the agent, publishes the outcome, and ends the processes of the run.
async fn finish(
    verdict: Verdict,
    run: &Run<'_>,
    report: &mut Reporter,
    sinks: &mut Sinks,
    own_server: Option<ServerProcess>,
    budgets: ShutdownBudgets,
) {
    let ((), last_words) = tokio::join!(run.end_command(budgets), run.last_words(&verdict, budgets));
    run.warn_of(&verdict, &last_words);
    run.complete_log(&verdict, budgets).await;
    if !budgets.salvages_last {
        run.salvage(&verdict, budgets).await;
    }
    let facts = run.facts(&last_words);
    let outcome = verdict.with(last_words, run.sandbox_id().await).warning(run.warnings()).knowing(facts);
    report.hand_over(&outcome);
    let is_told = report.publish(&outcome, sinks, budgets).await;
    // Not if the guardian still has to deliver the outcome: it starts when this process has ended.
    if budgets.salvages_last && is_told && run.salvage(outcome.verdict(), budgets).await {
        report.amend(&outcome.salvaging(run.salvaged(), run.warnings()), sinks).await;
    }
    // Not earlier: when the automation service gets the outcome, it reads the conversation.
    if let Some(server) = own_server {
        server.stop(budgets.server).await;
    }
    run.delete_sandbox().await;
    if let Some(conversation) = outcome.verdict().conversation_id {
        hook::clean_up(conversation, &std::env::temp_dir());
    }
}

/// Reports an invalid command line.
pub(crate) async fn refuse_usage(
    environment: Environment,
    message: String,
    restart: Option<RestartState>,
    mut shutdown: Shutdown,
) -> ExitCode {
    let mut report = Reporter::new(&environment);
    if report.guard(false, restart.as_ref(), &mut shutdown).await.is_err() {
        return ExitCode::USAGE;
    }
    let verdict = report.decide(Err(Failure::new(FailureKind::Usage, message)), RunState::default());
    let (outcome, mut sinks) = (verdict.alone(), Sinks::default());
    if let Some(files) = StepFiles::new(&environment.raw, RunFolder::default(), environment.redactor.clone()) {
        sinks.add(files);
    }
    tokio::select! {
        _ = report.publish(&outcome, &mut sinks, environment.time_limits.shutdown.unhurried) => {}
        _ = shutdown.requested() => {}
    }
    verdict.exit_code()
}

fn bug(panic: &(dyn std::any::Any + Send)) -> Failure {
    let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Failure::new(FailureKind::InternalError, format!("a bug in openhands-runner: {}", words.unwrap_or("a panic")))
}

/// Returns the end of `work`, or the signal that comes before it. A panic counts as an end.
async fn ends_or_signal<T>(
    work: impl Future<Output = Result<T, Failure>>,
    shutdown: &mut Shutdown,
) -> Result<T, Failure> {
    tokio::select! {
        ended = AssertUnwindSafe(work).catch_unwind() => ended.unwrap_or_else(|panic| Err(bug(&*panic))),
        signal = shutdown.requested() => Err(Failure::from(signal)),
    }
}

async fn settled(elsewhere: Option<SettledElsewhere>) -> Failure {
    match elsewhere {
        Some(settled) => Failure::new(FailureKind::RunEndedElsewhere, settled.reason().await),
        None => std::future::pending().await,
    }
}

async fn death_of(own_server: &mut Option<ServerProcess>) -> Failure {
    match own_server {
        Some(server) => Failure::new(FailureKind::AgentServerUnreachable, server.ended().await),
        None => std::future::pending().await,
    }
}
