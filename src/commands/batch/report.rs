//! `batch report`: the results of all rows, joined.

use std::io;
use std::path::PathBuf;

use openhands_client::off_thread::off_thread;
use openhands_client::text;
use serde_json::json;

use super::super::{CommandContext, until_signal};
use crate::batch_report::{self, Summary};
use crate::outcome::{ExitCode, Failure};
use crate::problem::Problem;
use crate::process::signals::Shutdown;

pub(super) async fn run(
    context: &CommandContext,
    folder: PathBuf,
    shutdown: &mut Shutdown,
) -> Result<ExitCode, Failure> {
    let shown = folder.display().to_string();
    let written = until_signal(shutdown, async {
        let written = off_thread("report", move || batch_report::write(&folder)).await;
        written.map_err(|error| unreadable(&shown, &error))
    });
    let (page, summary) = written.await?;
    let object = json!({"report": page.display().to_string(), "summary": summary});
    context.tell(&format!("{}\nreport  {}", in_words(&summary), page.display()), &object).await;
    Ok(ExitCode::COMPLETED)
}

fn unreadable(folder: &str, error: &io::Error) -> Failure {
    let help = "name the folder that `--out` was for the rows";
    Failure::invalid(Problem::new(folder, text::chain(error), help).into())
}

/// How the batch stands, in lines for a terminal.
fn in_words(summary: &Summary) -> String {
    let Summary { rows, completed, failed, unfinished, cost, classes } = summary;
    let mut lines = vec![format!(
        "rows    {rows}: {completed} completed, {failed} failed, {unfinished} without an end; ${cost:.2}"
    )];
    lines.extend(classes.iter().map(|(class, count)| format!("failed  {count} {}: {}", class.name(), class.help())));
    lines.join("\n")
}
