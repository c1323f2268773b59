//! A run in progress: its plan, its agent-server, its conversation.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use openhands_client::agent_server::client::Created;
use openhands_client::agent_server::ready::await_ready;
use openhands_client::agent_server::wire::AgentSource;
use openhands_client::agent_server::{AgentServer, AgentServerClient};
use openhands_client::conversation::{Conversation, ConversationSpec, RunSpec};
use openhands_client::http::Http;
use openhands_client::ids::{RunId, SandboxId};
use openhands_client::off_thread::off_thread;
use openhands_client::secret::Secret;
use openhands_client::text;
use tokio::sync::{OnceCell, watch};
use tokio::time::Instant;
use url::Url;

use super::answer::{self, Asked};
use super::checks::{Proof, Scripts, check};
use super::confirmation;
use super::container;
use super::drive::{Driver, Told, open};
use super::folder;
use super::last_words::last_words;
use super::limits::{self, Limit, within};
use super::mcp::McpStart;
use super::outside::Outside;
use super::reminders::Reminded;
use super::resources::{AgentResources, resources};
use super::salvage::Salvager;
use super::setup::set_up;
use super::state::RunState;
use super::task_command::{Place, TaskCommands};
use super::warnings::Warnings;
use crate::agent_result::{AgentResult, FinishFields};
use crate::batch_folder::ROW;
use crate::cli::{RunArgs, WorkspaceKind};
use crate::export::Exports;
use crate::input::Environment;
use crate::input::payload::Payload;
use crate::input::plugin_spec::given_by_service;
use crate::input::rows::Row;
use crate::input::settings::{Account, Overrides, Settings};
use crate::input::task::Task;
use crate::input::task::collect::CollectPattern;
use crate::input::task::repos::is_this_machine;
use crate::input::task::source::Source;
use crate::input::template::NO_CONFIG;
use crate::input::time_limits::ShutdownBudgets;
use crate::input::working_dirs::Here;
use crate::logging::Lines;
use crate::outcome::{CheckResult, Facts, Failure, FailureKind, LastWords, Salvage, Verdict};
use crate::plan::{RunPlan, check_messages};
use crate::prepare::account::account_client;
use crate::prepare::agent::{agent_profile, check_tools, check_types, sub_agents};
use crate::prepare::{Prepared, prepare};
use crate::problem::Problems;
use crate::process::init::RestartState;
use crate::process::scrub::is_traced;
use crate::process::server::ServerProcess;
use crate::run_folder::{FolderError, OpenFolder, RunFolder};
use crate::sinks::derived::DerivedFiles;
use crate::sinks::folder::FolderSink;
use crate::sinks::github::{Commands, StepFiles};
use crate::sinks::output::{Output, ResultFile};
use crate::sinks::progress::Progress;
use crate::sinks::status::{LimitsInForce, StatusFile};
use crate::sinks::tally::Tally;
use crate::sinks::terminal::Terminal;
use crate::sinks::{Record, Sinks, Stage};
use crate::view::{Form, View};

/// The maximum number of pauses. Beyond that, the account is too small for its runs, which keep pausing each other's sandboxes.
const MOST_PAUSES: u32 = 20;

/// The place where the agent works.
struct Workplace {
    /// The server, with the commands and files of the agent's machine.
    server: AgentServer,
    working_dir: String,
    /// The files to collect in addition to the patch.
    collect: Vec<CollectPattern>,
}

/// A run in progress.
pub(super) struct Run<'r> {
    args: &'r RunArgs,
    environment: &'r Environment,
    row: Result<Option<Row>, Failure>,
    /// For a run that PID 1 has restarted: the time of its first start, and the key of its own agent-server.
    restart: Option<&'r RestartState>,
    started: Instant,
    known: watch::Sender<RunState>,
    server: OnceCell<AgentServer>,
    asked: OnceCell<Asked>,
    sandbox: Outside,
    commands: TaskCommands,
    warnings: Warnings,
    folder: RunFolder,
    tally: Tally,
    limits: Arc<watch::Sender<LimitsInForce>>,
    known_facts: Mutex<Facts>,
    /// The place where the agent works and the files to collect, as soon as the conversation exists.
    workspace: OnceLock<Workplace>,
}

impl<'r> Run<'r> {
    /// Creates a run that begins now, or continues since its first start.
    pub(super) fn new(
        args: &'r RunArgs,
        environment: &'r Environment,
        row: Result<Option<Row>, Failure>,
        restart: Option<&'r RestartState>,
    ) -> Self {
        let now = Instant::now();
        let started = restart.and_then(|restart| now.checked_sub(restart.elapsed)).unwrap_or(now);
        Self {
            args,
            environment,
            row,
            restart,
            started,
            known: watch::Sender::default(),
            server: OnceCell::new(),
            asked: OnceCell::new(),
            sandbox: Outside::default(),
            commands: TaskCommands::default(),
            warnings: Warnings::default(),
            folder: RunFolder::default(),
            tally: Tally::new(started),
            limits: Arc::default(),
            known_facts: Mutex::default(),
            workspace: OnceLock::new(),
        }
    }

    /// Returns the outputs of the run.
    pub(super) fn sinks(&self, lines: &Lines) -> Sinks {
        let (args, redactor) = (self.args, || self.environment.redactor.clone());
        // Outputs that may be slow come last: standard output may have a slow reader.
        let mut sinks = Sinks::default().with(self.tally.clone());
        let view = View::of_process(args, &self.environment.raw);
        match view.form {
            Form::Live => {
                let (tally, limits) = (self.tally.clone(), Arc::clone(&self.limits));
                let folder = args.out.as_ref().map(|path| path.display().to_string());
                sinks.add(Terminal::new(view, lines.clone(), self.started, tally, limits, redactor(), folder));
            }
            Form::Log => {
                sinks.add(Progress::new(redactor(), view.args.verbose).with_errors(view.errors, lines));
            }
            Form::GitHub => {
                sinks.add(Commands::new(lines.clone(), redactor()));
                sinks.add(Progress::new(redactor(), view.args.verbose));
            }
        }
        if args.out.is_some() {
            sinks.add(FolderSink::new(self.folder.clone(), redactor()));
        }
        if let Some(path) = &args.status {
            let limits = Arc::clone(&self.limits);
            sinks.add(StatusFile::new(path.clone(), self.started, self.tally.clone(), limits, redactor()));
        }
        if let Some(path) = &args.result {
            sinks.add(ResultFile::new(path.clone()));
        }
        if let Some(path) = &args.familiar.output_last_message {
            sinks.add(ResultFile::of_message(path.clone()));
        }
        if let Some(files) = StepFiles::new(&self.environment.raw, self.folder.clone(), redactor()) {
            sinks.add(files);
        }
        sinks.add(Output::new(args.format, self.environment.time_limits.run.slow_reader, redactor()));
        if args.out.is_some() {
            let exports = Exports { junit: args.exports.junit, trajectory: args.exports.trajectory };
            sinks.add(DerivedFiles::new(self.folder.clone(), exports));
        }
        sinks
    }

    /// Opens the run folder, if the run has one.
    pub(super) fn open_folder(&self, run_id: Option<&RunId>) -> Result<Option<PathBuf>, Failure> {
        // Without its row, a run does not know its folder.
        let Some(path) = self.args.out.as_ref().filter(|_| self.row.is_ok()) else { return Ok(None) };
        let folder = OpenFolder::open(path, run_id.map(RunId::as_str)).map_err(Failure::from)?;
        let path = folder.path().to_owned();
        if let Ok(Some(row)) = &self.row {
            let text = serde_json::to_string_pretty(row).unwrap_or_default() + "\n";
            let written = folder.write(ROW, self.environment.redactor.redact(&text).as_bytes());
            written.map_err(|source| Failure::from(FolderError::Io { path: path.clone(), source }))?;
        }
        self.folder.set(folder);
        Ok(Some(path))
    }

    /// Refuses a run folder inside the agent's workspace.
    fn folder_is_outside_of(&self, plan: &RunPlan) -> Result<(), Failure> {
        if self.args.workspace != WorkspaceKind::Inside || !is_this_machine(&plan.agent_server.url) {
            return Ok(());
        }
        let outside = self.folder.with(|folder| folder.outside_of(&plan.conversation.working_dir));
        outside.unwrap_or(Ok(())).map_err(|error| {
            self.folder.forget();
            Failure::from(error)
        })
    }

    /// Completes the log of the run folder, as far as time allows.
    pub(super) async fn complete_log(&self, verdict: &Verdict, budgets: ShutdownBudgets) {
        let (Some(server), Some(id)) = (self.server.get(), verdict.conversation_id) else { return };
        let redactor = &self.environment.redactor;
        folder::complete_events(&self.folder, server, id, redactor, &self.warnings, budgets.folder).await;
    }

    /// Collects the agent's work, as far as time allows, and returns whether there could be any.
    pub(super) async fn salvage(&self, verdict: &Verdict, budgets: ShutdownBudgets) -> bool {
        let (Some(place), Some(_)) = (self.workspace.get(), verdict.conversation_id) else { return false };
        let salvage = self.salvager(place).salvage(&place.collect, budgets.salvage).await;
        self.know(|facts| facts.salvage = salvage);
        true
    }

    /// Returns what was collected.
    pub(super) fn salvaged(&self) -> Salvage {
        self.known_facts.lock().unwrap_or_else(PoisonError::into_inner).salvage.clone()
    }

    fn salvager<'s>(&'s self, place: &'s Workplace) -> Salvager<'s> {
        Salvager {
            folder: &self.folder,
            server: &place.server,
            working_dir: &place.working_dir,
            redactor: &self.environment.redactor,
            warnings: &self.warnings,
        }
    }

    /// Warns about checks whose scripts have changed since the beginning of the run.
    fn warn_of_changed_scripts(&self) {
        let checks = self.known_facts.lock().unwrap_or_else(PoisonError::into_inner).checks.clone();
        for CheckResult { command, changed } in checks.iter().filter(|check| !check.changed.is_empty()) {
            self.warnings.warn(format!(
                "the check `{}` calls files that were changed since the agent started: {}",
                command.name,
                text::listed(changed)
            ));
        }
    }

    /// Returns the measured and counted values.
    pub(super) fn facts(&self, last_words: &LastWords) -> Facts {
        let known = self.known_facts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut facts = self.tally.facts();
        facts.set_usage(&last_words.usage);
        Facts {
            model: known.model,
            profile: known.profile,
            server_version: known.server_version,
            setup: known.setup,
            checks: known.checks,
            check_attempts: known.check_attempts,
            salvage: known.salvage,
            ..facts
        }
    }

    fn know(&self, know: impl FnOnce(&mut Facts)) {
        know(&mut self.known_facts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Returns whether an earlier process of the run was killed.
    fn is_resumed(&self) -> bool {
        self.restart.is_some_and(|restart| !restart.elapsed.is_zero())
    }

    /// Returns the state that PID 1 stores for the run, if this program is PID 1.
    pub(super) fn restart(&self) -> Option<&RestartState> {
        self.restart
    }

    /// Returns what is currently known of the conversation.
    pub(super) fn state(&self) -> RunState {
        *self.known.borrow()
    }

    /// Returns a receiver for changes of this state.
    pub(super) fn watch(&self) -> watch::Receiver<RunState> {
        self.known.subscribe()
    }

    /// Ends a command of the task that was still running when the run ended.
    pub(super) async fn end_command(&self, budgets: ShutdownBudgets) {
        if let Some(place) = self.workspace.get() {
            self.commands.end(&place.server, budgets.agent).await;
        }
    }

    /// Stops the agent if it may be working, and reads its last message.
    pub(super) async fn last_words(&self, verdict: &Verdict, budgets: ShutdownBudgets) -> LastWords {
        let at_work = self.state().at_work;
        last_words(verdict, self.server.get(), self.asked.get(), at_work, self.tally.knows_usage(), budgets).await
    }

    /// Returns whether the agent-server is on another machine.
    pub(super) fn is_from_outside(&self) -> bool {
        let url = self.server.get().and_then(|server| Url::parse(&server.client.address()).ok());
        url.is_some_and(|url| !is_this_machine(&url))
    }

    /// Warns about a completed run that is unusual.
    pub(super) fn warn_of(&self, verdict: &Verdict, last_words: &LastWords) {
        let says_nothing = last_words.message.as_deref().is_none_or(|message| message.trim().is_empty());
        if verdict.failure.is_none() && says_nothing {
            self.warnings.warn("the agent finished without a final message".to_owned());
        }
    }

    /// Returns the warnings of the run.
    pub(super) fn warnings(&self) -> Vec<String> {
        self.warnings.all()
    }

    /// Returns the id of the sandbox of a run that is driven from outside.
    pub(super) async fn sandbox_id(&self) -> Option<SandboxId> {
        self.sandbox.id().await
    }

    /// Deletes that sandbox, unless it is kept.
    pub(super) async fn delete_sandbox(&self) {
        self.sandbox.delete().await;
    }

    /// Leaves an existing sandbox, because the process ends now, and informs the user.
    pub(super) fn forget_sandbox(self) {
        self.sandbox.forget();
    }

    /// Fails if another process may have read the keys of this run and the user wants that to end the run.
    pub(super) fn refuse_tracer(&self) -> Result<(), Failure> {
        if self.args.refuse_tracer && is_traced() {
            let detail = "another process traces this one and can read its keys (--refuse-tracer)";
            return Err(Failure::new(FailureKind::InvalidInput, detail));
        }
        Ok(())
    }

    /// Starts the agent-server that `--server-command` names.
    pub(super) fn start_own_server(&self, plan: &mut RunPlan) -> Result<Option<ServerProcess>, Failure> {
        let Some(command) = &self.args.server_command else { return Ok(None) };
        let new_key = || match self.restart {
            Some(restart) => restart.server_key.clone(),
            None => Secret::new(uuid::Uuid::new_v4().to_string()),
        };
        let key = plan.agent_server.session_key.get_or_insert_with(new_key);
        self.environment.redactor.learn(key);
        tracing::info!("starting the agent-server");
        ServerProcess::start(
            command,
            key,
            self.args.server_log.as_deref(),
            self.environment.time_limits.shutdown.last_output,
        )
        .map(Some)
        .map_err(|error| Failure::new(FailureKind::InvalidInput, text::chain(&error)))
    }

    /// See `RunArgs::panic`.
    pub(super) async fn panic_if_asked(&self) {
        #[cfg(debug_assertions)]
        if self.args.panic {
            let mut known = self.watch();
            let known = known.wait_for(|known| known.cost.known().is_some_and(|dollars| dollars > 0.0)).await;
            assert!(known.is_err(), "asked to panic");
        }
        std::future::pending::<()>().await;
    }

    /// Checks the complete input of the user before anything is started, and returns the plan.
    pub(super) async fn plan(&self) -> Result<RunPlan, Failure> {
        let args = self.args;
        let source = match &args.prompt {
            Some(prompt) => Source::prompt(prompt),
            None => Source::named(args.task.as_deref(), Path::new(".")),
        };
        let row = self.row.clone()?;
        let is_plain = args.plain;
        let payload = Payload::parse(self.environment.raw.automation_event_payload.as_deref());
        let params = args.overrides.params.clone();
        let load = move || {
            let of_messages = |task: &Task| {
                let mut problems = check_messages(task, &payload, &params);
                // The configuration of a task that could not be read is not missing.
                problems.retain(|problem| problem.found != NO_CONFIG);
                problems
            };
            if is_plain { source.load_plain() } else { source.load_checked(row.as_ref(), &of_messages) }
        };
        let raw = self.environment.raw.clone();
        // Reading from a pipe that stays open must not block signals.
        let task = off_thread("task file", move || given_by_service(load(), &raw));
        let flags = Overrides {
            agent_server_url: args.agent_server_url.clone(),
            conversation_id: args.overrides.conversation_id,
            profile: args.overrides.profile.clone(),
            agent_profile: args.overrides.agent_profile.clone(),
            working_dir: args.overrides.working_dir.clone(),
            deadline: args.overrides.deadline,
            params: args.overrides.params.clone(),
            provider: args.workspace.provider(),
            here: Here::of_process(),
        };
        let settings = Settings::from_env(&self.environment.raw, &self.environment.not_text, flags);
        let task = task.await.map(|task| args.overrides.applied_to(task));
        let limits = self.environment.time_limits.run;
        let plan = match (settings, task) {
            (Ok(settings), Ok(task)) => {
                let provider = args.workspace.provider();
                let timeout = args.overrides.timeout.or(task.limits.timeout);
                let limit = Limit::of_user(self.started, timeout, settings.deadline, self.for_salvage());
                // Rendering the messages may take a moment, in which signals and the time limit still apply.
                let filling_in = off_thread("messages", move || {
                    let whole = RunPlan::new(settings, task, limits)?;
                    match provider {
                        Some(provider) => whole.driven_from_outside(provider),
                        None => Ok(whole),
                    }
                });
                within(limit.as_ref(), filling_in).await?
            }
            (settings, task) => Err(Problems::of(settings.err().into_iter().chain(task.err()))),
        };
        let mut plan = plan.map_err(Failure::invalid)?;
        plan.timeout = args.overrides.timeout.or(plan.timeout);
        self.folder_is_outside_of(&plan)?;
        self.limits.send_replace(LimitsInForce {
            seconds: self.limit(&plan).map(|limit| limit.at().duration_since(self.started).as_secs_f64()),
            cost: plan.conversation.cost,
            iterations: plan.conversation.iterations,
        });
        self.know(|facts| facts.profile = plan.llm.profile().map(str::to_owned));
        Ok(plan)
    }

    /// Returns the limit that the user has set.
    fn limit(&self, plan: &RunPlan) -> Option<Limit> {
        Limit::of_user(self.started, plan.timeout, plan.deadline, self.for_salvage())
    }

    /// Returns how long collecting the agent's work may take before the run has to be over.
    fn for_salvage(&self) -> Duration {
        if self.args.out.is_some() { self.environment.time_limits.shutdown.for_salvage } else { Duration::ZERO }
    }

    /// Returns what the agent is told about the run's limits.
    fn told(&self, plan: &RunPlan, limit: Option<&Limit>) -> Told {
        let landing = if self.args.no_soft_landing { Duration::ZERO } else { plan.time_limits.soft_landing };
        let wrap_up_at = limit.filter(|_| !landing.is_zero()).and_then(|limit| limit.wrap_up_at(landing));
        if self.args.overrides.no_reminders {
            return Told { wrap_up_at, ..Told::default() };
        }
        let reminded = Reminded {
            time: limit.map(|limit| (self.started, limit.at())),
            cost: plan.conversation.cost,
            iterations: plan.conversation.iterations,
            least_time: plan.time_limits.reminder.max(landing * 2),
        };
        Told { wrap_up_at, reminded, rejects: false }
    }

    /// Drives the conversation to its end and through its checks, even if its sandbox is paused: at the account's limit,
    /// OpenHands Cloud pauses the oldest sandbox without notice. Messages that were sent before are found, as in a restarted run.
    async fn drive(
        &self,
        server: &AgentServer,
        mut conversation: Conversation,
        spec: &ConversationSpec,
        proof: Proof<'_>,
        sinks: &mut Sinks,
        told: Told,
    ) -> Result<(), Failure> {
        let mut pauses = 0;
        loop {
            let mcp = McpStart::new(&spec.mcp, conversation.created() == Created::New);
            let driven = Box::pin(self.drive_and_check(&mut conversation, mcp, proof, sinks, told)).await;
            let Err(failure) = driven else { return Ok(()) };
            let may_be_asleep =
                matches!(failure.kind, FailureKind::AgentServerUnreachable | FailureKind::CredentialsRefused);
            if !may_be_asleep || pauses >= MOST_PAUSES || !self.sandbox.wake().await? {
                return Err(failure);
            }
            pauses += 1;
            conversation = Box::pin(open(server, spec.clone(), sinks, &self.known)).await?;
        }
    }

    async fn drive_and_check(
        &self,
        conversation: &mut Conversation,
        mcp: McpStart,
        proof: Proof<'_>,
        sinks: &mut Sinks,
        told: Told,
    ) -> Result<(), Failure> {
        let redactor = &self.environment.redactor;
        let mut driver = Driver::new(conversation, mcp, &self.known, &self.warnings, told);
        driver.drive(sinks).await?;
        let know = |attempt, results: &[CheckResult]| {
            self.know(|facts| (facts.check_attempts, facts.checks) = (Some(attempt), results.to_vec()));
        };
        let checked = check(proof, &mut driver, sinks, redactor, know).await;
        self.warn_of_changed_scripts();
        checked
    }

    /// Does the work of the run, from waiting for the agent-server to the agent's result.
    pub(super) async fn work(
        &self,
        plan: RunPlan,
        http: Http,
        sinks: &mut Sinks,
    ) -> Result<Option<AgentResult>, Failure> {
        let args = self.args;
        let own_limit = self
            .limit(&plan)
            .map(|limit| if self.is_resumed() { limit.with_time_to_attach(plan.time_limits.attach) } else { limit });
        self.known.send_modify(|known| known.deadline = own_limit.as_ref().map(Limit::at));
        if self.is_resumed() && !plan.conversation.continued {
            // The conversation may exist and its agent may be working, which has to be stopped however little time is left.
            self.known.send_modify(|known| (known.conversation_id, known.at_work) = (Some(plan.conversation.id), true));
        }
        let (account, server) = match &plan.account {
            Account::OfSandbox(provider) => {
                let ready = self.sandbox.ready(args, provider, http, self.environment);
                within(own_limit.as_ref(), ready).await??
            }
            account => {
                let client = AgentServerClient::new(http.clone(), &plan.agent_server);
                let account = account_client(&http, &client, account);
                let ready = within(own_limit.as_ref(), await_ready(&client, plan.time_limits.ready_timeout)).await?;
                let capabilities = ready.map_err(Failure::from)?;
                (account, AgentServer { client, capabilities })
            }
        };
        let server = self.server.get_or_init(async || server).await;
        self.know(|facts| facts.server_version = server.capabilities.version.map(|version| version.to_string()));

        let limit = limits::earliest(own_limit, server, &plan, self.for_salvage()).await;
        self.known.send_modify(|known| known.deadline = limit.as_ref().map(Limit::at));
        let told = self.told(&plan, limit.as_ref());
        let driven = async {
            let redactor = &self.environment.redactor;
            let profile = agent_profile(&server.client, &plan).await?;
            container::check(server, &plan)?;
            check_types(server, &plan.agent).await?;
            check_tools(&server.client, &plan.agent).await?;
            // A profile defines its own tools.
            let takes_fields = server.capabilities.finish_schema && profile.is_none();
            let fields = FinishFields::known(takes_fields, plan.conversation.continued);
            let resources = async { Ok(Box::pin(resources(&account, &plan, profile, redactor)).await?) };
            let (prepared, resources) =
                tokio::try_join!(prepare(&account, server, &plan, fields, redactor, sinks), resources)?;
            sinks.record(&Record::Stage(Stage::Configuring)).await;
            self.know(|facts| facts.model.clone_from(&resources.model));
            let result_spec = plan.result_spec.clone();
            let asked = Asked { conversation: plan.conversation.id, result_spec, fields };
            let asked = self.asked.get_or_init(async || asked).await;
            let (setup, checks, agent) = (plan.setup.clone(), plan.checks.clone(), plan.agent.clone());
            let told = Told { rejects: confirmation::rejects(&agent), ..told };
            let collect = plan.collect.clone();
            let spec = spec(plan, prepared, resources);
            let conversation = Box::pin(open(server, spec.clone(), sinks, &self.known)).await?;
            let work_place = self.workspace.get_or_init(|| {
                let (server, working_dir) = container::workplace(server, spec.id, &spec.working_dir);
                Workplace { server, working_dir, collect }
            });
            self.salvager(work_place).note_commits().await;
            let Workplace { server: at, working_dir, .. } = work_place;
            let place = Place { commands: &self.commands, server: at, working_dir };
            let is_first = conversation.messages_found() == 0;
            if is_first {
                confirmation::set(&conversation, server, &agent).await?;
                set_up(place, &setup, sinks, |result| self.know(|facts| facts.setup.push(result))).await?;
            }
            let scripts = Scripts::before(place, &checks.commands, is_first, &self.warnings).await;
            let proof = Proof { place, plan: &checks, scripts: &scripts, warnings: &self.warnings };
            let driven = Box::pin(self.drive(server, conversation, &spec, proof, sinks, told)).await;
            match driven {
                Ok(()) => answer::answer(server, asked).await,
                Err(failure) => Err(answer::explain(failure, server, asked).await),
            }
        };
        Box::pin(within(limit.as_ref(), driven)).await?
    }
}

/// Returns the specification of the conversation from a plan, the account's resources and the prepared repositories.
fn spec(plan: RunPlan, prepared: Prepared, resources: AgentResources) -> ConversationSpec {
    let takes_fields = matches!(resources.agent, AgentSource::Agent { .. });
    let finish_schema = plan.result_spec.finish_schema().filter(|_| takes_fields);
    let hook_config = finish_schema.as_ref().filter(|_| plan.with_hooks).and_then(|_| answer::hooks());
    let sub_agents = sub_agents(&plan.agent);
    let plan = plan.conversation;
    let mut spec = ConversationSpec::new(plan.id, resources.agent);
    spec.working_dir = plan.working_dir;
    spec.title = plan.title;
    spec.tags = plan.tags;
    spec.user_id = plan.user_id;
    spec.trace = plan.trace;
    spec.secrets = resources.secrets;
    spec.mcp = resources.mcp;
    spec.skills = prepared.skills;
    spec.plugins = plan.plugins;
    spec.finish_schema = finish_schema;
    spec.hook_config = hook_config;
    spec.sub_agents = sub_agents;
    spec.max_iterations = plan.iterations;
    spec.cost_limit = plan.cost;
    spec.run = Some(RunSpec::new(plan.run_id, prepared.messages).continued(plan.continued));
    spec
}
