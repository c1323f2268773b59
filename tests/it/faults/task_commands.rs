//! What can happen while a command of the task file runs: a signal, a kill, the time limit, the death of the server.

use nix::sys::signal::Signal::{SIGKILL, SIGTERM};

use super::{Work, is_gone};
use crate::support::run::{Running, holds};
use crate::support::{AgentServer, NEWEST, OLDEST, Run};

/// The gate at which the command waits.
const COMMAND: &str = "command";

crate::on_newest_and_oldest!(
    a_signal_during_setup_ends_the_command,
    the_time_limit_counts_during_setup,
    a_signal_during_a_check_ends_the_command,
    the_time_limit_counts_during_a_check,
);

/// A run whose command of this field waits at its gate.
fn held_in(field: &str, work: &Work, server: &AgentServer) -> Run {
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

async fn a_signal_during_setup_ends_the_command(server: &AgentServer) {
    let work = Work::on(server).await;
    let running = held_in("setup", &work, server).start();
    begun(&work, &running).await;
    running.signal(SIGTERM);
    running.finish().await.exits_with(143);
    let report = work.failed_with("Terminated");
    is_gone(&work.working_dir.join("pid")).await;
    assert!(server.user_messages(report["conversation_id"].as_str().unwrap()).await.is_empty());
}

async fn the_time_limit_counts_during_setup(server: &AgentServer) {
    let work = Work::on(server).await;
    held_in("setup", &work, server).args(["--timeout", "20s"]).finish().await.exits_with(124);
    work.failed_with("Timeout");
    is_gone(&work.working_dir.join("pid")).await;
}

#[tokio::test]
async fn a_run_that_starts_again_during_setup_sets_up_again() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    let running = held_in("setup", &work, server).args(["--restart-grace", "30s"]).start();
    begun(&work, &running).await;
    running.signal(SIGKILL);
    // The run continues: its guardian has reported nothing.
    let next = held_in("setup", &work, server).start();
    next.says("setup command 1 of 1: ").await;
    work.let_go(COMMAND);
    next.finish().await.exits_with(0);
    running.finish().await.ended_by(SIGKILL);
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
}

#[tokio::test]
async fn a_runner_that_is_killed_during_setup_is_reported() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    let running = held_in("setup", &work, server).args(["--restart-grace", "500ms"]).start();
    begun(&work, &running).await;
    running.signal(SIGKILL);
    running.finish().await.ended_by(SIGKILL);
    work.failed_with("RunnerDied");
    work.let_go(COMMAND);
}

async fn the_server_dies_in(field: &str, version: &'static str) {
    let server = AgentServer::lent(version).await;
    let work = Work::on(&server).await;
    let running = held_in(field, &work, &server).start();
    begun(&work, &running).await;
    server.kill();
    running.finish().await.exits_with(69);
    work.failed_with("AgentServerUnreachable");
}

#[tokio::test]
async fn a_newest_server_that_dies_during_setup_is_reported() {
    the_server_dies_in("setup", NEWEST).await;
}

#[tokio::test]
async fn an_oldest_server_that_dies_during_setup_is_reported() {
    the_server_dies_in("setup", OLDEST).await;
}

async fn a_signal_during_a_check_ends_the_command(server: &AgentServer) {
    let work = Work::on(server).await;
    let running = held_in("checks", &work, server).start();
    begun(&work, &running).await;
    running.signal(SIGTERM);
    running.finish().await.exits_with(143);
    work.failed_with("Terminated");
    is_gone(&work.working_dir.join("pid")).await;
}

async fn the_time_limit_counts_during_a_check(server: &AgentServer) {
    let work = Work::on(server).await;
    held_in("checks", &work, server).args(["--timeout", "40s"]).finish().await.exits_with(124);
    work.failed_with("Timeout");
    is_gone(&work.working_dir.join("pid")).await;
}

#[tokio::test]
async fn a_runner_that_is_killed_during_a_check_is_reported() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    let running = held_in("checks", &work, server).args(["--restart-grace", "500ms"]).start();
    begun(&work, &running).await;
    running.signal(SIGKILL);
    running.finish().await.ended_by(SIGKILL);
    work.failed_with("RunnerDied");
    work.let_go(COMMAND);
}

#[tokio::test]
async fn a_run_that_starts_again_during_a_check_checks_again() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    let running = held_in("checks", &work, server).args(["--restart-grace", "30s"]).start();
    begun(&work, &running).await;
    running.signal(SIGKILL);
    let next = held_in("checks", &work, server).start();
    next.says("check 1 of 1: ").await;
    work.let_go(COMMAND);
    next.finish().await.exits_with(0).says("it is not known whether the agent changes the scripts");
    running.finish().await.ended_by(SIGKILL);
    let report = work.receiver.accepted();
    assert_eq!(report["status"], "COMPLETED");
    assert_eq!(server.user_messages(report["conversation_id"].as_str().unwrap()).await, ["Do the task."]);
}

#[tokio::test]
async fn a_newest_server_that_dies_during_a_check_is_reported() {
    the_server_dies_in("checks", NEWEST).await;
}

#[tokio::test]
async fn an_oldest_server_that_dies_during_a_check_is_reported() {
    the_server_dies_in("checks", OLDEST).await;
}
