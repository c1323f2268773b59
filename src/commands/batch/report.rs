//! `batch report`: the joined results of all rows.

use std::io;
use std::path::PathBuf;

use openhands_client::off_thread::off_thread;
use openhands_client::text;
use serde_json::json;

use super::super::{CommandContext, until_signal};
use crate::batch::ledger::{UnderWay, records};
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

/// Prints the state of the batch, with the rows in progress.
pub(super) async fn status(
    context: &CommandContext,
    folder: PathBuf,
    shutdown: &mut Shutdown,
) -> Result<ExitCode, Failure> {
    let shown = folder.display().to_string();
    let read = until_signal(shutdown, async {
        let read = off_thread("batch folder", move || Ok((batch_report::summary(&folder)?, records(&folder)?)));
        read.await.map_err(|error| unreadable(&shown, &error))
    });
    let (summary, records) = read.await?;
    let under_way: Vec<(&String, &UnderWay)> =
        records.rows.iter().filter_map(|(key, past)| Some((key, past.unfinished()?))).collect();
    let mut lines = vec![in_words(&summary)];
    lines.extend(under_way.iter().map(|(key, left)| {
        let sandbox = left.sandbox.as_deref().unwrap_or("no sandbox yet");
        let state = if left.run.is_some() { "runs" } else { "starts" };
        format!("{state:7} {key}  attempt {}  {sandbox}", left.attempt)
    }));
    let rows: Vec<_> = under_way
        .iter()
        .map(|(key, left)| json!({"key": key, "attempt": left.attempt, "sandbox": left.sandbox, "has_run": left.run.is_some()}))
        .collect();
    context.tell(&lines.join("\n"), &json!({"summary": summary, "under_way": rows})).await;
    Ok(ExitCode::COMPLETED)
}

fn unreadable(folder: &str, error: &io::Error) -> Failure {
    let help = "name the folder that `--out` was for the rows";
    Failure::invalid(Problem::new(folder, text::chain(error), help).into())
}

/// Formats the state of the batch in lines for a terminal.
pub(super) fn in_words(summary: &Summary) -> String {
    let Summary { rows, completed, failed, unfinished, cost, classes } = summary;
    let mut lines = vec![format!(
        "rows    {rows}: {completed} completed, {failed} failed, {unfinished} without an end; ${cost:.2}"
    )];
    lines.extend(classes.iter().map(|(class, count)| format!("failed  {count} {}: {}", class.name(), class.help())));
    lines.join("\n")
}
