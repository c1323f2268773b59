//! What is kept of the agent's work when a run ends badly, and what can happen while it is kept. The row of the time limit is in
//! [`super::time_limit`].

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal::{SIGKILL, SIGTERM};
use serde_json::Value;
use tokio::time::sleep;

use super::{Work, agent_is_stopped};
use crate::support::run::{Finished, LLM_COST, Running, holds};
use crate::support::{AgentServer, NEWEST, OLDEST, Run, Step, time_scale};

/// The gate at which git waits.
const GIT: &str = "git";

crate::on_newest_and_oldest!(
    a_signal_leaves_the_work_that_was_done,
    an_agent_that_breaks_off_leaves_the_work_that_was_done,
    what_takes_too_long_to_be_kept_does_not_change_the_outcome,
    a_runner_that_is_killed_while_it_keeps_the_work_has_completed,
    a_signal_while_the_work_is_kept_does_not_change_the_outcome,
);

pub fn git(work: &Work, arguments: &[&str]) {
    let done = Command::new("git").args(arguments).current_dir(&work.working_dir).status().unwrap();
    assert!(done.success(), "git {arguments:?}");
}

/// Work in a repository, which keeps a file of the agent too.
pub async fn in_repository(server: &AgentServer) -> (Work, Run) {
    let work = Work::on(server).await;
    std::fs::create_dir_all(&work.working_dir).unwrap();
    git(&work, &["init", "-q", "."]);
    let task = format!("---\nllm: {LLM_COST}\ncollect: ['*.txt']\n---\nDo the task.");
    let run = work.run(server).file("task.md", task);
    (work, run)
}

/// The patch, the collected file and the result have what the agent did up to this step.
#[track_caller]
pub fn kept(work: &Work, steps: u64) -> Value {
    let patch = std::fs::read_to_string(work.out().join("changes.patch")).unwrap();
    let (_, result) = work.log();
    assert_eq!(result["patch"], serde_json::json!({"files": 1, "insertions": steps, "deletions": 0}), "{result:#}");
    assert_eq!((&result["collected"]["files"], &result["collected"]["left_out"]), (&1.into(), &0.into()), "{result:#}");
    let collected = std::fs::read_to_string(work.out().join("collected/steps.txt")).unwrap();
    assert_eq!(collected.lines().count() as u64, steps);
    assert!(patch.contains(&format!("\n+{steps}\n")) && !patch.contains(&format!("\n+{}\n", steps + 1)), "{patch}");
    let report = std::fs::read_to_string(work.out().join("report.html")).unwrap();
    assert!(report.contains(&format!("1 files, +{steps} -0 lines")), "{report}");
    result
}

async fn a_signal_leaves_the_work_that_was_done(server: &AgentServer) {
    let (work, run) = in_repository(server).await;
    work.hold_at("2");
    let running = run.args(["--result", "result.json"]).start();
    work.reach("2").await;
    running.signal(SIGTERM);
    let finished = running.finish().await.exits_with(143);
    let report = work.failed_with("Terminated");
    let result = kept(&work, 2);
    let file: Value = serde_json::from_slice(&std::fs::read(finished.path("result.json")).unwrap()).unwrap();
    assert_eq!(file, result);
    work.let_go("2");
    agent_is_stopped(server, &report).await;
}

async fn an_agent_that_breaks_off_leaves_the_work_that_was_done(server: &AgentServer) {
    let (work, run) = in_repository(server).await;
    let step = Step::patient_terminal("echo 1 >>steps.txt");
    work.llm.script("Do the task", [step, Step::fail(400, "no such model")]);
    run.finish().await.exits_with(1);
    assert_eq!(work.receiver.accepted()["status"], "FAILED");
    kept(&work, 1);
}

/// A run that is over, and whose patch is not made before its gate is open.
async fn held(server: &AgentServer) -> (Work, Run, PathBuf) {
    let (work, run) = in_repository(server).await;
    work.takes(1);
    work.hold_at(GIT);
    let begun = work.out().with_file_name("begun");
    let filter = format!("echo begun >'{}'; {}; cat", begun.display(), work.gates.wait(GIT));
    git(&work, &["config", "filter.held.clean", &filter]);
    std::fs::write(work.working_dir.join(".git/info/attributes"), "steps.txt filter=held\n").unwrap();
    (work, run, begun)
}

/// Until the patch is being made.
async fn being_kept(running: &Running, begun: &Path) {
    while !holds(begun, "\n") {
        assert!(!running.is_silenced(), "the run has ended before its patch was made");
        sleep(Duration::from_millis(20)).await;
    }
}

#[track_caller]
fn completed_without_patch(work: &Work, finished: Finished) {
    finished.exits_with(0);
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
    assert!(!work.out().join("changes.patch").exists());
}

async fn what_takes_too_long_to_be_kept_does_not_change_the_outcome(server: &AgentServer) {
    let (work, run, _) = held(server).await;
    let finished = run.scaled(time_scale(0.1), ["unhurried_salvage"]).finish().await.says("no changes.patch: ");
    completed_without_patch(&work, finished);
    let (_, result) = work.log();
    assert!(result.get("patch").is_none() && result["collected"]["files"] == 1, "{result:#}");
}

async fn a_runner_that_is_killed_while_it_keeps_the_work_has_completed(server: &AgentServer) {
    let (work, run, begun) = held(server).await;
    let running = run.args(["--restart-grace", "500ms"]).start();
    being_kept(&running, &begun).await;
    running.signal(SIGKILL);
    running.finish().await.ended_by(SIGKILL);
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
    assert_eq!(work.log().1["status"], "COMPLETED");
}

async fn a_signal_while_the_work_is_kept_does_not_change_the_outcome(server: &AgentServer) {
    let (work, run, begun) = held(server).await;
    let running = run.start();
    being_kept(&running, &begun).await;
    running.signal(SIGTERM);
    completed_without_patch(&work, running.finish().await);
    assert_eq!(work.log().1["status"], "COMPLETED");
}

async fn the_server_dies_while_the_work_is_kept(version: &'static str) {
    let server = AgentServer::lent(version).await;
    let (work, run, begun) = held(&server).await;
    let running = run.scaled(time_scale(0.2), ["unhurried_salvage", "unhurried_folder"]).start();
    being_kept(&running, &begun).await;
    server.kill();
    completed_without_patch(&work, running.finish().await.says("no changes.patch: "));
    server.discard();
}

#[tokio::test]
async fn a_newest_server_that_dies_while_the_work_is_kept_does_not_change_the_outcome() {
    the_server_dies_while_the_work_is_kept(NEWEST).await;
}

#[tokio::test]
async fn an_oldest_server_that_dies_while_the_work_is_kept_does_not_change_the_outcome() {
    the_server_dies_while_the_work_is_kept(OLDEST).await;
}
