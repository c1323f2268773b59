//! The lines of `check` about the task and each of its rows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use openhands_client::off_thread::off_thread;
use openhands_client::text;

use super::check::{CheckLine, State};
use crate::cli::CheckArgs;
use crate::input::env::RawEnv;
use crate::input::payload::Payload;
use crate::input::plugin_spec::given_by_service;
use crate::input::rows::{Rows, Selection};
use crate::input::task::Task;
use crate::input::task::source::Source;
use crate::input::template::NO_CONFIG;
use crate::plan::check_messages;
use crate::problem::{Problem, Problems};

const TASK: &str = "task";

/// The maximum number of problems that are shown for all rows.
const MOST: usize = 20;

/// Checks whether the task is valid, with rows for each row. Also returns the agent profile that the task names.
pub(super) async fn task_lines(args: &CheckArgs, raw: &RawEnv) -> (Vec<CheckLine>, Option<String>) {
    let source = Source::named(args.task.as_deref(), Path::new("."));
    let is_named = args.task.is_some();
    let (selection, params) = (args.rows.selection(), args.params.clone());
    let payload = Payload::parse(raw.automation_event_payload.as_deref());
    let Some(file) = args.rows.rows.clone() else {
        let raw = raw.clone();
        return off_thread("task file", move || one(&source, is_named, &raw, &payload, &params)).await;
    };
    off_thread("rows", move || match each(&source, file, &selection, &payload, &params) {
        Ok(good) => (vec![CheckLine::good("rows", good)], None),
        Err(Problems(problems)) => (problems.into_iter().map(|problem| bad("rows", problem)).collect(), None),
    })
    .await
}

fn bad(what: &'static str, Problem { place, found, help }: Problem) -> CheckLine {
    CheckLine::bad(what, State::Wrong, format!("{place}: {found}"), help)
}

fn one(
    source: &Source,
    is_named: bool,
    raw: &RawEnv,
    payload: &Payload,
    params: &[(String, String)],
) -> (Vec<CheckLine>, Option<String>) {
    let of_messages = |task: &Task| {
        let mut problems = check_messages(task, payload, params);
        if *payload == Payload::Absent {
            // A run that an event triggers has a payload.
            problems.retain(|problem| problem.found != payload.why_no_event());
        }
        // A run of a plugin has a configuration.
        problems.retain(|problem| problem.found != NO_CONFIG);
        problems
    };
    let problems = match given_by_service(source.load_checked(None, &of_messages), raw) {
        Ok(task) => {
            let problems = of_messages(&task);
            if problems.is_empty() {
                let name = task.name.unwrap_or_else(|| text::bounded(&task.prompt, 60));
                return (vec![CheckLine::good(TASK, name)], task.agent.profile);
            }
            problems
        }
        Err(Problems(problems)) => problems,
    };
    let line = |problem: Problem| match problem.place.as_str() {
        "task" if !is_named => CheckLine::absent(TASK, "none here"),
        _ => bad(TASK, problem),
    };
    (problems.into_iter().map(line).collect(), None)
}

/// Creates the task of each row, and returns the number of rows.
fn each(
    source: &Source,
    file: PathBuf,
    selection: &Selection,
    payload: &Payload,
    params: &[(String, String)],
) -> Result<String, Problems> {
    let rows = Rows::read(&file)?;
    let all = rows.len();
    let rows = selection.of(rows)?;
    let (mut problems, mut told) = (Vec::new(), BTreeSet::new());
    for row in &rows {
        let of_messages = |task: &Task| check_messages(task, payload, params);
        let found = match source.load_checked(Some(row), &of_messages) {
            Ok(task) => of_messages(&task),
            Err(Problems(problems)) => problems,
        };
        problems.extend(found.into_iter().filter(|problem| told.insert(problem.to_string())));
        if problems.len() >= MOST {
            problems.truncate(MOST);
            break;
        }
    }
    if problems.is_empty() {
        let of_all = if rows.len() == all { String::new() } else { format!(" of {all}") };
        return Ok(format!("{}{of_all} in {}, each gives a task", rows.len(), file.display()));
    }
    Err(Problems(problems))
}
