//! An agent-server that is late, frozen, cut off, killed or started again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Work;
use crate::support::agent_server::STARTING;
use crate::support::proxy::Proxy;
use crate::support::run::holds;
use crate::support::{AgentServer, NEWEST, OLDEST};

#[tokio::test]
async fn a_server_that_starts_20_s_later_is_waited_for() {
    let mut server = AgentServer::not_started(NEWEST);
    let work = Work::on(&server).await;
    let running = work.run(&server).start();
    sleep(Duration::from_secs(20)).await;
    server.launch();
    running.finish().await.exits_with(0).says("waiting for the agent-server at http://localhost:");
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
}

async fn frozen_for_30_s(version: &'static str) {
    let server = AgentServer::start(version).await;
    let work = Work::on(&server).await;
    let running = work.run(&server).start();
    work.reach("2").await;
    server.freeze();
    sleep(Duration::from_secs(30)).await;
    server.thaw();
    let lines = running.finish().await.exits_with(0).json_lines();
    crate::run::passes_every_event_once(&server, &lines).await;
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
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
    let work = Work::on(server).await;
    let proxy = Proxy::to(server.port).await;
    let running = work.run(server).env("AGENT_SERVER_PORT", proxy.port.to_string()).start();
    for step in ["2", "4"] {
        work.reach(step).await;
        proxy.cut();
    }
    let lines = running.finish().await.exits_with(0).says("the events socket is back").json_lines();
    crate::run::passes_every_event_once(server, &lines).await;
    let report = work.receiver.accepted();
    let cost = server.cost(report["conversation_id"].as_str().unwrap()).await;
    assert!(cost > 0.0 && (report["cost"].as_f64().unwrap() - cost).abs() < 1e-9, "{report} {cost}");
}

crate::on_newest_and_oldest!(cut_twice);

#[tokio::test]
async fn a_killed_server_fails_the_run_within_a_minute() {
    let server = AgentServer::start(NEWEST).await;
    let work = Work::on(&server).await;
    let running = work.run(&server).start();
    work.reach("2").await;
    server.kill();
    let killed = Instant::now();
    running.finish().await.exits_with(69).says("no sign of life for 45 s");
    assert!(killed.elapsed() < Duration::from_secs(60), "{:?}", killed.elapsed());
    let report = work.receiver.accepted();
    assert_eq!(report["error"]["code"], "AgentServerUnreachable");
    assert!(report["cost"].as_f64().unwrap() > 0.0);
}

async fn started_again(version: &'static str) {
    let mut server = AgentServer::start(version).await;
    let work = Work::on(&server).await;
    let _turn = STARTING.lock().await;
    let running = work.run(&server).start();
    work.reach("2").await;
    server.kill();
    server.launch();
    running.finish().await.exits_with(0).says("has started again; resuming the conversation");
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
    assert!(holds(&work.working_dir.join("steps.txt"), "6"));
}

#[tokio::test]
async fn a_newest_server_that_starts_again_goes_on() {
    started_again(NEWEST).await;
}

#[tokio::test]
async fn an_oldest_server_that_starts_again_goes_on() {
    started_again(OLDEST).await;
}
