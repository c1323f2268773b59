//! One run inside a sandbox, from the environment to the exit code. The only module that knows all the others.
//!
//! ```text
//! environment ─► Reporting (lenient, first)
//!             └► Settings ─┐
//! task file   ──► Task ────┴► RunPlan ─► Workspace ─► conversation::drive ─► Outcome ─► sinks, callback, ExitCode
//! signals     ──► Shutdown ──────────────────────────────────┘
//! ```

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{OnceCell, watch};
use tokio::time::{Instant, timeout};

use crate::agent_server::ready::{ReadyError, await_ready};
use crate::agent_server::wire::Llm;
use crate::automation::callback::{self, Delivered};
use crate::cli::RunArgs;
use crate::config::env::RawEnv;
use crate::config::reporting::Reporting;
use crate::config::settings::{Account, Network, Overrides, Settings};
use crate::conversation::{self, Known, Server};
use crate::http::Http;
use crate::outcome::{ExitCode, Failure, FailureKind, Outcome};
use crate::plan::{LlmBase, RunPlan};
use crate::problem::Problems;
use crate::secret::{Redactor, Secret};
use crate::shutdown::{Shutdown, Signal};
use crate::sink::output::{Output, ResultFile};
use crate::sink::progress::Progress;
use crate::sink::{Record, Sinks};
use crate::task::source::Source;
use crate::workspace::{Inside, Workspace, WorkspaceError};
use crate::{agent_server, cloud, display, timing};

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
    let mut sinks = sinks(&args);
    let known = watch::Sender::new(Known::default());
    let server = OnceCell::new();

    let run =
        Run { args, environment: &environment, http: report.http.clone(), started, known: &known, server: &server };
    let ended = tokio::select! {
        ended = AssertUnwindSafe(run.execute(&mut sinks)).catch_unwind() => ended.unwrap_or_else(|panic| Err(bug(&*panic))),
        signal = shutdown.requested() => Err(ended_by(signal)),
    };

    let failure = ended.err();
    let exit_code = failure.as_ref().map_or(ExitCode::COMPLETED, |failure| failure.kind.exit_code());
    let wrap_up = async {
        let outcome = conclude(failure, &known, server.get(), &report.reporting).await;
        report.publish(&outcome, &mut sinks).await;
    };
    tokio::select! {
        () = wrap_up => {}
        _ = shutdown.requested() => tracing::warn!("a second signal: ending at once"),
    }
    exit_code
}

/// Reports a command line that cannot be understood.
pub async fn refuse_usage(environment: Environment, message: String) -> ExitCode {
    let mut report = Reporter::new(&environment);
    let failure = Failure::new(FailureKind::Usage, message);
    let exit_code = failure.kind.exit_code();
    let outcome = conclude(Some(failure), &watch::Sender::new(Known::default()), None, &report.reporting).await;
    report.publish(&outcome, &mut Sinks::default()).await;
    exit_code
}

fn sinks(args: &RunArgs) -> Sinks {
    let sinks = Sinks::default().with(Progress).with(Output::new(args.format));
    match &args.result {
        Some(path) => sinks.with(ResultFile::new(path.clone())),
        None => sinks,
    }
}

fn ended_by(signal: Signal) -> Failure {
    let (kind, name) = match signal {
        Signal::HangUp => (FailureKind::HungUp, "SIGHUP"),
        Signal::Interrupt => (FailureKind::Interrupted, "SIGINT"),
        Signal::Quit => (FailureKind::Quit, "SIGQUIT"),
        Signal::Terminate => (FailureKind::Terminated, "SIGTERM"),
    };
    Failure::new(kind, format!("the runner was ended by {name}"))
}

fn bug(panic: &(dyn std::any::Any + Send)) -> Failure {
    let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Failure::new(FailureKind::InternalError, format!("a bug in openhands-runner: {}", words.unwrap_or("a panic")))
}

/// A run while it is under way.
struct Run<'r> {
    args: RunArgs,
    environment: &'r Environment,
    http: Http,
    started: Instant,
    known: &'r watch::Sender<Known>,
    server: &'r OnceCell<Server>,
}

impl Run<'_> {
    async fn execute(self, sinks: &mut Sinks) -> Result<(), Failure> {
        let plan =
            self.plan().await.map_err(|problems| Failure::new(FailureKind::InvalidInput, problems.to_string()))?;
        let Some(limit) = plan.timeout else { return self.work(plan, sinks).await };
        let left = limit.saturating_sub(self.started.elapsed());
        match timeout(left, self.work(plan, sinks)).await {
            Ok(ended) => ended,
            Err(_) => Err(Failure::new(FailureKind::Timeout, format!("the run reached its time limit of {limit:?}"))),
        }
    }

    /// Everything that the user gave, checked as a whole before anything is started.
    async fn plan(&self) -> Result<RunPlan, Problems> {
        let source = Source::named(self.args.task.as_deref(), Path::new("."));
        // A pipe that nobody closes must not hold up signals.
        let task = tokio::task::spawn_blocking(move || source.load());
        let flags = Overrides {
            agent_server_url: self.args.agent_server_url.clone(),
            conversation_id: self.args.conversation_id,
            profile: self.args.profile.clone(),
            working_dir: self.args.working_dir.clone(),
        };
        let settings = Settings::from_env(&self.environment.raw, &self.environment.not_text, flags);
        let task = task.await.unwrap_or_else(|bug| std::panic::resume_unwind(bug.into_panic()));
        let (settings, task) = match (settings, task) {
            (Ok(settings), Ok(task)) => (settings, task),
            (settings, task) => {
                let of_settings = settings.err().map(|problems| problems.0).unwrap_or_default();
                return Err(Problems(of_settings.into_iter().chain(task.err()).collect()));
            }
        };
        let mut plan = RunPlan::new(settings, task, self.args.ready_timeout())?;
        plan.timeout = self.args.timeout.or(plan.timeout);
        Ok(plan)
    }

    async fn work(&self, plan: RunPlan, sinks: &mut Sinks) -> Result<(), Failure> {
        let client = agent_server::Client::new(self.http.clone(), &plan.agent_server);
        let cloud = match &plan.account {
            Account::Cloud(account) => Some(cloud::Client::new(self.http.clone(), account.clone())),
            Account::None { .. } => None,
        };
        let workspace = Inside::new(client, cloud);
        let capabilities = await_ready(workspace.agent_server(), plan.ready_timeout).await.map_err(not_ready)?;
        let server = Server { client: workspace.agent_server().clone(), capabilities };
        let server = self.server.get_or_init(async || server).await;

        let (llm, secrets) = tokio::try_join!(self.llm(&workspace, &plan), workspace.secrets(&plan.secrets))
            .map_err(|error| not_inherited(&error))?;
        conversation::drive(server, &plan.conversation, &llm, secrets, sinks, self.known).await
    }

    async fn llm(&self, workspace: &impl Workspace, plan: &RunPlan) -> Result<Llm, WorkspaceError> {
        let base = match &plan.llm.base {
            LlmBase::Given(llm) => llm.clone(),
            LlmBase::Inherited { profile: None, .. } => workspace.llm(None).await?,
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

fn not_ready(error: ReadyError) -> Failure {
    Failure::new(FailureKind::AgentServerUnreachable, display::chain(&error))
}

fn not_inherited(error: &WorkspaceError) -> Failure {
    let kind = match error {
        WorkspaceError::Account { source, .. } if source.is_refusal() => FailureKind::CredentialsRefused,
        WorkspaceError::Account { .. } => FailureKind::CloudUnreachable,
        WorkspaceError::NoAccount { .. }
        | WorkspaceError::NoLlm
        | WorkspaceError::NoSuchProfile { .. }
        | WorkspaceError::NoSuchSecret { .. } => FailureKind::InvalidInput,
    };
    Failure::new(kind, display::chain(error))
}

/// Whether the agent is still at work when a run ends so.
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
    )
}

/// Stops an agent that is still at work, and puts together what is known.
async fn conclude(
    failure: Option<Failure>,
    known: &watch::Sender<Known>,
    server: Option<&Server>,
    reporting: &Reporting,
) -> Outcome {
    let Known { conversation_id, cost } = *known.borrow();
    let mut message = None;
    if let (Some(server), Some(id)) = (server, conversation_id) {
        if failure.as_ref().is_some_and(|failure| leaves_agent_at_work(failure.kind)) {
            // A pause is answered only after the running command; it works all the same.
            let stopped = timeout(timing::STOP, server.client.stop(id, server.capabilities)).await;
            if let Ok(Err(error)) = stopped {
                tracing::warn!(error = %display::chain(&error), "the agent could not be stopped");
            }
        }
        match timeout(timing::FINAL_MESSAGE, conversation::final_message(server, id)).await {
            Ok(Ok(text)) => message = text,
            Ok(Err(error)) => tracing::warn!(error = %display::chain(&error), "no final message"),
            Err(_) => tracing::warn!("the agent's final message did not come in time"),
        }
    }
    Outcome { failure, run_id: reporting.run_id.clone(), conversation_id, cost, message }
}

/// Where outcomes go. Made from what can be used of the environment, whatever else is wrong with it.
struct Reporter {
    http: Http,
    reporting: Reporting,
    redactor: Redactor,
}

impl Reporter {
    fn new(environment: &Environment) -> Self {
        let (reporting, warning) = Reporting::from_env(&environment.raw);
        if let Some(warning) = warning {
            tracing::warn!("{warning}");
        }
        environment.raw.secrets().for_each(|secret| environment.redactor.learn(&secret));
        let network = Network::from_env(&environment.raw);
        let http = Http::new(&network).unwrap_or_else(|error| {
            tracing::warn!(error = %display::chain(&error), "going on with the built-in certificates and no proxy");
            Http::new(&Network::default()).expect("the defaults read nothing that could be wrong")
        });
        Self { http, reporting, redactor: environment.redactor.clone() }
    }

    /// Result, standard output, then the callback: a service that is told the outcome may take the sandbox away.
    async fn publish(&mut self, outcome: &Outcome, sinks: &mut Sinks) {
        let result = outcome.result(&self.redactor);
        if timeout(timing::FLUSH, sinks.record(&Record::Result(&result))).await.is_err() {
            tracing::warn!("the result could not be written in time");
        }
        self.call_back(outcome, timing::CALLBACK_BUDGET).await;
    }

    async fn call_back(&self, outcome: &Outcome, budget: Duration) {
        let Some(url) = &self.reporting.callback_url else { return };
        let report = outcome.report(&self.redactor);
        match callback::deliver(&self.http, url, self.reporting.key.as_ref(), &report, budget).await {
            Ok(Delivered::Accepted) => tracing::info!("completion callback delivered"),
            Ok(Delivered::AlreadySettled) => tracing::info!("the automation service had settled the run already"),
            Err(error) => tracing::error!(error = %display::chain(&error), "completion callback not delivered"),
        }
    }
}
