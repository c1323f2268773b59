//! Engines that start one process for each row, and how they number their processes.

use crate::input::env::RawEnv;
use crate::problem::{Problem, shown};

/// An engine that numbers its processes.
#[derive(Debug)]
pub(crate) struct Engine {
    /// The name, for people.
    pub(crate) name: &'static str,
    /// The variable with the number.
    pub(crate) variable: &'static str,
    /// The number of the first process, according to the engine's documentation.
    pub(crate) base: usize,
}

/// All engines that `--row auto` knows. `docs/batch.md` has the same table.
///
/// Kubernetes: "from 0 to .spec.completions-1" (kubernetes.io, Introducing Indexed Jobs). Slurm: the value of `--array` (sbatch,
/// Job Array Support); with `--array=0-N` it counts from 0. AWS Batch: "The array job index begins at 0" (job_env_vars). Cloud Run:
/// from 0 (container contract). Google Batch: "0 through BATCH_TASK_COUNT - 1" (TaskGroup, task_environments). GitLab: 1-based, only
/// in jobs with `parallel` (lib/gitlab/ci/variables/builder.rb). Buildkite: from 0 (environment variables).
pub(crate) const ENGINES: &[Engine] = &[
    Engine { name: "Kubernetes indexed Job", variable: "JOB_COMPLETION_INDEX", base: 0 },
    Engine { name: "Slurm array", variable: "SLURM_ARRAY_TASK_ID", base: 0 },
    Engine { name: "AWS Batch array job", variable: "AWS_BATCH_JOB_ARRAY_INDEX", base: 0 },
    Engine { name: "Cloud Run job", variable: "CLOUD_RUN_TASK_INDEX", base: 0 },
    Engine { name: "Google Batch", variable: "BATCH_TASK_INDEX", base: 0 },
    Engine { name: "GitLab CI `parallel`", variable: "CI_NODE_INDEX", base: 1 },
    Engine { name: "Buildkite `parallelism`", variable: "BUILDKITE_PARALLEL_JOB", base: 0 },
];

const PLACE: &str = "--row auto";

/// Returns the number of this process's row, starting at 0, from the engine that has started the process.
///
/// # Errors
/// No engine has started this process, more than one has, or its number is invalid.
pub(crate) fn row_number(raw: &RawEnv) -> Result<usize, Problem> {
    let set: Vec<(&Engine, &str)> =
        ENGINES.iter().filter_map(|engine| Some((engine, raw.value(engine.variable)?))).collect();
    match set.as_slice() {
        [] => {
            let names: Vec<&str> = ENGINES.iter().map(|engine| engine.variable).collect();
            let help = format!("give the number with `--row N`, or set one of {}", names.join(", "));
            Err(Problem::new(PLACE, "no engine has numbered this process", help))
        }
        [(engine, value)] => {
            let number = value.trim().parse::<usize>().ok().and_then(|number| number.checked_sub(engine.base));
            number.ok_or_else(|| {
                let help = format!("a {} counts from {}; give the number with `--row N`", engine.name, engine.base);
                Problem::new(engine.variable, format!("invalid number {}", shown(value)), help)
            })
        }
        several => {
            let names: Vec<&str> = several.iter().map(|(engine, _)| engine.variable).collect();
            let found = format!("more than one engine has numbered this process: {}", names.join(", "));
            Err(Problem::new(PLACE, found, "give the number with `--row N`, such as `--row \"$SLURM_ARRAY_TASK_ID\"`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(vars: &[(&str, &str)]) -> Result<usize, String> {
        let (raw, _) = RawEnv::from_vars(vars.iter().map(|(name, value)| (name.into(), value.into())));
        row_number(&raw).map_err(|problem| problem.to_string())
    }

    #[test]
    fn the_first_process_of_each_engine_gets_the_first_row() {
        for engine in ENGINES {
            for row in [0, 1, 17] {
                let value = (row + engine.base).to_string();
                assert_eq!(number(&[(engine.variable, &value)]), Ok(row), "{}", engine.name);
            }
        }
        assert_eq!(number(&[("CI_NODE_INDEX", "1")]), Ok(0));
    }

    #[test]
    fn what_is_no_number_of_one_engine_is_refused() {
        for (vars, expected) in [
            (
                &[][..],
                "--row auto: no engine has numbered this process; give the number with `--row N`, or set one of JOB_",
            ),
            (&[("CI_NODE_INDEX", "0")], "CI_NODE_INDEX: invalid number `0`; a GitLab CI `parallel` counts from 1;"),
            (&[("SLURM_ARRAY_TASK_ID", "x")], "SLURM_ARRAY_TASK_ID: invalid number `x`; a Slurm array counts from 0;"),
            (
                &[("JOB_COMPLETION_INDEX", "1"), ("CI_NODE_INDEX", "2")],
                "--row auto: more than one engine has numbered this process: JOB_COMPLETION_INDEX, CI_NODE_INDEX; ",
            ),
        ] {
            let problem = number(vars).unwrap_err();
            assert!(problem.starts_with(expected), "{problem}");
        }
    }
}
