//! Signals: to the runner, to its process group, while it works and while it reports.

use std::time::Duration;

use nix::sys::signal::Signal::{self, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGSTOP, SIGTERM, SIGUSR1};
use nix::sys::signal::killpg;
use nix::unistd::Pid;
use tokio::time::sleep;

use super::{Work, agent_is_stopped};
use crate::support::proxy::Proxy;
use crate::support::receiver::Answer::{self, Never, Status};
use crate::support::run::{Finished, Running};
use crate::support::tls_front::TlsFront;
use crate::support::{AgentServer, NEWEST, Receiver, Run};

crate::on_newest_and_oldest!(sigterm_stops_the_agent_and_is_reported);

async fn sigterm_stops_the_agent_and_is_reported(server: &AgentServer) {
    ends_the_run(server, SIGTERM, 143, "Terminated").await;
}

async fn ends_the_run(server: &AgentServer, signal: Signal, code: i32, name: &str) {
    let work = Work::on(server).await;
    work.hold_at("2");
    let running = work.run(server).start();
    work.reach("2").await;
    running.signal(signal);
    running.finish().await.exits_with(code);
    // On some versions the agent stops when its command has ended.
    work.let_go("2");
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
        // Of a scheduler.
        ends_the_run(server, SIGUSR1, 143, "Terminated"),
    );
}

/// A run whose agent-server is on another machine, behind TLS and so long a way, held at step 2.
async fn held_far_away(work: &Work, server: &AgentServer, way: Duration) -> (Proxy, Running, TlsFront) {
    let front = TlsFront::named(&["agent-server.test"], server.port, 0).await;
    let proxy = Proxy::tunnel_to(front.port()).await;
    proxy.delay(way);
    work.hold_at("2");
    let run = work.run(server).file("ca.pem", &front.trusted_pem).env("SSL_CERT_FILE", "ca.pem");
    let run = run.env("AGENT_SERVER_URL", "https://agent-server.test");
    let running = run.env("HTTPS_PROXY", format!("http://127.0.0.1:{}", proxy.port)).start();
    work.reach("2").await;
    (proxy, running, front)
}

#[tokio::test]
async fn sigterm_stops_an_agent_whose_server_is_a_round_trip_of_80_ms_away() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    let (_proxy, running, _front) = held_far_away(&work, server, Duration::from_millis(40)).await;
    running.signal(SIGTERM);
    let finished = running.finish().await.exits_with(143);
    assert!(!finished.stderr.contains("may still be at work"), "{}", finished.stderr);
    let report = work.failed_with("Terminated");
    assert!(report["cost"].as_f64().unwrap() > 0.0, "{report}");
    agent_is_stopped(server, &report).await;
    work.let_go("2");
}

#[tokio::test]
async fn sigterm_warns_of_an_agent_whose_server_is_too_far_away_to_confirm_its_end() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    let (proxy, running, _front) = held_far_away(&work, server, Duration::ZERO).await;
    proxy.delay(Duration::from_secs(60));
    running.signal(SIGTERM);
    running.finish().await.exits_with(143).says("the agent may still be at work");
    work.failed_with("Terminated");
}

async fn terminated_and_killed_a_second_later(first_answer: Answer) -> (Work, Finished) {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::reported_to(server, Receiver::answering([first_answer]).await).await;
    work.hold_at("2");
    let running = work.run(server).command(|command| _ = command.process_group(0)).start();
    work.reach("2").await;
    let group = running.pid();
    if first_answer == Status(503) {
        // A runner that cannot even take the first signal.
        running.signal(SIGSTOP);
    }
    killpg(group, SIGTERM).unwrap();
    sleep(Duration::from_secs(1)).await;
    let _ = killpg(group, SIGKILL);
    (work, running.finish().await)
}

#[tokio::test]
async fn a_group_that_is_terminated_has_ended_when_it_would_be_killed() {
    // What does not fit into the second, a hanging service for example, is the guardian's.
    let (work, finished) = terminated_and_killed_a_second_later(Never).await;
    finished.exits_with(143);
    work.failed_with("Terminated");
}

#[tokio::test]
async fn a_group_that_is_killed_before_it_could_end_is_reported() {
    let (work, finished) = terminated_and_killed_a_second_later(Status(503)).await;
    finished.ended_by(SIGKILL);
    work.failed_with("RunnerDied");
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
    work.hold_at("2");
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

/// A message of nested loops over an event of 75 KB, whose filling-in takes as many steps as it may.
fn long_filling_in(receiver: &Receiver) -> Run {
    let labels: Vec<String> = (0..5000).map(|number| format!("label-{number:05}")).collect();
    let event = serde_json::json!({"trigger": "event", "event": {"labels": labels}}).to_string();
    assert!(event.len() > 70_000);
    let text = "{% for a in event.labels %}{% for b in event.labels %}{{ b }}{% endfor %}{% endfor %}";
    Run::new()
        .file("task.md", format!("---\nllm: {{model: m}}\n---\n{text}"))
        .env("AUTOMATION_EVENT_PAYLOAD", event)
        .reports_to(receiver, &uuid::Uuid::new_v4().to_string())
}

/// Whether a thread of this process fills in messages.
fn is_filling_in(process: Pid) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let names = threads.map(|thread| std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default());
    names.into_iter().any(|name| name.trim_end() == "messages")
}

#[tokio::test]
async fn a_signal_counts_while_a_message_is_filled_in() {
    // On a busy machine the moment is missed now and then.
    for _ in 0..20 {
        let receiver = Receiver::start().await;
        let running = long_filling_in(&receiver).args(["run", "task.md"]).start();
        while !is_filling_in(running.pid()) && !running.is_silenced() {
            sleep(Duration::from_millis(1)).await;
        }
        running.try_signal(SIGTERM);
        let finished = running.finish().await;
        let report = receiver.accepted();
        if finished.code == Some(143) {
            assert_eq!(report["error"]["code"], "Terminated");
            return;
        }
        let detail = report["error"]["detail"].as_str().unwrap();
        assert!(detail.contains("a template that takes too many steps"), "{report}");
    }
    panic!("no signal counted while a message was filled in");
}

#[tokio::test]
async fn the_time_limit_counts_while_a_message_is_filled_in() {
    let receiver = Receiver::start().await;
    long_filling_in(&receiver).args(["run", "--timeout", "10ms", "task.md"]).finish().await.exits_with(124);
    assert_eq!(receiver.accepted()["error"]["code"], "Timeout");
}
