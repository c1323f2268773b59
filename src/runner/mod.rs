//! One run inside a sandbox, from the environment to the exit code. The only module that knows all the others.
//!
//! ```text
//! environment ─► Reporting (lenient, first) ─► guardian
//!             └► Settings ─┐
//! task file   ──► Task ────┴► RunPlan ─► Workspace ─► conversation::drive ─► Outcome ─► sinks, callback, ExitCode
//! signals     ──► Shutdown ──────────────────────────────────┘
//! ```

pub(crate) mod failures;
mod outside;
mod report;

use std::panic::AssertUnwindSafe;
use std::path::Path;

use futures_util::FutureExt as _;
use tokio::sync::{OnceCell, watch};
use tokio::time::{Instant, timeout, timeout_at};

use self::failures::{bug, ended_by, not_inherited, not_ready};
use self::outside::Outside;
use self::report::Reporter;
use crate::agent_server::deadline;
use crate::agent_server::mcp::McpServers;
use crate::agent_server::ready::await_ready;
use crate::agent_server::wire::{Llm, SecretSource, Secrets};
use crate::ancestry::Ancestry;
use crate::answer::{Answer, hook};
use crate::cli::{RunArgs, WorkspaceKind};
use crate::config::env::RawEnv;
use crate::config::settings::{Account, Overrides, Settings};
use crate::conversation::{self, Equipment, Known, Server};
use crate::display;
use crate::http::{Http, HttpError};
use crate::outcome::{ExitCode, Failure, FailureKind, Outcome};
use crate::plan::{ConversationPlan, LlmBase, RunPlan, SecretSelection};
use crate::prepare::prepare;
use crate::problem::Problems;
use crate::secret::{Redactor, Secret};
use crate::server_process::ServerProcess;
use crate::shutdown::Shutdown;
use crate::sink::output::{Output, ResultFile};
use crate::sink::phases::SettledElsewhere;
use crate::sink::progress::Progress;
use crate::sink::{Record, Sinks, Stage};
use crate::task::source::Source;
use crate::timing::{self, Patience};
use crate::workspace::{Workspace, WorkspaceError, workspace};

/// What the process was given, besides its command line.
#[derive(Debug)]
pub struct Environment {
    /// The known variables.
    pub raw: RawEnv,
    /// Known variables whose value is not text.
    pub not_text: Vec<String>,
    /// Shared with the log.
    pub redactor: Redactor,
}

/// Runs a task in this sandbox, reports its outcome, and gives the exit code.
///
/// From the moment in which the reporting part of the environment is read, every way out delivers one outcome.
pub async fn run(args: RunArgs, environment: Environment, mut shutdown: Shutdown) -> ExitCode {
    let started = Instant::now();
    let mut report = Reporter::new(&environment);
    if let Err(failure) = report.guard(&args) {
        tracing::error!(code = failure.code(), "{}", failure.detail);
        return failure.kind.exit_code();
    }
    let mut sinks = sinks(&args);
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
        known: watch::Sender::default(),
        server: OnceCell::new(),
        conversation: OnceCell::new(),
        sandbox: Outside::default(),
    };

    let ended = match ends_or_signal(run.plan(&args), &mut shutdown).await {
        Ok(mut plan) => match start_own_server(&args, &mut plan, &environment.redactor) {
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

    let patience = patience(ended.as_ref().err());
    let mut outcome = report.decide(ended, *run.known.borrow());
    let exit_code = outcome.exit_code();
    let wrap_up = async {
        let at_work = run.known.borrow().at_work;
        conclude(&mut outcome, run.server.get(), run.conversation.get(), at_work, patience).await;
        outcome.sandbox_id = run.sandbox.id().await;
        report.learn(&outcome);
        report.publish(&outcome, &mut sinks, patience).await;
        // Not before: the automation service looks at the conversation when it is told of the outcome.
        if let Some(server) = own_server {
            server.stop(patience.server).await;
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
pub async fn refuse_usage(environment: Environment, message: String, mut shutdown: Shutdown) -> ExitCode {
    let mut report = Reporter::new(&environment);
    if report.guard(&RunArgs::default()).is_err() {
        return ExitCode::USAGE;
    }
    let failure = Failure::new(FailureKind::Usage, message);
    let outcome = report.decide(Err(failure), Known::default());
    let mut sinks = Sinks::default();
    tokio::select! {
        () = report.publish(&outcome, &mut sinks, timing::AT_LEISURE) => {}
        _ = shutdown.requested() => {}
    }
    outcome.exit_code()
}

fn sinks(args: &RunArgs) -> Sinks {
    let sinks = Sinks::default().with(Progress);
    // Before standard output, which may have a reader that is slow.
    let sinks = match &args.result {
        Some(path) => sinks.with(ResultFile::new(path.clone())),
        None => sinks,
    };
    sinks.with(Output::new(args.format))
}

/// The end of `work`, or the signal that comes before it. A panic is an end too.
async fn ends_or_signal<T>(
    work: impl Future<Output = Result<T, Failure>>,
    shutdown: &mut Shutdown,
) -> Result<T, Failure> {
    tokio::select! {
        ended = AssertUnwindSafe(work).catch_unwind() => ended.unwrap_or_else(|panic| Err(bug(&*panic))),
        signal = shutdown.requested() => Err(ended_by(signal)),
    }
}

fn start_own_server(args: &RunArgs, plan: &mut RunPlan, redactor: &Redactor) -> Result<Option<ServerProcess>, Failure> {
    let Some(command) = &args.server_command else { return Ok(None) };
    let key = plan.agent_server.session_key.get_or_insert_with(|| Secret::new(uuid::Uuid::new_v4().to_string()));
    redactor.learn(key);
    tracing::info!("starting the agent-server");
    ServerProcess::start(command, key, args.server_log.as_deref())
        .map(Some)
        .map_err(|error| Failure::new(FailureKind::InvalidInput, display::chain(&error)))
}

async fn death_of(own_server: &mut Option<ServerProcess>) -> Failure {
    match own_server {
        Some(server) => Failure::new(FailureKind::AgentServerUnreachable, server.ended().await),
        None => std::future::pending().await,
    }
}

/// See `RunArgs::panic`.
async fn panic_if_asked(args: &RunArgs, mut known: watch::Receiver<Known>) {
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
    known: watch::Sender<Known>,
    server: OnceCell<Server>,
    conversation: OnceCell<ConversationPlan>,
    sandbox: Outside,
}

impl Run<'_> {
    /// Everything that the user gave, checked as a whole before anything is started.
    async fn plan(&self, args: &RunArgs) -> Result<RunPlan, Failure> {
        let source = Source::named(args.task.as_deref(), Path::new("."));
        // A pipe that nobody closes must not hold up signals.
        let task = tokio::task::spawn_blocking(move || source.load());
        let flags = Overrides {
            agent_server_url: args.agent_server_url.clone(),
            conversation_id: args.conversation_id,
            profile: args.profile.clone(),
            working_dir: args.working_dir.clone(),
            params: args.params.clone(),
            cloud: args.workspace == WorkspaceKind::Cloud,
        };
        let settings = Settings::from_env(&self.environment.raw, &self.environment.not_text, flags);
        let task = task.await.unwrap_or_else(|bug| std::panic::resume_unwind(bug.into_panic()));
        let plan = match (settings, task) {
            (Ok(settings), Ok(task)) => match args.workspace {
                WorkspaceKind::Inside => RunPlan::new(settings, task, args.ready_timeout()),
                WorkspaceKind::Cloud => {
                    RunPlan::new(settings, task, args.ready_timeout()).and_then(RunPlan::from_outside)
                }
            },
            (settings, task) => {
                let of_settings = settings.err().map(|problems| problems.0).unwrap_or_default();
                Err(Problems(of_settings.into_iter().chain(task.err()).collect()))
            }
        };
        let mut plan = plan.map_err(|problems| Failure::new(FailureKind::InvalidInput, problems.to_string()))?;
        plan.timeout = args.timeout.or(plan.timeout);
        Ok(plan)
    }

    async fn work(
        &self,
        args: &RunArgs,
        plan: RunPlan,
        http: Http,
        sinks: &mut Sinks,
    ) -> Result<Option<Answer>, Failure> {
        let own_limit = plan.timeout.map(|limit| Limit {
            at: self.started + limit,
            reason: format!("the run reached its time limit of {limit:?}"),
        });
        let (workspace, server) = match &plan.account {
            Account::OfSandbox(key) => {
                let ready = self.sandbox.ready(args, key, http, self.environment);
                within(own_limit.as_ref(), ready).await??
            }
            account => {
                let workspace = workspace(&http, &plan.agent_server, account);
                let ready =
                    within(own_limit.as_ref(), await_ready(workspace.agent_server(), plan.ready_timeout)).await?;
                let capabilities = ready.map_err(|error| not_ready(&error))?;
                let server = Server { client: workspace.agent_server().clone(), capabilities };
                (workspace, server)
            }
        };
        let server = self.server.get_or_init(async || server).await;

        let theirs = timeout(timing::LIMIT_SEARCH, limit_of_process(server, &plan)).await.ok().flatten();
        let limit = match theirs {
            Some(theirs) if own_limit.as_ref().is_none_or(|own| theirs.at < own.at) => Some(theirs),
            _ => own_limit,
        };
        let now = Instant::now();
        let wrap_up_at = match (&limit, args.soft_landing()) {
            // A run that is as short as its landing gets none.
            (Some(limit), Some(landing)) if limit.at > now + landing * 2 => Some(limit.at - landing),
            _ => None,
        };
        let driven = async {
            let redactor = &self.environment.redactor;
            let equipment = async { self.equipment(&*workspace, &plan).await.map_err(|error| not_inherited(&error)) };
            let (conversation, equipment) = tokio::try_join!(prepare(&*workspace, &plan, redactor, sinks), equipment)?;
            sinks.record(&Record::Stage(Stage::Configuring)).await;
            let conversation = self.conversation.get_or_init(async || conversation).await;
            conversation::drive(server, conversation, equipment, sinks, &self.known, wrap_up_at).await?;
            conversation::answer(server, conversation).await
        };
        within(limit.as_ref(), driven).await?
    }

    /// What the agent works with, of the account's.
    async fn equipment(&self, workspace: &dyn Workspace, plan: &RunPlan) -> Result<Equipment, WorkspaceError> {
        let mcp = async {
            workspace.mcp_servers().await.unwrap_or_else(|error| {
                tracing::warn!(error = %display::chain(&error), "going on without the account's MCP servers");
                McpServers::default()
            })
        };
        let secrets = async {
            match workspace.secrets(&plan.secrets).await {
                Err(error @ WorkspaceError::Account { .. }) if plan.secrets == SecretSelection::All => {
                    tracing::warn!(error = %display::chain(&error), "going on without the account's secrets");
                    Ok(Secrets::new())
                }
                other => other,
            }
        };
        let inherited = async { tokio::try_join!(self.llm(workspace, plan), secrets) };
        let (inherited, mcp) = tokio::join!(inherited, mcp);
        let (llm, mut secrets) = inherited?;
        let mcp = mcp.with(&plan.conversation.mcp);
        mcp.secrets().iter().for_each(|secret| self.environment.redactor.learn(secret));
        if !mcp.is_empty() {
            tracing::info!(servers = %mcp.names().join(", "), "MCP servers configured");
        }
        let id = plan.conversation.id;
        if let Some(value) = workspace.session_url(id).filter(|_| plan.conversation.run_id.is_some()) {
            // For a person who reads what the agent writes elsewhere, such as a comment.
            secrets.entry("AUTOMATION_SESSION_URL".to_owned()).or_insert(SecretSource::Static { value });
        }
        Ok(Equipment { llm, secrets, mcp })
    }

    async fn llm(&self, workspace: &dyn Workspace, plan: &RunPlan) -> Result<Llm, WorkspaceError> {
        let base = match &plan.llm.base {
            LlmBase::Given(llm) => llm.clone(),
            LlmBase::Inherited { profile: None, .. } => match workspace.llm(None).await {
                // Some LLMs need no more than what the task says of them.
                Err(WorkspaceError::NoLlm) if plan.llm.fields.contains_key("model") => Llm::default(),
                other => other?,
            },
            LlmBase::Inherited { profile: Some(profile), .. } => match workspace.llm(Some(&profile.name)).await {
                Err(missing @ WorkspaceError::NoSuchProfile { .. }) if profile.default_will_do => {
                    tracing::warn!("{missing}; taking the account's default LLM");
                    workspace.llm(None).await?
                }
                other => other?,
            },
        };
        let llm = plan.llm.complete(&base);
        if let Some(key) = llm.text("api_key") {
            self.environment.redactor.learn(&Secret::new(key));
        }
        tracing::info!(model = llm.model().unwrap_or("unknown"), "LLM configured");
        Ok(llm)
    }
}

/// When a run ends, and why.
struct Limit {
    at: Instant,
    reason: String,
}

async fn within<T>(limit: Option<&Limit>, work: impl Future<Output = T>) -> Result<T, Failure> {
    match limit {
        None => Ok(work.await),
        Some(Limit { at, reason }) => {
            timeout_at(*at, work).await.map_err(|_| Failure::new(FailureKind::Timeout, reason.clone()))
        }
    }
}

/// The limit that the agent-server has set for this process, if it started us: early enough to report before it.
async fn limit_of_process(server: &Server, plan: &RunPlan) -> Option<Limit> {
    if matches!(plan.account, Account::OfSandbox(_)) {
        return None;
    }
    let program = std::env::current_exe().ok()?.file_name()?.to_string_lossy().into_owned();
    // By a name of its own the server may be this machine's or another's.
    let program = plan.agent_server.is_local().then_some(program.as_str());
    match deadline::time_left(&server.client, &Ancestry::of_process(), program).await {
        Ok(left) => left.map(|left| {
            tracing::info!("the agent-server will end this process in {} s", left.as_secs());
            Limit {
                at: Instant::now() + left.saturating_sub(timing::BEFORE_KILL),
                reason: "the run reached the time-out that the agent-server has for this process".to_owned(),
            }
        }),
        Err(error) => {
            tracing::debug!(error = %display::chain(&error), "the time-out of this process is not known");
            None
        }
    }
}

fn patience(failure: Option<&Failure>) -> Patience {
    match failure.map(|failure| failure.kind) {
        Some(FailureKind::HungUp | FailureKind::Interrupted | FailureKind::Quit | FailureKind::Terminated) => {
            timing::AT_SIGNAL
        }
        Some(FailureKind::Timeout) => timing::AT_LIMIT,
        _ => timing::AT_LEISURE,
    }
}

/// Whether the agent may still be at work when a run ends so.
fn leaves_agent_at_work(kind: FailureKind) -> bool {
    matches!(
        kind,
        FailureKind::Timeout
            | FailureKind::CostLimitReached
            | FailureKind::HungUp
            | FailureKind::Interrupted
            | FailureKind::Quit
            | FailureKind::Terminated
            | FailureKind::InternalError
            | FailureKind::RunEndedElsewhere
            | FailureKind::AgentServerUnreachable
            | FailureKind::RequestRefused
    )
}

/// Stops an agent that is still at work, and reads what is to be said of it: its final message, how the task went by its own
/// account, and what it has cost.
async fn conclude(
    outcome: &mut Outcome,
    server: Option<&Server>,
    plan: Option<&ConversationPlan>,
    at_work: bool,
    patience: Patience,
) {
    let (Some(server), Some(id)) = (server, outcome.conversation_id) else { return };
    let at_work = at_work && outcome.failure.as_ref().is_some_and(|failure| leaves_agent_at_work(failure.kind));
    let stop = async {
        if at_work {
            // A pause is answered only after the running command; it works all the same.
            in_time("the agent could not be stopped", patience, server.client.stop(id, server.capabilities)).await;
        }
    };
    let message = in_time("no final message", patience, conversation::final_message(server, id));
    let info = async {
        // Of a turn that was not followed to its end the last of the cost is still to be read.
        if at_work { in_time("no final cost", patience, server.client.conversation(id)).await } else { None }
    };
    let completed = outcome.failure.is_none();
    let task_outcome = async {
        let plan = plan.filter(|_| completed)?;
        in_time("no task outcome", patience, conversation::task_outcome(server, plan)).await.flatten()
    };
    let ((), message, info, task_outcome) = tokio::join!(stop, message, info, task_outcome);
    outcome.message = message.flatten();
    outcome.answer = outcome.answer.take().or(task_outcome);
    if let Some(info) = info.filter(|info| !info.cost().is_unknown()) {
        outcome.cost = info.cost();
    }
}

async fn in_time<T>(
    complaint: &str,
    patience: Patience,
    call: impl Future<Output = Result<T, HttpError>>,
) -> Option<T> {
    match timeout(patience.agent, call).await {
        Ok(Ok(answer)) => return Some(answer),
        Ok(Err(error)) => tracing::warn!(error = %display::chain(&error), "{complaint}"),
        Err(_) => tracing::debug!("{complaint} in time"),
    }
    None
}
