//! From the arguments to a command: the runtime, the signals, the log, and which command it is.

use std::process::ExitCode;

use clap::error::ErrorKind;
use nix::sys::signal::SigSet;
use openhands_client::secret::Redactor;

use crate::cli::{self, Cli, Command, HookEvent, LogFormat};
use crate::commands::schema;
use crate::input::Environment;
use crate::input::env::{self, RawEnv, SECRET_NAMES};
use crate::input::time_limits::RunnerTimeLimits;
use crate::process::hook;
use crate::process::init::RestartState;
use crate::process::resources::complain;
use crate::process::scrub::{is_traced, scrub};
use crate::process::signals::Shutdown;
use crate::{commands, logging, outcome, run};

/// Runs what the arguments ask for.
pub(crate) fn start() -> ExitCode {
    // A signal that comes before its handler is in place waits.
    let _ = SigSet::all().thread_block();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!(
                "nothing can be started or reported: {error}; check the limits of this process (`ulimit -a`)"
            ));
            return ExitCode::from(outcome::ExitCode::INTERNAL.0);
        }
    };
    let exit_code = runtime.block_on(dispatch());
    // A thread that is stuck in a full pipe must not hold up the end.
    runtime.shutdown_background();
    exit_code
}

async fn dispatch() -> ExitCode {
    let Ok(shutdown) = Shutdown::install() else {
        return ExitCode::from(outcome::ExitCode::INTERNAL.0);
    };
    // Whoever started us may have left signals blocked too.
    let _ = SigSet::all().thread_unblock();
    let (restart, raw, not_text) = environment();
    let redactor = Redactor::default();
    let (log_format, command) = match Cli::read() {
        Ok(Cli { command: None }) => (LogFormat::default(), Ok(Box::default())),
        Ok(Cli { command: Some(Command::Run(args)) }) => (args.log_format, Ok(args)),
        Ok(Cli { command: Some(Command::Outside(command)) }) => {
            scrub(SECRET_NAMES);
            let _log = logging::start(command.common().log_format, raw.rust_log.as_deref(), redactor.clone());
            let environment = Environment { raw, not_text, redactor, time_limits: command.time_limits() };
            return ExitCode::from(Box::pin(commands::run(command, environment, shutdown)).await.0);
        }
        Ok(Cli { command: Some(Command::Schema { of }) }) => return print(&schema::text(of)),
        Ok(Cli { command: Some(Command::Hook { event }) }) => return hook(event),
        Err(error) => {
            let _ = error.print();
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => return ExitCode::SUCCESS,
                // The run that the variables name may be at work: this is not it.
                _ if !cli::means_a_run(std::env::args_os().nth(1).as_deref()) => {
                    return ExitCode::from(outcome::ExitCode::USAGE.0);
                }
                _ => (LogFormat::default(), Err(error.to_string())),
            }
        }
    };
    scrub(SECRET_NAMES);
    let _log = logging::start(log_format, raw.rust_log.as_deref(), redactor.clone());
    if is_traced() {
        tracing::warn!("a tracer was attached to this process before it could hide: its keys can be read");
    }
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    let time_limits = command.as_ref().map_or_else(|_| RunnerTimeLimits::default(), |args| args.time_limits());
    let environment = Environment { raw, not_text, redactor, time_limits };
    let exit_code = match command {
        Ok(args) => Box::pin(run::run(*args, environment, restart, shutdown)).await,
        Err(message) => run::refuse_usage(environment, message, restart, shutdown).await,
    };
    ExitCode::from(exit_code.0)
}

/// The known variables: of this process, and those that PID 1 keeps out of its environment, with what else PID 1 has for it.
fn environment() -> (Option<RestartState>, RawEnv, Vec<String>) {
    let (raw, not_text) = RawEnv::of_process();
    match RestartState::inherit(&raw) {
        None => (None, raw, not_text),
        Some((restart, variables)) => {
            let (raw, not_text) = RawEnv::from_vars(env::whole().into_iter().chain(variables));
            (Some(restart), raw, not_text)
        }
    }
}

fn hook(event: HookEvent) -> ExitCode {
    let verdict = hook::decide(event, std::io::stdin().lock(), &std::env::temp_dir());
    if let Some(output) = verdict.output() {
        print(&output);
    }
    ExitCode::from(verdict.exit_code())
}

fn print(text: &str) -> ExitCode {
    use std::io::Write as _;
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
