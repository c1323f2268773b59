//! One run inside a sandbox, from the environment to the exit code. The only module that knows all the others.
//!
//! ```text
//! environment ─► Reporting (lenient, first) ─► guardian
//!             └► Settings ─┐
//! task file   ──► Task ────┴► RunPlan ─► Workspace ─► conversation::drive ─► Outcome ─► sinks, callback, ExitCode
//! signals     ──► Shutdown ──────────────────────────────────┘
//! ```

mod answer;
mod conclude;
mod deadline;
mod limits;
mod outside;
mod report;
mod resources;

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt as _;
use openhands_client::agent_server::AgentServer;
use openhands_client::agent_server::ready::await_ready;
use openhands_client::conversation::ConversationPlan;
use openhands_client::conversation::{self, RunState};
use openhands_client::http::Http;
use openhands_client::secret::{Redactor, Secret};
use openhands_client::text;
use openhands_client::time_limits;
use tokio::sync::{OnceCell, watch};
use tokio::time::Instant;

use self::conclude::{budgets, conclude};
use self::limits::{Limit, within};
use self::outside::Outside;
use self::report::Reporter;
use self::resources::resources;
use crate::agent_result::{AgentResult, ResultSpec};
use crate::cli::{RunArgs, WorkspaceKind};
use crate::input::Environment;
use crate::input::problem::Problems;
use crate::input::settings::{Account, Here, Overrides, Settings};
use crate::input::task::source::Source;
use crate::outcome::{ExitCode, Failure, FailureKind};
use crate::plan::RunPlan;
use crate::prepare::prepare;
use crate::prepare::workspace::workspace;
use crate::process::hook;
use crate::process::init::RestartState;
use crate::process::server::ServerProcess;
use crate::process::signals::Shutdown;
use crate::sinks::output::{Output, ResultFile};
use crate::sinks::phases::SettledElsewhere;
use crate::sinks::progress::Progress;
use crate::sinks::{Record, Sinks, Stage};

/// Runs a task in this sandbox, reports its outcome, and gives the exit code.
///
/// From the moment in which the reporting part of the environment is read, every way out delivers one outcome.
pub(crate) async fn run(args: RunArgs, environment: Environment, mut shutdown: Shutdown) -> ExitCode {
    let life = RestartState::of(&environment.raw);
    let now = Instant::now();
    let elapsed = life.as_ref().map_or(Duration::ZERO, |life| life.elapsed);
    let started = now.checked_sub(elapsed).unwrap_or(now);
    let mut report = Reporter::new(&environment);
    if let Err(failure) = report.guard(&args, &mut shutdown).await {
        tracing::error!(code = failure.code(), "{}", failure.detail);
        return failure.kind.exit_code();
    }
    let mut sinks = sinks(&args, &environment.redactor);
    let mut settled_elsewhere = None;
    if let Some((phases, settled)) = report.phases() {
        sinks = sinks.with(phases);
        settled_elsewhere = Some(settled);
    }
    sinks.record(&Record::Stage(Stage::SettingUp)).await;
    let mut own_server = None;
    let run = Run {
        environment: &environment,
        started,
        is_resumed: !elapsed.is_zero(),
        known: watch::Sender::default(),
        server: OnceCell::new(),
        conversation: OnceCell::new(),
        sandbox: Outside::default(),
    };

    let ended = match ends_or_signal(run.plan(&args), &mut shutdown).await {
        Ok(mut plan) => match start_own_server(&args, &mut plan, life.as_ref(), &environment.redactor) {
            Ok(server) => {
                own_server = server;
                if let Some(group) = own_server.as_ref().and_then(ServerProcess::group) {
                    report.ends_with_us(group);
                }
                let work = async {
                    tokio::select! {
                        ended = run.work(&args, plan, report.http.clone(), &mut sinks) => ended,
                        failure = death_of(&mut own_server) => Err(failure),
                        failure = settled(settled_elsewhere) => Err(failure),
                        () = report.keep_informed(run.known.subscribe()) => Ok(None),
                        () = panic_if_asked(&args, run.known.subscribe()) => Ok(None),
                    }
                };
                Box::pin(ends_or_signal(work, &mut shutdown)).await
            }
            Err(failure) => Err(failure),
        },
        Err(failure) => Err(failure),
    };

    let budgets = budgets(ended.as_ref().err());
    let mut outcome = report.decide(ended, *run.known.borrow());
    if life.is_some() && report.is_guarded() {
        RestartState::outcome_is_known();
    }
    let exit_code = outcome.exit_code();
    let wrap_up = async {
        let at_work = run.known.borrow().at_work;
        conclude(&mut outcome, run.server.get(), run.conversation.get(), at_work, budgets).await;
        outcome.sandbox_id = run.sandbox.id().await;
        report.learn(&outcome);
        report.publish(&outcome, &mut sinks, budgets).await;
        // Not before: the automation service looks at the conversation when it is told of the outcome.
        if let Some(server) = own_server {
            server.stop(budgets.server).await;
        }
        run.sandbox.delete().await;
        if let Some(conversation) = outcome.conversation_id {
            hook::clean_up(conversation, &std::env::temp_dir());
        }
    };
    tokio::select! {
        () = wrap_up => {}
        _ = shutdown.requested() => tracing::warn!("a signal while reporting: leaving the rest to the guardian"),
    }
    run.sandbox.forget();
    exit_code
}

/// Reports a command line that cannot be understood.
pub(crate) async fn refuse_usage(environment: Environment, message: String, mut shutdown: Shutdown) -> ExitCode {
    let mut report = Reporter::new(&environment);
    if report.guard(&RunArgs::default(), &mut shutdown).await.is_err() {
        return ExitCode::USAGE;
    }
    let failure = Failure::new(FailureKind::Usage, message);
    let outcome = report.decide(Err(failure), RunState::default());
    let mut sinks = Sinks::default();
    tokio::select! {
        () = report.publish(&outcome, &mut sinks, time_limits::UNHURRIED) => {}
        _ = shutdown.requested() => {}
    }
    outcome.exit_code()
}

fn sinks(args: &RunArgs, redactor: &Redactor) -> Sinks {
    let sinks = Sinks::default().with(Progress::new(redactor.clone()));
    // Before standard output, which may have a reader that is slow.
    let sinks = match &args.result {
        Some(path) => sinks.with(ResultFile::new(path.clone())),
        None => sinks,
    };
    sinks.with(Output::new(args.format))
}

fn bug(panic: &(dyn std::any::Any + Send)) -> Failure {
    let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Failure::new(FailureKind::InternalError, format!("a bug in openhands-runner: {}", words.unwrap_or("a panic")))
}

/// The end of `work`, or the signal that comes before it. A panic is an end too.
async fn ends_or_signal<T>(
    work: impl Future<Output = Result<T, Failure>>,
    shutdown: &mut Shutdown,
) -> Result<T, Failure> {
    tokio::select! {
        ended = AssertUnwindSafe(work).catch_unwind() => ended.unwrap_or_else(|panic| Err(bug(&*panic))),
        signal = shutdown.requested() => Err(Failure::from(signal)),
    }
}

fn start_own_server(
    args: &RunArgs,
    plan: &mut RunPlan,
    life: Option<&RestartState>,
    redactor: &Redactor,
) -> Result<Option<ServerProcess>, Failure> {
    let Some(command) = &args.server_command else { return Ok(None) };
    let new_key = || life.map_or_else(|| Secret::new(uuid::Uuid::new_v4().to_string()), |life| life.server_key.clone());
    let key = plan.agent_server.session_key.get_or_insert_with(new_key);
    redactor.learn(key);
    tracing::info!("starting the agent-server");
    ServerProcess::start(command, key, args.server_log.as_deref())
        .map(Some)
        .map_err(|error| Failure::new(FailureKind::InvalidInput, text::chain(&error)))
}

async fn death_of(own_server: &mut Option<ServerProcess>) -> Failure {
    match own_server {
        Some(server) => Failure::new(FailureKind::AgentServerUnreachable, server.ended().await),
        None => std::future::pending().await,
    }
}

/// See `RunArgs::panic`.
async fn panic_if_asked(args: &RunArgs, mut known: watch::Receiver<RunState>) {
    #[cfg(debug_assertions)]
    if args.panic {
        let known = known.wait_for(|known| known.cost.known().is_some_and(|dollars| dollars > 0.0)).await;
        assert!(known.is_err(), "asked to panic");
    }
    let _ = (args, &mut known);
    std::future::pending::<()>().await;
}

async fn settled(elsewhere: Option<SettledElsewhere>) -> Failure {
    match elsewhere {
        Some(settled) => Failure::new(FailureKind::RunEndedElsewhere, settled.reason().await),
        None => std::future::pending().await,
    }
}

/// A run while it is under way.
struct Run<'r> {
    environment: &'r Environment,
    started: Instant,
    /// Whether an earlier life of the run was killed.
    is_resumed: bool,
    known: watch::Sender<RunState>,
    server: OnceCell<AgentServer>,
    conversation: OnceCell<(ConversationPlan, ResultSpec)>,
    sandbox: Outside,
}

impl Run<'_> {
    /// Everything that the user gave, checked as a whole before anything is started.
    async fn plan(&self, args: &RunArgs) -> Result<RunPlan, Failure> {
        let source = match &args.prompt {
            Some(prompt) => Source::Text(prompt.clone()),
            None => Source::named(args.task.as_deref(), Path::new(".")),
        };
        let is_plain = args.plain;
        // A pipe that nobody closes must not hold up signals.
        let task = tokio::task::spawn_blocking(move || if is_plain { source.load_plain() } else { source.load() });
        let flags = Overrides {
            agent_server_url: args.agent_server_url.clone(),
            conversation_id: args.overrides.conversation_id,
            profile: args.overrides.profile.clone(),
            working_dir: args.overrides.working_dir.clone(),
            params: args.overrides.params.clone(),
            cloud: args.workspace == WorkspaceKind::Cloud,
            here: Here::of_process(),
        };
        let settings = Settings::from_env(&self.environment.raw, &self.environment.not_text, flags);
        let task = task.await.unwrap_or_else(|bug| std::panic::resume_unwind(bug.into_panic()));
        let plan = match (settings, task) {
            (Ok(settings), Ok(task)) => {
                let (ready_timeout, is_outside) = (args.ready_timeout(), args.workspace == WorkspaceKind::Cloud);
                let limit =
                    args.overrides.timeout.or(task.limits.timeout).map(|limit| Limit::of_task(self.started, limit));
                // Filling in the messages may take a moment, in which signals and the time limit count.
                let filling_in = tokio::task::spawn_blocking(move || {
                    let whole = RunPlan::new(settings, task, ready_timeout)?;
                    if is_outside { whole.driven_from_outside() } else { Ok(whole) }
                });
                let ended = within(limit.as_ref(), filling_in).await?;
                ended.unwrap_or_else(|bug| std::panic::resume_unwind(bug.into_panic()))
            }
            (settings, task) => {
                let of_settings = settings.err().map(|problems| problems.0).unwrap_or_default();
                Err(Problems(of_settings.into_iter().chain(task.err()).collect()))
            }
        };
        let mut plan = plan.map_err(|problems| Failure::new(FailureKind::InvalidInput, problems.to_string()))?;
        plan.timeout = args.overrides.timeout.or(plan.timeout);
        Ok(plan)
    }

    async fn work(
        &self,
        args: &RunArgs,
        plan: RunPlan,
        http: Http,
        sinks: &mut Sinks,
    ) -> Result<Option<AgentResult>, Failure> {
        let own_limit = plan.timeout.map(|limit| Limit::of_task(self.started, limit));
        let own_limit = own_limit.map(|limit| if self.is_resumed { limit.with_time_to_attach() } else { limit });
        if self.is_resumed && !plan.conversation.continued {
            // It may be there, its agent at work, and that is to be stopped however little time is left.
            self.known.send_modify(|known| (known.conversation_id, known.at_work) = (Some(plan.conversation.id), true));
        }
        let (workspace, server) = match &plan.account {
            Account::OfSandbox(key) => {
                let ready = self.sandbox.ready(args, key, http, self.environment);
                within(own_limit.as_ref(), ready).await??
            }
            account => {
                let workspace = workspace(&http, &plan.agent_server, account);
                let ready =
                    within(own_limit.as_ref(), await_ready(workspace.agent_server(), plan.ready_timeout)).await?;
                let capabilities = ready.map_err(Failure::from)?;
                let server = AgentServer { client: workspace.agent_server().clone(), capabilities };
                (workspace, server)
            }
        };
        let server = self.server.get_or_init(async || server).await;

        let limit = limits::earliest(own_limit, server, &plan).await;
        let wrap_up_at = limit.as_ref().and_then(|limit| limit.wrap_up_at(args.soft_landing()?));
        let driven = async {
            let redactor = &self.environment.redactor;
            let resources = async { resources(&*workspace, &plan, redactor).await.map_err(Failure::from) };
            let (conversation, resources) = tokio::try_join!(prepare(&*workspace, &plan, redactor, sinks), resources)?;
            sinks.record(&Record::Stage(Stage::Configuring)).await;
            let conversation = answer::asked(&plan, conversation, server.capabilities);
            let conversation = self.conversation.get_or_init(async || (conversation, plan.result_spec.clone())).await;
            let (conversation, result_spec) = conversation;
            conversation::drive(server, conversation, resources, sinks, &self.known, wrap_up_at).await?;
            answer::answer(server, conversation, result_spec).await
        };
        within(limit.as_ref(), driven).await?
    }
}
