//! Packs a task as the tarball of an automation, with the command that starts it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use openhands_client::agent_server::{DEFAULT_PORT, local_agent_server};
use openhands_client::automation::Trigger;

use super::super::task_file::TaskFile;
use super::CommandContext;
use crate::cli::{PackArgs, RunnerSource};
use crate::input::env::RawEnv;
use crate::input::settings::{Overrides, Settings};
use crate::input::task::Task;
use crate::input::task::parse::TaskFormat;
use crate::outcome::{Failure, FailureKind};
use crate::plan::RunPlan;
use crate::problem::Problems;

/// The default time limit of a run on the service (`MAX_RUN_DURATION` in its `config.py`).
const LONGEST_RUN: Duration = Duration::from_secs(1800);

/// The time that a run needs in addition to its task: for its start, its report, and for the agent to wrap up.
const AROUND_THE_TASK: Duration = Duration::from_secs(60);

/// A task that has been checked and packed.
pub(super) struct Packed {
    /// The gzipped tarball.
    pub(super) tarball: Vec<u8>,
    /// The command that starts a run.
    pub(super) entrypoint: String,
    /// The name of the task, or else of its file.
    pub(super) name: String,
    /// The description of the task.
    pub(super) description: Option<String>,
    /// The time limit of a run, derived from the limit of the task.
    pub(super) timeout: Option<Duration>,
}

/// Reads the task, checks it like a run with this trigger, and packs it.
pub(super) async fn pack(
    context: &CommandContext,
    task: Option<PathBuf>,
    trigger: &Trigger,
    args: &PackArgs,
) -> Result<Packed, Failure> {
    let file_name = task.as_deref().and_then(|path| path.file_stem()).filter(|stem| *stem != "-");
    let file_name = file_name.map(|stem| stem.to_string_lossy().into_owned());
    let TaskFile { parsed, upload } = TaskFile::read(task).await.map_err(Failure::invalid)?;
    check(context, parsed.clone(), trigger, args).map_err(Failure::invalid)?;
    let runner = args.runner.clone().unwrap_or_default();
    let mut files = vec![(task_name(&upload.name).to_owned(), upload.content.into())];
    files.extend(upload.data.into_iter().map(|(name, content)| (name, content.into())));
    files.extend(setup(&runner).map(|script| ("setup.sh".to_owned(), script.into_bytes())));
    let tarball = tarball(&files)
        .map_err(|error| Failure::new(FailureKind::InternalError, format!("the tarball cannot be made: {error}")))?;
    Ok(Packed {
        tarball,
        entrypoint: entrypoint(&runner, &args.params),
        name: parsed.name.or(file_name).unwrap_or_else(|| "task".to_owned()),
        description: parsed.description,
        timeout: parsed.limits.timeout.map(|limit| (limit + AROUND_THE_TASK).min(LONGEST_RUN)),
    })
}

/// Plans the run as in the sandbox, without the settings of this machine. Values from an event are not known here.
fn check(context: &CommandContext, mut task: Task, trigger: &Trigger, args: &PackArgs) -> Result<(), Problems> {
    let raw = match trigger {
        Trigger::Cron { .. } => {
            RawEnv { automation_event_payload: Some(r#"{"trigger":"cron"}"#.to_owned()), ..RawEnv::default() }
        }
        _ => {
            task.template = Some(false);
            RawEnv::default()
        }
    };
    let flags = Overrides {
        agent_server_url: Some(local_agent_server(DEFAULT_PORT)),
        params: args.params.clone(),
        ..Overrides::default()
    };
    let settings = Settings::from_env(&raw, &[], flags)?;
    RunPlan::new(settings, task, context.environment.time_limits.run).map(drop)
}

/// Returns the name under which the runner finds the task by default.
fn task_name(name: &str) -> &'static str {
    match TaskFormat::of_name(name) {
        TaskFormat::Yaml => "task.yaml",
        TaskFormat::Json => "task.json",
        TaskFormat::Verbatim => "prompt.txt",
        TaskFormat::Markdown => "task.md",
    }
}

/// Returns the script that installs the runner in the folder of the run. The service runs it before the entrypoint.
fn setup(runner: &RunnerSource) -> Option<String> {
    match runner {
        RunnerSource::Image => None,
        // Installs the program in the version of this one, for this run only: uv creates no link to a program that it has
        // installed for an earlier run with the same home directory. With `uv tool run`, the uv process would stay, with its
        // keys.
        RunnerSource::Wheel => Some(format!(
            "set -eu\nUV_TOOL_DIR=$PWD/.uv-tools UV_TOOL_BIN_DIR=$PWD uv tool install --quiet openhands-runner=={}\n",
            env!("CARGO_PKG_VERSION")
        )),
        RunnerSource::Address(url) => Some(format!(
            "set -eu\ncurl -fsSL --retry 3 -o openhands-runner {}\nchmod 0555 openhands-runner\n",
            shell_words::quote(url.as_str())
        )),
    }
}

/// Returns the entrypoint. It uses `exec`, so that no shell with the keys of the run stays.
fn entrypoint(runner: &RunnerSource, params: &[(String, String)]) -> String {
    let program = if *runner == RunnerSource::Image { "openhands-runner" } else { "./openhands-runner" };
    let params = params.iter().flat_map(|(key, value)| ["--param".to_owned(), format!("{key}={value}")]);
    let arguments: Vec<String> = params.collect();
    let run = if arguments.is_empty() { String::new() } else { format!(" run {}", shell_words::join(&arguments)) };
    format!("exec {program}{run}")
}

/// Packs the files as a gzipped tarball, which is reproducible.
fn tarball(files: &[(String, Vec<u8>)]) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, content.as_slice())?;
    }
    archive.into_inner()?.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_tarball_has_its_files_and_is_the_same_for_the_same_files() {
        let files = [("task.md".to_owned(), b"Do it.".to_vec()), ("setup.sh".to_owned(), b"true\n".to_vec())];
        let packed = tarball(&files).unwrap();
        assert_eq!(packed, tarball(&files).unwrap());
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed.as_slice()));
        let read = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_string_lossy().into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (name, content)
        });
        assert_eq!(read.collect::<Vec<_>>(), files);
    }

    #[test]
    fn the_entrypoint_replaces_its_shell_and_finds_the_task_by_itself() {
        assert_eq!(entrypoint(&RunnerSource::Wheel, &[]), "exec ./openhands-runner");
        let params = [("branch".to_owned(), "my branch".to_owned())];
        assert_eq!(entrypoint(&RunnerSource::Image, &params), "exec openhands-runner run --param 'branch=my branch'");
        for (name, expected) in
            [("a.md", "task.md"), ("nightly.yml", "task.yaml"), ("t.json", "task.json"), ("prompt.txt", "prompt.txt")]
        {
            assert_eq!(task_name(name), expected);
        }
    }

    #[test]
    fn an_address_is_quoted_for_the_shell() {
        let url = url::Url::parse("https://example.org/a?b=1&c=$(id)").unwrap();
        let script = setup(&RunnerSource::Address(url)).unwrap();
        assert!(script.contains("-o openhands-runner 'https://example.org/a?b=1&c=$(id)'\n"), "{script}");
        assert!(setup(&RunnerSource::Image).is_none());
    }
}
