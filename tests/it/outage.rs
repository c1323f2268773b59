//! An agent-server that is late, frozen, cut off, killed or started again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::support::proxy::Proxy;
use crate::support::run::{LLM_COST, holds};
use crate::support::{AgentServer, NEWEST, OLDEST, Receiver, Run, ScriptedLlm, Step};

/// A task that takes some seconds: each step leaves a line in steps.txt.
async fn slow_llm() -> ScriptedLlm {
    let llm = ScriptedLlm::start(0).await.unwrap();
    let steps = (1..=6).map(|number| Step::terminal(&format!("echo {number} >>steps.txt; sleep 1")));
    llm.script("Do the task", steps.chain([Step::finish("Done.")]));
    llm
}

struct Outage {
    llm: ScriptedLlm,
    receiver: Receiver,
    working_dir: std::path::PathBuf,
}

impl Outage {
    async fn of(server: &AgentServer) -> Self {
        Self { llm: slow_llm().await, receiver: Receiver::start().await, working_dir: server.working_dir() }
    }

    fn run(&self, server: &AgentServer) -> Run {
        Run::inside(server)
            .llm(&self.llm)
            .reports_to(&self.receiver, &uuid::Uuid::new_v4().to_string())
            .env("WORKSPACE_BASE", &self.working_dir)
            .args(["run", "--format", "jsonl", "task.md"])
            .file("task.md", format!("---\nllm: {LLM_COST}\n---\nDo the task."))
    }

    /// Until the agent is at this step.
    async fn reach(&self, step: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds(&self.working_dir.join("steps.txt"), step) {
            assert!(Instant::now() < deadline, "the agent does not reach step {step}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn a_server_that_starts_20_s_later_is_waited_for() {
    let mut server = AgentServer::not_started(NEWEST);
    let outage = Outage::of(&server).await;
    let running = outage.run(&server).start();
    sleep(Duration::from_secs(20)).await;
    server.launch();
    running.finish().await.exits_with(0).says("waiting for the agent-server at http://localhost:");
    assert_eq!(outage.receiver.accepted()["status"], "COMPLETED");
}

async fn frozen_for_30_s(version: &'static str) {
    let server = AgentServer::start(version).await;
    let outage = Outage::of(&server).await;
    let running = outage.run(&server).start();
    outage.reach("2").await;
    server.freeze();
    sleep(Duration::from_secs(30)).await;
    server.thaw();
    let lines = running.finish().await.exits_with(0).json_lines();
    super::run::passes_every_event_once(&server, &lines).await;
    assert_eq!(outage.receiver.accepted()["status"], "COMPLETED");
}

#[tokio::test]
async fn a_frozen_newest_server_is_waited_for() {
    frozen_for_30_s(NEWEST).await;
}

#[tokio::test]
async fn a_frozen_oldest_server_is_waited_for() {
    frozen_for_30_s(OLDEST).await;
}

async fn cut_twice(server: &AgentServer) {
    let outage = Outage::of(server).await;
    let proxy = Proxy::to(server.port).await;
    let running = outage.run(server).env("AGENT_SERVER_PORT", proxy.port.to_string()).start();
    for step in ["2", "4"] {
        outage.reach(step).await;
        proxy.cut();
    }
    let lines = running.finish().await.exits_with(0).says("the events socket is back").json_lines();
    super::run::passes_every_event_once(server, &lines).await;
    let report = outage.receiver.accepted();
    let cost = server.cost(report["conversation_id"].as_str().unwrap()).await;
    assert!(cost > 0.0 && (report["cost"].as_f64().unwrap() - cost).abs() < 1e-9, "{report} {cost}");
}

crate::on_newest_and_oldest!(cut_twice);

#[tokio::test]
async fn a_killed_server_fails_the_run_within_a_minute() {
    let server = AgentServer::start(NEWEST).await;
    let outage = Outage::of(&server).await;
    let running = outage.run(&server).start();
    outage.reach("2").await;
    server.kill();
    let killed = Instant::now();
    running.finish().await.exits_with(69).says("no sign of life for 45 s");
    assert!(killed.elapsed() < Duration::from_secs(60), "{:?}", killed.elapsed());
    let report = outage.receiver.accepted();
    assert_eq!(report["error"]["code"], "AgentServerUnreachable");
    assert!(report["cost"].as_f64().unwrap() > 0.0);
}

async fn started_again(version: &'static str) {
    let mut server = AgentServer::start(version).await;
    let outage = Outage::of(&server).await;
    let running = outage.run(&server).start();
    outage.reach("2").await;
    server.kill();
    server.launch();
    running.finish().await.exits_with(0).says("has started again; resuming the conversation");
    assert_eq!(outage.receiver.accepted()["status"], "COMPLETED");
    assert!(holds(&outage.working_dir.join("steps.txt"), "6"));
}

#[tokio::test]
async fn a_newest_server_that_starts_again_goes_on() {
    started_again(NEWEST).await;
}

#[tokio::test]
async fn an_oldest_server_that_starts_again_goes_on() {
    started_again(OLDEST).await;
}
