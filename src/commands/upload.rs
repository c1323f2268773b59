//! What is uploaded to a sandbox to start a run there: this program, the task, and the flags.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use openhands_client::sandbox::program::Program;

use crate::cli::{CommonArgs, OverrideArgs, ResultFormat};
use crate::outcome::{Failure, FailureKind};

/// The files of a task.
pub(super) struct TaskUpload {
    /// The name of the task file, which implies its format.
    pub(super) name: String,
    /// The content of the task file.
    pub(super) content: Bytes,
    /// Names and contents of the other files that belong to it.
    pub(super) data: Vec<(String, Bytes)>,
}

impl TaskUpload {
    /// Adds the files to the program's folder, and the task as its last argument.
    pub(super) fn beside(&self, program: Program) -> Program {
        let task = format!("{}/{}", program.folder(), self.name);
        let program = program.arg(task).file(&*self.name, self.content.clone());
        self.data.iter().fold(program, |program, (name, content)| program.file(&**name, content.clone()))
    }
}

/// Returns the program to upload: the named one, or else this one.
///
/// # Errors
/// This program was not found.
pub(super) fn program_to_upload(named: Option<&Path>) -> Result<PathBuf, Failure> {
    match named {
        Some(path) => Ok(path.to_owned()),
        None => std::env::current_exe().map_err(|error| {
            Failure::new(
                FailureKind::InvalidInput,
                format!("this program cannot be found ({error}); name it with --binary"),
            )
        }),
    }
}

/// Returns the flags for `run` inside the sandbox that have the same effect.
pub(super) fn run_flags(overrides: &OverrideArgs, common: &CommonArgs) -> Vec<String> {
    let OverrideArgs {
        timeout,
        deadline,
        profile,
        agent_profile,
        model,
        max_iterations,
        max_cost,
        no_reminders,
        working_dir,
        params,
        ..
    } = overrides;
    #[cfg(debug_assertions)]
    let time_scale = common.time_scale.as_ref().map(ToString::to_string);
    #[cfg(not(debug_assertions))]
    let time_scale = None;
    let flags = [
        ("--time-scale", time_scale),
        ("--timeout", timeout.map(|limit| format!("{}ms", limit.as_millis()))),
        ("--deadline", deadline.map(|deadline| deadline.to_string())),
        ("--profile", profile.clone()),
        ("--agent-profile", agent_profile.clone()),
        ("--model", model.clone()),
        ("--max-iterations", max_iterations.map(|most| most.to_string())),
        ("--max-cost", max_cost.map(|most| most.to_string())),
        ("--working-dir", working_dir.clone()),
        ("--format", (common.format == ResultFormat::Json).then(|| "json".to_owned())),
    ];
    let flags = flags.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value?]));
    let params = params.iter().map(|(key, value)| ["--param".to_owned(), format!("{key}={value}")]);
    let reminders = no_reminders.then(|| "--no-reminders".to_owned());
    flags.chain(params).flatten().chain(reminders).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_run_inside_gets_the_flags_that_were_given() {
        let overrides = OverrideArgs { no_reminders: true, max_iterations: Some(4), ..OverrideArgs::default() };
        let flags = run_flags(&overrides, &CommonArgs::default());
        assert_eq!(flags, ["--max-iterations", "4", "--no-reminders"]);
        assert!(run_flags(&OverrideArgs::default(), &CommonArgs::default()).is_empty());
    }
}
