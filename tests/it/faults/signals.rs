//! Signals: to the runner, to its process group, while it works and while it reports.

use nix::sys::signal::Signal::{self, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM};
use nix::sys::signal::killpg;
use tokio::time::sleep;

use super::{Work, agent_is_stopped};
use crate::support::receiver::Answer::{Never, Status};
use crate::support::{AgentServer, NEWEST, Receiver, Run};

crate::on_newest_and_oldest!(sigterm_stops_the_agent_and_is_reported);

async fn sigterm_stops_the_agent_and_is_reported(server: &AgentServer) {
    ends_the_run(server, SIGTERM, 143, "Terminated").await;
}

async fn ends_the_run(server: &AgentServer, signal: Signal, code: i32, name: &str) {
    let work = Work::on(server).await;
    let running = work.run(server).start();
    work.reach("2").await;
    running.signal(signal);
    running.finish().await.exits_with(code);
    let report = work.failed_with(name);
    assert!(report["error"]["detail"].as_str().unwrap().contains(signal.as_str()), "{report}");
    assert!(report["cost"].as_f64().unwrap() > 0.0, "{report}");
    agent_is_stopped(server, &report).await;
}

#[tokio::test]
async fn the_other_signals_are_reported_by_their_names() {
    let server = AgentServer::shared(NEWEST).await;
    tokio::join!(
        ends_the_run(server, SIGINT, 130, "Interrupted"),
        ends_the_run(server, SIGHUP, 129, "HungUp"),
        ends_the_run(server, SIGQUIT, 131, "Quit"),
    );
}

#[tokio::test]
async fn a_group_that_is_terminated_and_soon_killed_is_reported() {
    let server = AgentServer::shared(NEWEST).await;
    // The first attempt hangs, so that the runner is still at it when the second signal comes.
    let work = Work::reported_to(server, Receiver::answering([Never]).await).await;
    let running = work.run(server).command(|command| _ = command.process_group(0)).start();
    work.reach("2").await;
    killpg(running.pid(), SIGTERM).unwrap();
    sleep(std::time::Duration::from_secs(1)).await;
    let _ = killpg(running.pid(), SIGKILL);
    running.finish().await;
    work.failed_with("Terminated");
}

#[tokio::test]
async fn a_signal_while_the_callback_is_retried_does_not_change_the_outcome() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::reported_to(server, Receiver::answering([Status(503); 6]).await).await;
    let running = work.run(server).start();
    work.receiver.called().await;
    running.signal(SIGTERM);
    running.finish().await.exits_with(0).says("leaving the rest to the guardian");
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
}

#[tokio::test]
async fn a_second_signal_ends_the_runner_at_once() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::reported_to(server, Receiver::answering([Never]).await).await;
    let running = work.run(server).start();
    work.reach("2").await;
    running.signal(SIGTERM);
    work.receiver.called().await;
    running.signal(SIGINT);
    running.finish().await.exits_with(143).says("leaving the rest to the guardian");
    work.failed_with("Terminated");
}

#[tokio::test]
async fn a_signal_before_the_agent_server_is_up_is_reported() {
    let receiver = Receiver::start().await;
    let running = Run::new()
        .reports_to(&receiver, &uuid::Uuid::new_v4().to_string())
        .args(["run", "--agent-server-url", "http://127.0.0.1:9", "task.md"])
        .file("task.md", "---\nllm: {model: m}\n---\nDo the task.")
        .start();
    running.says("waiting for the agent-server").await;
    running.signal(SIGTERM);
    running.finish().await.exits_with(143);
    assert_eq!(receiver.accepted()["error"]["code"], "Terminated");
}
