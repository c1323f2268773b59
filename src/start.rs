//! Starts the program: the runtime, the signals, the log, and the command that the arguments select.

use std::process::ExitCode;

use clap::error::ErrorKind;
use nix::sys::signal::SigSet;

use crate::cli::{self, Cli, ColorChoice, Command, Deferred, HookEvent, LogFormat};
use crate::commands::{report, schema};
use crate::input::Environment;
use crate::input::env::{self, SECRET_NAMES};
use crate::input::time_limits::RunnerTimeLimits;
use crate::logging::{Guard, Lines};
use crate::process::hook;
use crate::process::init::RestartState;
use crate::process::parent;
use crate::process::resources::complain;
use crate::process::scrub::{is_traced, scrub};
use crate::process::signals::Shutdown;
use crate::view::ErrorForm;
use crate::{commands, logging, outcome, run};

/// Runs the command that the arguments select.
pub(crate) fn start() -> ExitCode {
    // A signal that arrives before its handler is installed stays pending.
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
    // A thread that is blocked by a full pipe must not delay the exit.
    runtime.shutdown_background();
    exit_code
}

async fn dispatch() -> ExitCode {
    let Ok(shutdown) = Shutdown::install() else {
        return ExitCode::from(outcome::ExitCode::INTERNAL.0);
    };
    // The parent process may have blocked signals too.
    let _ = SigSet::all().thread_unblock();
    let (restart, mut environment) = environment();
    let (log_format, command) = match Cli::read() {
        Ok(Cli { command: None }) => (LogFormat::default(), Ok(Box::default())),
        Ok(Cli { command: Some(Command::Run(Deferred(args))) }) => (args.log_format, Ok(args)),
        Ok(Cli { command: Some(Command::Outside(command)) }) => {
            scrub(SECRET_NAMES);
            environment.time_limits = command.time_limits();
            let (lines, _log) = start_log(command.common().log_format, ColorChoice::Auto, false, &environment);
            return ExitCode::from(Box::pin(commands::run(*command, environment, lines, shutdown)).await.0);
        }
        Ok(Cli { command: Some(Command::Schema { of }) }) => return print(schema::text(of).trim_end()),
        Ok(Cli { command: Some(Command::Completions { shell }) }) => {
            let mut text = Vec::new();
            cli::completions(shell, &mut text);
            return print(String::from_utf8_lossy(&text).trim_end());
        }
        Ok(Cli { command: Some(Command::Man) }) => {
            let mut text = Vec::new();
            return match cli::manual(&mut text) {
                Ok(()) => print(String::from_utf8_lossy(&text).trim_end()),
                Err(_) => ExitCode::FAILURE,
            };
        }
        Ok(Cli { command: Some(Command::Report(Deferred(args))) }) => {
            let Some(id) = args.conversation else {
                return report::report(&args.path.clone().unwrap_or_default(), &args, &environment.redactor);
            };
            scrub(SECRET_NAMES);
            let (lines, _log) = start_log(LogFormat::default(), ColorChoice::Auto, false, &environment);
            return Box::pin(report::report_conversation(id, &args, environment, &lines, shutdown)).await;
        }
        Ok(Cli { command: Some(Command::Show(Deferred(args))) }) => return report::show(&args, &environment.redactor),
        Ok(Cli { command: Some(Command::Hook { event }) }) => return hook(event),
        Err(error) => {
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            let message = cli::without_keys(&error.to_string(), std::env::args_os().skip(1));
            let message = environment.redactor.redact(&message).into_owned();
            let _ = std::io::Write::write_all(&mut std::io::stderr(), message.as_bytes());
            match () {
                // The run that the variables name may be in progress, and this process is not part of it.
                () if !cli::means_a_run(std::env::args_os().nth(1).as_deref()) => {
                    return ExitCode::from(outcome::ExitCode::USAGE.0);
                }
                () => (LogFormat::default(), Err(message)),
            }
        }
    };
    scrub(SECRET_NAMES);
    let view = command.as_ref().map(|args| args.view).unwrap_or_default();
    let (lines, _log) = start_log(log_format, view.color, view.quiet, &environment);
    if is_traced() {
        tracing::warn!("a tracer was attached to this process before it could hide: its keys can be read");
    }
    if let Some(shell) = parent::waiting_shell() {
        tracing::warn!(
            shell,
            "a shell that others can read has started this process and is still running: {}",
            parent::ADVICE
        );
    }
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    environment.time_limits = command.as_ref().map_or_else(|_| RunnerTimeLimits::default(), |args| args.time_limits());
    let exit_code = match command {
        Ok(args) => Box::pin(run::run(*args, environment, restart, lines, shutdown)).await,
        Err(message) => run::refuse_usage(environment, message, restart, shutdown).await,
    };
    ExitCode::from(exit_code.0)
}

fn start_log(format: LogFormat, color: ColorChoice, is_quiet: bool, environment: &Environment) -> (Lines, Guard) {
    let (raw, redactor) = (&environment.raw, environment.redactor.clone());
    let form = ErrorForm::of_process(format, color, raw);
    let log = logging::start(format, raw.rust_log.as_deref(), is_quiet, redactor, form);
    environment.warn_of_quotes();
    log
}

/// Returns the environment of the process: its own variables, those that PID 1 keeps out of it, and the other state from PID 1.
fn environment() -> (Option<RestartState>, Environment) {
    let own = Environment::of_process();
    let (restart, environment) = match RestartState::inherit(&own.raw) {
        None => (None, own),
        Some((restart, variables)) => {
            env::add_hidden(variables);
            (Some(restart), Environment::of_process())
        }
    };
    cli::misplaced_keys(std::env::args_os().skip(1)).for_each(|key| environment.redactor.learn(&key));
    (restart, environment)
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
