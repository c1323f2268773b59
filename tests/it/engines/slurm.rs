//! A real Slurm runs the array of `examples/engines/slurm.sh`.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::eight_rows::{self, EightRows};
use crate::support::repository;
use crate::support::slurm::Slurm;

#[tokio::test]
async fn an_array_runs_each_row() {
    let slurm = Slurm::start().await;
    let rows = EightRows::new().await;
    let programs = rows.home.path().join("programs");
    fs::create_dir(&programs).unwrap();
    fs::hard_link(env!("CARGO_BIN_EXE_openhands-runner"), programs.join("openhands-runner")).unwrap();
    executable(&programs.join("agent-server"), &format!("#!/bin/sh\nexec {} \"$@\"\n", eight_rows::server_program()));

    let script = repository::file("examples/engines/slurm.sh");
    let mut submit = slurm.command("sbatch");
    submit.args(["--wait", "--array=0-7"]).arg(script).args(["task.md", "rows.csv", "results"]);
    submit.current_dir(rows.home.path()).envs(rows.environment()).env("TMPDIR", rows.home.path());
    submit.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display()));
    let submitted = submit.output().await.unwrap();
    // The highest exit code of the array.
    assert_eq!(submitted.status.code(), Some(1), "{}", rows.logs());
    rows.are_joined("results").await;

    // The array can be submitted again: only the row that has not completed runs, and continues its conversation.
    let failed = || fs::read_to_string(rows.home.path().join("results/rows/row-3/result.json")).unwrap();
    let conversation = |text: &str| serde_json::from_str::<Value>(text).unwrap()["conversation_id"].clone();
    let before = failed();
    submit.output().await.unwrap();
    let again = rows.logs().matches("the row has already completed").count();
    assert_eq!(again, 7, "{}", rows.logs());
    let after = failed();
    assert!(before != after && conversation(&before) == conversation(&after), "{after}");
    rows.are_joined("results").await;
}

fn executable(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
