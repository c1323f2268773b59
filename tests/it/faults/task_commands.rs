//! What can happen while a command of the task file runs: a signal, a kill, the time limit, the death of the server.

use nix::sys::signal::Signal::{SIGKILL, SIGTERM};
use serde_json::Value;

use super::salvage::git;
use super::{Work, is_gone};
use crate::support::run::{Running, holds};
use crate::support::{AgentServer, NEWEST, OLDEST, Run, Step, time_scale};

/// The gate at which the command waits.
const COMMAND: &str = "command";

crate::on_newest_and_oldest!(
    a_signal_during_setup_ends_the_command,
    a_signal_during_a_check_ends_the_command,
    the_time_limit_counts_during_setup,
    the_time_limit_counts_during_a_check,
    a_runner_that_is_killed_during_setup_is_reported,
    a_runner_that_is_killed_during_a_check_is_reported,
    a_run_that_starts_again_during_setup_sets_up_again,
    a_run_that_starts_again_during_a_check_checks_again,
);

/// A run whose command of this field waits at its gate, in a repository.
fn held_in(field: &str, work: &Work, server: &AgentServer) -> Run {
    std::fs::create_dir_all(&work.working_dir).unwrap();
    git(work, &["init", "-q", "."]);
    work.hold_at(COMMAND);
    work.takes(1);
    let command = format!("echo $$ >pid; {}", work.gates.wait(COMMAND));
    work.run(server).file("task.md", format!("---\n{field}:\n  - {}\n---\nDo the task.", serde_json::json!(command)))
}

/// Until the command runs.
async fn begun(work: &Work, running: &Running) {
    while !holds(&work.working_dir.join("pid"), "\n") {
        assert!(!running.is_silenced(), "the run has ended before its command began");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// The patch has what the command did until it was ended.
#[track_caller]
fn has_kept_its_work(work: &Work) {
    let patch = std::fs::read_to_string(work.out().join("changes.patch")).unwrap();
    assert!(patch.contains("diff --git a/pid b/pid\n"), "{patch}");
}

/// Gives the report, once the command has ended.
async fn a_signal_ends_the_command_of(field: &str, server: &AgentServer) -> Value {
    let work = Work::on(server).await;
    let running = held_in(field, &work, server).start();
    begun(&work, &running).await;
    running.signal(SIGTERM);
    running.finish().await.exits_with(143);
    let report = work.failed_with("Terminated");
    has_kept_its_work(&work);
    is_gone(&work.working_dir.join("pid")).await;
    report
}

async fn a_signal_during_setup_ends_the_command(server: &AgentServer) {
    let report = a_signal_ends_the_command_of("setup", server).await;
    assert!(server.user_messages(report["conversation_id"].as_str().unwrap()).await.is_empty());
}

async fn a_signal_during_a_check_ends_the_command(server: &AgentServer) {
    a_signal_ends_the_command_of("checks", server).await;
}

async fn the_time_limit_counts_for(field: &str, limit: &str, server: &AgentServer) {
    let work = Work::on(server).await;
    held_in(field, &work, server).args(["--timeout", limit]).finish().await.exits_with(124);
    work.failed_with("Timeout");
    has_kept_its_work(&work);
    is_gone(&work.working_dir.join("pid")).await;
}

async fn the_time_limit_counts_during_setup(server: &AgentServer) {
    the_time_limit_counts_for("setup", "20s", server).await;
}

async fn the_time_limit_counts_during_a_check(server: &AgentServer) {
    // The agent works before the check.
    the_time_limit_counts_for("checks", "40s", server).await;
}

async fn a_killed_runner_is_reported_during(field: &str, server: &AgentServer) {
    let work = Work::on(server).await;
    let running = held_in(field, &work, server).args(["--restart-grace", "500ms"]).start();
    begun(&work, &running).await;
    running.signal(SIGKILL);
    running.finish().await.ended_by(SIGKILL);
    work.failed_with("RunnerDied");
    // No one is left who could ask the agent-server for it.
    assert!(!work.out().join("changes.patch").exists());
    work.let_go(COMMAND);
}

async fn a_runner_that_is_killed_during_setup_is_reported(server: &AgentServer) {
    a_killed_runner_is_reported_during("setup", server).await;
}

async fn a_runner_that_is_killed_during_a_check_is_reported(server: &AgentServer) {
    a_killed_runner_is_reported_during("checks", server).await;
}

/// Kills the runner while the command of this field waits, and starts the run again. Gives the report of the second runner, which logs
/// these words.
async fn started_again_during(field: &str, server: &AgentServer, words: [&str; 2]) -> Value {
    let work = Work::on(server).await;
    let running = held_in(field, &work, server).args(["--restart-grace", "30s"]).start();
    begun(&work, &running).await;
    running.signal(SIGKILL);
    // The run continues: its guardian has reported nothing.
    let next = held_in(field, &work, server).start();
    next.says(words[0]).await;
    work.let_go(COMMAND);
    next.finish().await.exits_with(0).says(words[1]);
    running.finish().await.ended_by(SIGKILL);
    let report = work.receiver.accepted();
    assert_eq!(report["status"], "COMPLETED");
    // What the command did under the first runner too.
    has_kept_its_work(&work);
    report
}

async fn a_run_that_starts_again_during_setup_sets_up_again(server: &AgentServer) {
    started_again_during("setup", server, ["setup command 1 of 1: ", "completed"]).await;
}

async fn a_run_that_starts_again_during_a_check_checks_again(server: &AgentServer) {
    let words = ["check 1 of 1: ", "it is not known whether the agent changes the scripts"];
    let report = started_again_during("checks", server, words).await;
    assert_eq!(server.user_messages(report["conversation_id"].as_str().unwrap()).await, ["Do the task."]);
}

#[tokio::test]
async fn the_attempts_of_a_runner_that_is_killed_during_a_check_count() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    work.takes(1);
    work.llm.script("These checks failed", [Step::finish("It is done.")]);
    work.hold_at(COMMAND);
    // The first attempt fails at once, the second waits.
    let waits = format!("echo $$ >pid; {}", work.gates.wait(COMMAND));
    let check = format!("echo x >>attempts; if [ $(wc -l <attempts) -gt 1 ]; then {waits}; fi; exit 1");
    let task = format!("---\nlimits: {{attempts: 2}}\nchecks:\n  - {}\n---\nDo the task.", serde_json::json!(check));
    let run = || work.run(server).file("task.md", &task);
    let running = run().args(["--restart-grace", "30s"]).start();
    begun(&work, &running).await;
    running.signal(SIGKILL);
    let next = run().start();
    next.says("check 1 of 1: ").await;
    work.let_go(COMMAND);
    next.finish().await.exits_with(1);
    running.finish().await.ended_by(SIGKILL);
    let report = work.failed_with("ChecksFailed");
    assert!(report["error"]["detail"].as_str().unwrap().contains("after attempt 2 of 2"), "{report}");
    let messages = server.user_messages(report["conversation_id"].as_str().unwrap()).await;
    assert_eq!(messages.len(), 2, "{messages:?}");
}

async fn the_server_dies_in(field: &str, version: &'static str) {
    let server = AgentServer::lent(version).await;
    let work = Work::on(&server).await;
    let running = held_in(field, &work, &server).scaled(time_scale(0.2), ["setup_budget"]).start();
    begun(&work, &running).await;
    server.kill();
    running.finish().await.exits_with(69);
    work.failed_with("AgentServerUnreachable");
    server.discard();
}

#[tokio::test]
async fn a_newest_server_that_dies_during_setup_is_reported() {
    the_server_dies_in("setup", NEWEST).await;
}

#[tokio::test]
async fn an_oldest_server_that_dies_during_setup_is_reported() {
    the_server_dies_in("setup", OLDEST).await;
}

#[tokio::test]
async fn a_newest_server_that_dies_during_a_check_is_reported() {
    the_server_dies_in("checks", NEWEST).await;
}

#[tokio::test]
async fn an_oldest_server_that_dies_during_a_check_is_reported() {
    the_server_dies_in("checks", OLDEST).await;
}
