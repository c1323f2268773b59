//! The row of a run: selects it, its folder, and the id of its run.

use std::path::Path;

use openhands_client::off_thread::off_thread;

use crate::batch_folder::BatchFolder;
use crate::cli::{RowArgs, RowChoice, RunArgs};
use crate::input::Environment;
use crate::input::rows::{Row, Rows, engine};
use crate::outcome::Failure;
use crate::problem::{Problem, Problems};

/// The row of a run, if it has one.
pub(super) enum Chosen {
    /// The row to run; `None` for a run without rows.
    Row(Option<Row>),
    /// The run of this row has already completed: nothing is left to do.
    Done(Row),
}

/// Finds the row. With `--out`, the run gets its own folder inside the folder of the batch, and an id derived from both, so that
/// a row that is started again continues its run.
///
/// # Errors
/// The row does not exist, or its folder is not usable.
pub(super) async fn choose(args: &mut RunArgs, environment: &mut Environment) -> Result<Chosen, Failure> {
    let RowArgs { rows, row, row_file } = &args.row;
    if let Some(file) = row_file.clone() {
        let row =
            off_thread("row", move || uploaded(&file)).await.map_err(|problem| Failure::invalid(problem.into()))?;
        return Ok(Chosen::Row(Some(row)));
    }
    let (Some(file), Some(choice)) = (rows.clone(), *row) else { return Ok(Chosen::Row(None)) };
    let number = match choice {
        RowChoice::Number(number) => number,
        RowChoice::Auto => engine::row_number(&environment.raw).map_err(|problem| Failure::invalid(problem.into()))?,
    };
    let row = off_thread("rows", move || Ok::<_, Problems>(Rows::read(&file)?.get(number)?.clone())).await;
    let row = row.map_err(Failure::invalid)?;
    let Some(out) = args.out.clone() else { return Ok(Chosen::Row(Some(row))) };
    let batch = off_thread("batch folder", move || BatchFolder::open(&out)).await.map_err(Failure::from)?;
    args.out = Some(batch.row_folder(&row.key));
    if environment.raw.automation_run_id.is_none() && environment.raw.run_id.is_none() {
        if batch.has_completed(&row.key) {
            return Ok(Chosen::Done(row));
        }
        environment.raw.run_id = Some(batch.run_id(&row.key));
    }
    Ok(Chosen::Row(Some(row)))
}

/// Reads a row that a batch wrote next to the task.
fn uploaded(file: &Path) -> Result<Row, Problem> {
    let wrong = |found: String| Problem::new(file.display().to_string(), found, "give a row as `batch` writes it");
    let text = std::fs::read(file).map_err(|error| wrong(format!("cannot be read ({error})")))?;
    serde_json::from_slice(&text).map_err(|error| wrong(format!("no row ({error})")))
}
