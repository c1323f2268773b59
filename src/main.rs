//! The program: arguments -> runtime -> [`openhands_runner::runner`] -> exit code.

use std::process::ExitCode;

use clap::error::ErrorKind;
use nix::sys::signal::SigSet;
use openhands_runner::answer::hook::{self, HookEvent};
use openhands_runner::cli::{self, Cli, Command, SchemaOf};
use openhands_runner::conceal::conceal;
use openhands_runner::config::env::{RawEnv, SECRET_NAMES};
use openhands_runner::runner::{self, Environment};
use openhands_runner::secret::Redactor;
use openhands_runner::shutdown::Shutdown;
use openhands_runner::{commands, guardian, init, logging, outcome, schema};

fn main() -> ExitCode {
    if std::env::args_os().next().is_some_and(|name| name == guardian::NAME) {
        guardian::guard();
        return ExitCode::SUCCESS;
    }
    if init::is_due() {
        return ExitCode::from(init::run().0);
    }
    // A panic of the run is an outcome; this is one of the program around it, which its guardian reports.
    std::panic::catch_unwind(live).unwrap_or(ExitCode::from(outcome::ExitCode::INTERNAL.0))
}

fn live() -> ExitCode {
    // A signal that comes before its handler is in place waits.
    let _ = SigSet::all().thread_block();
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::from(outcome::ExitCode::INTERNAL.0);
    };
    let exit_code = runtime.block_on(start());
    // A thread that is stuck in a full pipe must not hold up the end.
    runtime.shutdown_background();
    exit_code
}

async fn start() -> ExitCode {
    let Ok(shutdown) = Shutdown::install() else {
        return ExitCode::from(outcome::ExitCode::INTERNAL.0);
    };
    // Whoever started us may have left signals blocked too.
    let _ = SigSet::all().thread_unblock();
    let (raw, not_text) = RawEnv::of_process();
    let redactor = Redactor::default();
    let (log_format, command) = match Cli::read() {
        Ok(Cli { command: None }) => (logging::Format::default(), Ok(Box::default())),
        Ok(Cli { command: Some(Command::Run(args)) }) => (args.log_format, Ok(args)),
        Ok(Cli { command: Some(Command::Outside(command)) }) => {
            conceal(SECRET_NAMES);
            let _log = logging::start(command.common().log_format, raw.rust_log.as_deref(), redactor.clone());
            let environment = Environment { raw, not_text, redactor };
            return ExitCode::from(Box::pin(commands::run(command, environment, shutdown)).await.0);
        }
        Ok(Cli { command: Some(Command::Schema { of }) }) => return print(&schema_text(of)),
        Ok(Cli { command: Some(Command::Hook { event }) }) => return hook(event),
        Err(error) => {
            let _ = error.print();
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => return ExitCode::SUCCESS,
                // The run that the variables name may be at work: this is not it.
                _ if !cli::means_a_run(std::env::args_os().nth(1).as_deref()) => {
                    return ExitCode::from(outcome::ExitCode::USAGE.0);
                }
                _ => (logging::Format::default(), Err(error.to_string())),
            }
        }
    };
    conceal(SECRET_NAMES);
    let _log = logging::start(log_format, raw.rust_log.as_deref(), redactor.clone());
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    let environment = Environment { raw, not_text, redactor };
    let exit_code = match command {
        Ok(args) => Box::pin(runner::run(*args, environment, shutdown)).await,
        Err(message) => runner::refuse_usage(environment, message, shutdown).await,
    };
    ExitCode::from(exit_code.0)
}

fn schema_text(of: SchemaOf) -> String {
    match of {
        SchemaOf::Task => schema::task(),
        SchemaOf::Result => schema::result(),
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
