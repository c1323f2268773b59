//! The measurements of `scripts/bench`.

mod at_once;
mod automation;
mod batch;
mod callgrind;
mod events;
mod launch;
mod limit;
mod one_run;
mod report;
mod signals;
mod whole_run;

use std::process::ExitCode;

use crate::Failure;
use limit::Rows;

/// Runs one measurement. The exit code is 1 if a number is over its limit.
pub(crate) async fn run(arguments: &[String]) -> Result<ExitCode, Failure> {
    let [measure, runner, rest @ ..] = arguments else {
        return Err("missing the measurement or the runner's path".into());
    };
    let runner = std::fs::canonicalize(runner)?;
    let (against, rest) = match rest {
        [flag, old, rest @ ..] if flag == "--against" => (Some(std::fs::canonicalize(old)?), rest),
        rest => (None, rest),
    };
    let mut rows = Rows::default();
    match measure.as_str() {
        "run" => {
            let reference = rest.strip_prefix(&["--".to_owned()]).unwrap_or(rest);
            whole_run::measure(&mut rows, &runner, against.as_deref(), reference).await?;
            events::measure(&mut rows, &runner, against.as_deref()).await?;
        }
        "events" => events::measure(&mut rows, &runner, against.as_deref()).await?,
        "at-once" => at_once::measure(&rows, &runner).await?,
        "batch" => batch::measure(&mut rows, &runner).await?,
        "report" => report::measure(&mut rows, &runner)?,
        "signals" => signals::measure(&mut rows, &runner).await?,
        "automation" => automation::measure(runner, rest).await?,
        "launch" => launch::measure(&runner, rest).await?,
        other => return Err(format!("unknown measurement `{other}`").into()),
    }
    Ok(rows.exit_code())
}

/// The middle one of an odd number of values, the upper one of the two in the middle else.
fn median<T: Copy + Ord>(values: &mut [T]) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}
