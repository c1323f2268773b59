//! Deaths without a word: SIGKILL, an abort, a panic. The guardian speaks.

use std::time::Duration;

use nix::sys::signal::Signal::{self, SIGABRT, SIGCONT, SIGKILL, SIGSTOP};
use nix::sys::signal::{kill, killpg};
use nix::unistd::Pid;
use tokio::time::sleep;

use super::{Work, agent_is_stopped};
use crate::support::receiver::Answer::Status;
use crate::support::{AgentServer, NEWEST, Receiver, Run, needs_root, time_scale};

#[tokio::test]
async fn a_killed_runner_is_reported_with_conversation_and_cost() {
    let server = AgentServer::shared(NEWEST).await;
    tokio::join!(killed_with(server, SIGKILL), killed_with(server, SIGABRT));
}

async fn killed_with(server: &AgentServer, signal: Signal) {
    let work = Work::on(server).await;
    work.hold_at("3");
    let running = work.run(server).args(["--restart-grace", "500ms"]).start();
    work.reach("3").await;
    running.signal(signal);
    running.finish().await.ended_by(signal);
    let report = work.failed_with("RunnerDied");
    assert!(report["cost"].as_f64().unwrap() > 0.0, "{report}");
    work.left_a_part_of_the_log(server, "RunnerDied").await;
}

#[tokio::test]
async fn a_killed_process_group_is_reported() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    work.hold_at("2");
    let run = work.run(server).args(["--restart-grace", "500ms"]);
    let running = run.command(|command| _ = command.process_group(0)).start();
    work.reach("2").await;
    killpg(running.pid(), SIGKILL).unwrap();
    running.finish().await.ended_by(SIGKILL);
    work.failed_with("RunnerDied");
}

/// A process and all that it has started, the deepest last.
pub fn tree_of(pid: Pid) -> Vec<Pid> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().map(|child| Pid::from_raw(child.parse().unwrap()));
    std::iter::once(pid).chain(children.flat_map(tree_of)).collect()
}

#[tokio::test]
async fn a_killed_process_tree_is_reported() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    work.hold_at("2");
    let running = work.run(server).start();
    work.reach("2").await;
    for process in tree_of(running.pid()) {
        kill(process, SIGKILL).unwrap();
    }
    running.finish().await.ended_by(SIGKILL);
    work.failed_with("RunnerDied");
}

#[tokio::test]
async fn a_guardian_goes_on_until_the_service_is_back() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::reported_to(server, Receiver::answering([Status(503); 4]).await).await;
    work.hold_at("2");
    let running = work.run(server).args(["--restart-grace", "500ms"]).start();
    work.reach("2").await;
    running.signal(SIGKILL);
    running.finish().await.ended_by(SIGKILL);
    work.failed_with("RunnerDied");
    assert_eq!(work.receiver.callbacks().len(), 5);
}

#[tokio::test]
async fn a_guardian_ends_when_its_budget_is_over() {
    let receiver = Receiver::answering([Status(503); 100]).await;
    let running = Run::new()
        .reports_to(&receiver, &uuid::Uuid::new_v4().to_string())
        .args(["run", "--guardian-budget", "3s", "--restart-grace", "1s", "--agent-server-url", "http://127.0.0.1:9"])
        .file("task.md", "---\nllm: {model: m}\n---\nDo the task.")
        .start();
    running.says("waiting for the agent-server").await;
    running.signal(SIGKILL);
    // Finding no process of the run is the point.
    running.finish().await.ended_by(SIGKILL);
    assert!(receiver.callbacks().len() > 1);
}

#[tokio::test]
async fn a_panic_is_an_outcome() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    work.hold_at("2");
    let finished = work.run_without_arguments(server).args(["run", "--panic"]).finish().await.exits_with(70);
    finished.says("asked to panic");
    let report = work.failed_with("InternalError");
    assert!(report["error"]["detail"].as_str().unwrap().contains("asked to panic"), "{report}");
    agent_is_stopped(server, &report).await;
}

#[tokio::test]
async fn the_guardian_is_named_and_keeps_nothing_of_the_run() {
    // It hides its files from others.
    needs_root::is_listed();
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    work.hold_at("1");
    let running = work.run(server).start();
    work.reach("1").await;
    let read = |pid, name| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let guardian = *running.processes().iter().find(|&&pid| pid != running.pid()).unwrap();
    assert_eq!(read(guardian, "comm").trim(), "openhands-guard");
    assert_eq!(read(guardian, "cmdline"), "openhands-guardian\0");
    assert_eq!(read(guardian, "environ"), "");
    assert_eq!(std::fs::read_link(format!("/proc/{guardian}/cwd")).unwrap().to_str(), Some("/"));
    let session = |pid| read(pid, "stat").rsplit(')').next().unwrap().split_whitespace().nth(3).unwrap().to_owned();
    assert_eq!(session(guardian), guardian.to_string());
    // Standard input is the line to the runner, the others are nothing; a socket is the place where it can be met.
    let descriptors = std::fs::read_dir(format!("/proc/{guardian}/fd")).unwrap().flatten();
    for descriptor in descriptors {
        let target = std::fs::read_link(descriptor.path()).unwrap();
        let target = target.to_str().unwrap();
        assert!(target == "/dev/null" || target.starts_with("socket:"), "the guardian holds {target}");
    }
    let ticks =
        || read(guardian, "stat").split_whitespace().skip(13).take(2).map(|n| n.parse::<u64>().unwrap()).sum::<u64>();
    let before = ticks();
    sleep(Duration::from_secs(2)).await;
    assert!(ticks() <= before + 1, "the guardian uses the CPU");
    work.let_go("1");
    running.finish().await.exits_with(0);
}

#[tokio::test]
async fn no_other_process_can_read_the_keys_of_a_run() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    work.hold_at("1");
    let running = work.run(server).start();
    work.reach("1").await;
    for pid in running.processes() {
        for file in ["environ", "cmdline"] {
            let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            running.keeps_secrets(file, &String::from_utf8_lossy(&bytes));
        }
    }
    work.let_go("1");
    running.finish().await.exits_with(0);
}

#[tokio::test]
async fn a_runner_that_was_frozen_longer_than_a_server_may_be_silent_goes_on() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    work.hold_at("2");
    let scale = time_scale(0.2);
    let running = work.run(server).scaled(scale, ["server_silence"]).start();
    work.reach("2").await;
    running.signal(SIGSTOP);
    work.let_go("2");
    sleep(Duration::from_secs(50).mul_f64(scale)).await;
    running.signal(SIGCONT);
    running.finish().await.exits_with(0);
    work.left_the_whole_log(server, "COMPLETED").await;
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
}
