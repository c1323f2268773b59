//! `report` and `show`: what happened in a run, from the lines of its events.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use openhands_client::text;
use thiserror::Error;

use crate::cli::{ReportArgs, ShowArgs};
use crate::files::replace;
use crate::outcome;
use crate::report::{self, SourceError};
use crate::run_folder::REPORT;
use crate::screen::width_of;

#[derive(Debug, Error)]
enum ReportError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("the page cannot be made")]
    Page(#[from] minijinja::Error),
    #[error("{path} cannot be written")]
    Unwritable { path: String, source: io::Error },
}

/// Writes the page of a run, and prints its path.
pub(crate) fn report(args: &ReportArgs) -> ExitCode {
    finish(write_page(args))
}

/// Prints what happened in a run.
pub(crate) fn show(args: &ShowArgs) -> ExitCode {
    let shown = report::read(&args.path).map_err(ReportError::from);
    finish(shown.and_then(|story| print(&report::plain(&story, width_of(io::stdout())))))
}

fn write_page(args: &ReportArgs) -> Result<(), ReportError> {
    let story = report::read(&args.path)?;
    let page = report::page(&story)?;
    let output = match &args.output {
        Some(output) if output.as_os_str() == "-" => return print(&page),
        Some(output) => output.clone(),
        None if args.path.is_dir() => args.path.join(REPORT),
        None => args.path.with_extension("html"),
    };
    replace(&output, page.as_bytes()).map_err(|source| unwritable(&output, source))?;
    print(&format!("{}\n", output.display()))
}

fn unwritable(path: &Path, source: io::Error) -> ReportError {
    ReportError::Unwritable { path: path.display().to_string(), source }
}

fn print(text: &str) -> Result<(), ReportError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // A reader that has seen enough, such as `head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|source| unwritable(Path::new("standard output"), source)),
    }
}

fn finish(done: Result<(), ReportError>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", text::printable(&text::chain(&error)));
            ExitCode::from(outcome::ExitCode::INVALID_INPUT.0)
        }
    }
}
