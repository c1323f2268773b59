//! `report` and `show`: present a run from the lines of its events.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use openhands_client::ids::ConversationId;
use openhands_client::secret::Redactor;
use openhands_client::text;
use thiserror::Error;

use super::watch::Watch;
use super::{CommandContext, conversation};
use crate::cli::{ColorChoice, LogFormat, ReportArgs, ResultFormat, ShowArgs};
use crate::files::replace;
use crate::input::Environment;
use crate::logging::Lines;
use crate::outcome;
use crate::problem::Problem;
use crate::process::signals::Shutdown;
use crate::report::{self, SourceError, Story};
use crate::run_folder::REPORT;
use crate::screen::width_of;
use crate::sinks::terminal::{error_text, tell_failure};
use crate::view::ErrorForm;

#[derive(Debug, Error)]
enum ReportError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("the page cannot be made")]
    Page(#[from] minijinja::Error),
    #[error("{path} cannot be written")]
    Unwritable { path: String, source: io::Error },
}

impl ReportError {
    fn help(&self) -> &'static str {
        match self {
            Self::Source(_) => "name a run folder of `run --out`, or a file with the output of `run --format jsonl`",
            Self::Page(_) => "report the bug with the file",
            Self::Unwritable { .. } => "name a file that can be written with `--output`",
        }
    }
}

/// Writes the report page of the run at this path, and prints the path of the page.
pub(crate) fn report(path: &Path, args: &ReportArgs, redactor: &Redactor) -> ExitCode {
    let default = if path.is_dir() { path.join(REPORT) } else { path.with_extension("html") };
    let story = report::read(path).map_err(ReportError::from);
    finish(story.and_then(|story| write_page(&story, args.output.as_deref().unwrap_or(&default))), redactor)
}

/// Does the same for a conversation on an agent-server.
pub(crate) async fn report_conversation(
    id: ConversationId,
    args: &ReportArgs,
    environment: Environment,
    lines: &Lines,
    mut shutdown: Shutdown,
) -> ExitCode {
    let errors = ErrorForm::of_process(LogFormat::default(), ColorChoice::Auto, &environment.raw);
    let context = CommandContext::new(environment, ResultFormat::Text, Watch::default());
    match conversation::story(&context, id, args, &mut shutdown).await {
        Ok(story) => {
            let default = PathBuf::from(format!("{id}.html"));
            let written = write_page(&story, args.output.as_deref().unwrap_or(&default));
            finish(written, &context.environment.redactor)
        }
        Err(failure) => {
            tell_failure(&failure, &context.environment.redactor, lines, errors);
            ExitCode::from(failure.kind.exit_code().0)
        }
    }
}

/// Prints the story of a run.
pub(crate) fn show(args: &ShowArgs, redactor: &Redactor) -> ExitCode {
    let shown = report::read(&args.path).map_err(ReportError::from);
    finish(shown.and_then(|story| print(&report::plain(&story, width_of(io::stdout())))), redactor)
}

fn write_page(story: &Story, output: &Path) -> Result<(), ReportError> {
    let page = report::page(story)?;
    if output.as_os_str() == "-" {
        return print(&page);
    }
    replace(output, page.as_bytes()).map_err(|source| unwritable(output, source))?;
    print(&format!("{}\n", output.display()))
}

fn unwritable(path: &Path, source: io::Error) -> ReportError {
    ReportError::Unwritable { path: path.display().to_string(), source }
}

fn print(text: &str) -> Result<(), ReportError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // The reader has closed the pipe, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|source| unwritable(Path::new("standard output"), source)),
    }
}

fn finish(done: Result<(), ReportError>, redactor: &Redactor) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let problem = Problem::new("", redactor.redact(&text::chain(&error)), error.help());
            let _ = io::stderr().write_all(error_text(&[problem], false).as_bytes());
            ExitCode::from(outcome::ExitCode::INVALID_INPUT.0)
        }
    }
}
