//! Commands that work from outside of a sandbox, with one file for each.
//!
//! Like a run, a command returns an exit code: 0 for success, or else that of its failure. The failure is logged and, with
//! `--format json`, also printed as an object on standard output.

mod automation;
mod batch;
mod check;
mod check_task;
mod conversation;
mod cp;
mod delivery;
mod exec;
mod follow;
mod launch;
pub(crate) mod report;
mod sandbox;
pub(crate) mod schema;
mod task_file;
mod upload;
mod watch;

use std::io::{self, Write as _};
use std::time::Duration;

use openhands_client::http::Http;
use openhands_client::ids::SandboxId;
use openhands_client::sandbox::Sandbox;
use openhands_client::sandbox::ready::Ready;
use openhands_client::secret::Redactor;
use openhands_client::text;
use serde_json::{Value, json};
use tokio::time::timeout;

use self::watch::Watch;
use crate::cli::{ColorChoice, Deferred, NewSandboxArgs, OutsideCommand, ProviderArgs, ProvisionArgs, ResultFormat};
use crate::input::Environment;
use crate::input::env::RawEnv;
use crate::input::services::ProviderSettings;
use crate::input::settings;
use crate::logging::Lines;
use crate::outcome::{ExitCode, Failure, FailureKind};
use crate::prepare::provider::AnyProvider;
use crate::prepare::sandbox::{leave, sandbox_of};
use crate::process::signals::Shutdown;
use crate::sinks::terminal::tell_failure;
use crate::view::{ErrorForm, is_watched};

/// Runs a command that works from outside.
pub(crate) async fn run(
    command: OutsideCommand,
    environment: Environment,
    lines: Lines,
    mut shutdown: Shutdown,
) -> ExitCode {
    let format = command.common().format;
    let errors = ErrorForm::of_process(command.common().log_format, ColorChoice::Auto, &environment.raw);
    let redactor = environment.redactor.clone();
    let limits = environment.time_limits.shutdown.after_time_limit;
    let is_watched = is_watched(command.common().log_format, &environment.raw);
    let watch = if is_watched { Watch::of(lines.clone()) } else { Watch::default() };
    let context = CommandContext::new(environment, format, watch);
    let done = match command {
        OutsideCommand::Sandbox(Deferred(args)) => sandbox::run(&context, args.command, &mut shutdown).await,
        OutsideCommand::Exec(Deferred(args)) => exec::run(&context, *args, &mut shutdown).await,
        OutsideCommand::Cp(Deferred(args)) => cp::run(&context, *args, &mut shutdown).await,
        OutsideCommand::Launch(Deferred(args)) => launch::run(&context, *args, &mut shutdown).await,
        OutsideCommand::Automation(Deferred(args)) => automation::run(&context, args.command, &mut shutdown).await,
        OutsideCommand::Batch(Deferred(args)) => batch::run(&context, *args, &mut shutdown).await,
        OutsideCommand::Check(Deferred(args)) => check::run(&context, *args, &mut shutdown).await,
    };
    context.watch.end().await;
    match done {
        Ok(exit_code) => exit_code,
        Err(failure) => {
            tell_failure(&failure, &redactor, &lines, errors);
            refuse(&failure, format, &redactor, limits.output).await
        }
    }
}

async fn refuse(failure: &Failure, format: ResultFormat, redactor: &Redactor, limit: Duration) -> ExitCode {
    let exit_code = failure.kind.exit_code();
    if format == ResultFormat::Json {
        let error = json!({"error": failure.for_result(redactor), "exit_code": exit_code.0});
        // If no one reads the output, the exit code says the same.
        let _ = timeout(limit, line(pretty(&error))).await;
    }
    exit_code
}

/// Writes on a separate thread, so that a full pipe does not block signals.
async fn line(text: String) -> io::Result<()> {
    let write = move || {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{text}")?;
        stdout.flush()
    };
    tokio::task::spawn_blocking(write).await.unwrap_or_else(|bug| std::panic::resume_unwind(bug.into_panic()))
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

/// The environment and the outputs of a command.
struct CommandContext {
    environment: Environment,
    format: ResultFormat,
    watch: Watch,
}

impl CommandContext {
    /// Creates the context. The redactor learns the secrets of the environment, so that no output contains them.
    fn new(environment: Environment, format: ResultFormat, watch: Watch) -> Self {
        environment.raw.secrets().for_each(|secret| environment.redactor.learn(&secret));
        Self { environment, format, watch }
    }

    fn raw(&self) -> &RawEnv {
        &self.environment.raw
    }

    fn http(&self) -> Result<Http, Failure> {
        Http::new(&settings::network(self.raw()), self.environment.time_limits.client)
            .map_err(|error| Failure::new(FailureKind::InvalidInput, text::chain(&error)))
    }

    fn provider_settings(&self, args: ProviderArgs) -> Result<ProviderSettings, Failure> {
        ProviderSettings::from_env(args.kind, self.raw()).map_err(Failure::invalid)
    }

    fn provider(&self, args: ProviderArgs, provision: &ProvisionArgs) -> Result<AnyProvider, Failure> {
        Ok(AnyProvider::new(&self.provider_settings(args)?, provision, self.http()?, self.raw()))
    }

    fn sandbox(&self, provider: ProviderArgs, args: &NewSandboxArgs) -> Result<Sandbox<AnyProvider>, Failure> {
        Ok(sandbox_of(&self.provider_settings(provider)?, args, self.http()?, self.raw()))
    }

    /// Writes to standard output: a text for people, or the object.
    async fn tell(&self, text: &str, object: &Value) {
        self.watch.end().await;
        let told = match self.format {
            ResultFormat::Text if text.is_empty() => Ok(()),
            ResultFormat::Text => line(text.to_owned()).await,
            ResultFormat::Json => line(pretty(object)).await,
        };
        if let Err(error) = told {
            tracing::warn!(%error, "standard output is no longer read");
        }
    }

    /// Runs the work in a sandbox that is ready. Afterwards the sandbox is deleted, unless it is kept, however the work has
    /// ended. The work handles signals itself. The second signal, or one that comes later, leaves the sandbox and logs its id.
    async fn within<T>(
        &self,
        mut sandbox: Sandbox<AnyProvider>,
        shutdown: &mut Shutdown,
        work: impl AsyncFnOnce(UsableSandbox, &mut Shutdown) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let ended = match until_signal(shutdown, self.ready(&mut sandbox)).await {
            Ok(usable) => work(usable, shutdown).await,
            Err(failure) => Err(failure),
        };
        if shutdown.received() > 1 {
            leave(sandbox);
            return ended;
        }
        tokio::select! {
            // A failure is logged; it does not change the result of the work.
            _ = sandbox.delete() => {}
            _ = shutdown.requested() => leave(sandbox),
        }
        ended
    }

    async fn ready(&self, sandbox: &mut Sandbox<AnyProvider>) -> Result<UsableSandbox, Failure> {
        self.watch.begin("sandbox", "waiting until it is ready", None);
        let id = sandbox.made().await.map_err(Failure::from)?;
        let ready = sandbox.ready().await.map_err(Failure::from)?;
        if let Some(key) = &ready.access.agent_server.session_key {
            self.environment.redactor.learn(key);
        }
        Ok(UsableSandbox { id, ready, provider: sandbox.provider().clone() })
    }
}

/// A sandbox that is ready for a command.
struct UsableSandbox {
    id: SandboxId,
    ready: Ready,
    provider: AnyProvider,
}

/// Returns the end of `work`, or the signal that comes before it.
async fn until_signal<T>(
    shutdown: &mut Shutdown,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        ended = work => ended,
        signal = shutdown.requested() => Err(Failure::from(signal)),
    }
}
