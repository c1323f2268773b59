//! Plans the rows of a batch, and reports the errors in each.

use std::path::Path;

use openhands_client::off_thread::off_thread;

use super::super::CommandContext;
use crate::cli::{Place, ProvisionArgs, StartArgs};
use crate::input::rows::{Row, Rows};
use crate::input::settings::{Overrides, Settings};
use crate::input::task::filling::flag_for;
use crate::input::task::source::Source;
use crate::outcome::Failure;
use crate::plan::RunPlan;
use crate::problem::{Problem, Problems};

/// The maximum number of problems that are shown for all rows.
const MOST_PROBLEMS: usize = 20;

/// A row, the cost limit of its run, and how its sandbox is created.
pub(super) struct PlannedRow {
    pub(super) row: Row,
    pub(super) cost_limit: Option<f64>,
    pub(super) provision: ProvisionArgs,
}

/// Reads the rows and plans the run of each, so that errors in a sandbox are reported before.
pub(super) async fn planned(context: &CommandContext, args: &StartArgs) -> Result<Vec<PlannedRow>, Failure> {
    let missing = |what: &str| Failure::usage(Problem::new(what, "not given", "name it"));
    let file = args.rows.rows.clone().ok_or_else(|| missing("--rows"))?;
    let task = args.task.clone().ok_or_else(|| missing("TASK"))?;
    let overrides = args.overrides();
    let (provider, agent_server_url) = match &args.place {
        Place::Sandboxes(kind) => (Some(*kind), None),
        Place::Server(url) => (None, Some(url.clone())),
    };
    let flags = Overrides {
        agent_profile: overrides.agent_profile.clone(),
        params: overrides.params.clone(),
        provider,
        agent_server_url,
        ..Overrides::default()
    };
    let raw = context.raw().for_rows();
    let settings = Settings::from_env(&raw, &context.environment.not_text, flags).map_err(Failure::invalid)?;
    let (selection, limits) = (args.rows.selection(), context.environment.time_limits.run);
    let provision = args.provision.clone();
    let plan = move || {
        let rows = selection.of(Rows::read(&file)?)?;
        let source = Source::named(Some(&task), Path::new("."));
        let (mut planned, mut problems) = (Vec::with_capacity(rows.len()), Vec::<Problem>::new());
        for row in rows {
            let task = source.load_for(Some(&row)).map(|task| overrides.applied_to(task));
            let cost_limit = task.as_ref().ok().and_then(|task| task.limits.cost);
            let plan = task.and_then(|task| RunPlan::new(settings.clone(), task, limits));
            match plan.and_then(|_| Ok(provision_for(&provision, &row)?)) {
                Ok(provision) => planned.push(PlannedRow { row, cost_limit, provision }),
                Err(Problems(found)) => {
                    for problem in found {
                        if problems.iter().all(|told| told.to_string() != problem.to_string()) {
                            problems.push(problem);
                        }
                    }
                }
            }
            if problems.len() >= MOST_PROBLEMS {
                problems.truncate(MOST_PROBLEMS);
                break;
            }
        }
        if problems.is_empty() { Ok(planned) } else { Err(Problems(problems)) }
    };
    off_thread("rows", plan).await.map_err(Failure::invalid)
}

/// Returns how the sandbox of a row is created. Its image may come from a column.
fn provision_for(args: &ProvisionArgs, row: &Row) -> Result<ProvisionArgs, Problem> {
    let value = |flag, text: &Option<String>| text.as_ref().map_or(Ok(None), |text| flag_for(row, flag, text));
    Ok(ProvisionArgs {
        image: value("--image", &args.image)?,
        sandbox_spec: value("--sandbox-spec", &args.sandbox_spec)?,
        ..args.clone()
    })
}
