//! The program: arguments -> runtime -> [`openhands_runner::runner`] -> exit code.

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;
use openhands_runner::cli::{Cli, Command, SchemaOf};
use openhands_runner::config::env::RawEnv;
use openhands_runner::runner::{self, Environment};
use openhands_runner::secret::Redactor;
use openhands_runner::shutdown::Shutdown;
use openhands_runner::{logging, schema};

fn main() -> ExitCode {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::from(openhands_runner::outcome::ExitCode::INTERNAL.0);
    };
    let exit_code = runtime.block_on(start());
    // A thread that is stuck in a full pipe must not hold up the end.
    runtime.shutdown_background();
    exit_code
}

async fn start() -> ExitCode {
    let Ok(shutdown) = Shutdown::install() else {
        return ExitCode::from(openhands_runner::outcome::ExitCode::INTERNAL.0);
    };
    let (raw, not_text) = RawEnv::of_process();
    let redactor = Redactor::default();
    let (log_format, command) = match Cli::try_parse() {
        Ok(Cli { command: None }) => (logging::Format::default(), Ok(Box::default())),
        Ok(Cli { command: Some(Command::Run(args)) }) => (args.log_format, Ok(args)),
        Ok(Cli { command: Some(Command::Schema { of }) }) => return print(&schema_text(of)),
        Err(error) => {
            let _ = error.print();
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => return ExitCode::SUCCESS,
                _ => (logging::Format::default(), Err(error.to_string())),
            }
        }
    };
    let _log = logging::start(log_format, raw.rust_log.as_deref(), redactor.clone());
    let environment = Environment { raw, not_text, redactor };
    let exit_code = match command {
        Ok(args) => runner::run(*args, environment, shutdown).await,
        Err(message) => runner::refuse_usage(environment, message).await,
    };
    ExitCode::from(exit_code.0)
}

fn schema_text(of: SchemaOf) -> String {
    match of {
        SchemaOf::Task => schema::task(),
        SchemaOf::Result => schema::result(),
    }
}

fn print(text: &str) -> ExitCode {
    use std::io::Write as _;
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
