//! An agent-server that is late, frozen, cut off, killed or started again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Work;
use crate::skills::plugin_with;
use crate::support::agent_server::STARTING;
use crate::support::proxy::Proxy;
use crate::support::run::holds;
use crate::support::{AgentServer, NEWEST, OLDEST, Step, scaled_seconds, time_scale};

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

#[tokio::test]
async fn a_server_in_which_as_many_agents_work_as_may_is_waited_for() {
    let mut server = AgentServer::not_started(NEWEST);
    server.more_variables.push("OH_MAX_CONCURRENT_RUNS=1".to_owned());
    server.launch();
    let (first, second) = (Work::on(&server).await, Work::on(&server).await);
    first.hold_at("1");
    let running = first.run(&server).start();
    first.reach("1").await;
    // For longer than a server may be away.
    let waiting = second.run(&server).scaled(0.005, ["setup_budget"]).start();
    waiting.says_times("429 Conversation run limit reached", 4).await;
    first.let_go("1");
    running.finish().await.exits_with(0);
    waiting.finish().await.exits_with(0);
    assert_eq!(second.receiver.accepted()["status"], "COMPLETED");
}

/// Two thirds of the time that it may be silent.
async fn frozen_for_30_s(version: &'static str) {
    let scale = time_scale(0.2);
    let server = AgentServer::lent(version).await;
    let work = Work::on(&server).await;
    work.hold_at("2");
    let running = work
        .run(&server)
        .scaled(scale, ["server_silence", "socket_silence", "socket_ping", "poll_with_socket"])
        .start();
    work.reach("2").await;
    server.freeze();
    work.let_go("2");
    sleep(Duration::from_secs(30).mul_f64(scale)).await;
    server.thaw();
    let lines = running.finish().await.exits_with(0).json_lines();
    crate::run::passes_every_event_once(&server, &lines).await;
    work.left_the_whole_log(&server, "COMPLETED").await;
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
    let steps = ["2", "4"];
    for step in steps {
        work.hold_at(step);
    }
    let running = work.run(server).env("AGENT_SERVER_PORT", proxy.port.to_string()).start();
    for step in steps {
        work.reach(step).await;
        proxy.cut();
        work.let_go(step);
    }
    let lines = running.finish().await.exits_with(0).says("the events socket is back").json_lines();
    crate::run::passes_every_event_once(server, &lines).await;
    work.left_the_whole_log(server, "COMPLETED").await;
    let report = work.receiver.accepted();
    let cost = server.cost(report["conversation_id"].as_str().unwrap()).await;
    assert!(cost > 0.0 && (report["cost"].as_f64().unwrap() - cost).abs() < 1e-9, "{report} {cost}");
}

crate::on_newest_and_oldest!(cut_twice);

/// A frame of this length is announced in the place of the one that says that the run has finished, to a run under this
/// limit of prlimit(1).
async fn completes_without_a_frame_of(length: u64, limit: &str) {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    let proxy = Proxy::to(server.port).await;
    proxy.announce_a_frame_that_never_comes(length);
    let run = work.run(server).env("AGENT_SERVER_PORT", proxy.port.to_string());
    run.under(["prlimit", limit]).finish().await.exits_with(0);
    assert!(proxy.announced() > 0);
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
}

#[tokio::test]
async fn a_frame_that_claims_2_to_the_40_bytes_when_the_run_has_finished_costs_only_the_connection() {
    completes_without_a_frame_of(1 << 40, "--data=unlimited").await;
}

/// The claim is one that a frame may make, and there is less memory than that.
#[tokio::test]
async fn a_frame_that_claims_almost_32_mib_when_the_run_has_finished_takes_no_such_memory() {
    completes_without_a_frame_of((32 << 20) - 1, "--data=31000000").await;
}

/// The conversation's last message lies further back than a page of its log, and its steps are fewer than are condensed.
#[tokio::test]
async fn a_server_that_is_away_while_a_message_is_sent_gets_it_once() {
    let server = AgentServer::shared(NEWEST).await;
    let first = Work::on(server).await;
    let steps = (1..36).map(|number| Step::terminal(&format!("echo {number}")));
    first.llm.script("Count to 35", steps.chain([Step::finish("35.")]));
    let hook = plugin_with("PostToolUse", |_| "true".to_owned());
    let conversation = uuid::Uuid::new_v4().to_string();
    let run = |work: &Work, task: &str| {
        let run = work.run(server).llm(&first.llm).env("AUTOMATION_CONVERSATION_ID", &conversation);
        run.file("task.md", task)
    };
    let count = format!("---\nplugins: [{{source: '{}'}}]\n---\nCount to 35.", hook.path().display());
    run(&first, &count).finish().await.exits_with(0);
    let events = server.events(&conversation).await;
    let after = events.iter().rev().take_while(|event| event["kind"] != "MessageEvent").count();
    assert!(after > 100, "{after}");

    let work = Work::on(server).await;
    let proxy = Proxy::to(server.port).await;
    let scale = time_scale(0.33);
    proxy.away_at_message(Duration::from_secs(12).mul_f64(scale));
    let running = run(&work, "Do the task.").env("AGENT_SERVER_PORT", proxy.port.to_string());
    let running = running.scaled(scale, ["poll_without_socket", "server_silence"]);
    running.finish().await.exits_with(0).says("sending the message failed");
    assert_eq!(server.user_messages(&conversation).await, ["Count to 35.", "Do the task."]);
}

#[tokio::test]
async fn a_message_whose_answer_is_lost_is_not_sent_again() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    // The agent is still at work when the server is back.
    work.take_time();
    let proxy = Proxy::to(server.port).await;
    let scale = time_scale(0.5);
    proxy.away_after_message(Duration::from_secs(5).mul_f64(scale));
    let running = work.run(server).env("AGENT_SERVER_PORT", proxy.port.to_string());
    let running = running.scaled(scale, ["poll_without_socket"]);
    running.finish().await.exits_with(0).says("sending the message failed");
    let report = work.receiver.accepted();
    assert_eq!(server.user_messages(report["conversation_id"].as_str().unwrap()).await, ["Do the task."]);
}

#[tokio::test]
async fn a_killed_server_fails_the_run_within_a_minute() {
    let server = AgentServer::lent(NEWEST).await;
    let work = Work::on(&server).await;
    work.hold_at("2");
    let scale = time_scale(0.2);
    let running = work.run(&server).scaled(scale, ["server_silence", "last_look"]).start();
    work.reach("2").await;
    server.kill();
    let killed = Instant::now();
    let words = format!("did not respond for {} s", scaled_seconds(45, scale));
    running.finish().await.exits_with(69).says(&words);
    assert!(killed.elapsed() < Duration::from_secs(60).mul_f64(scale), "{:?}", killed.elapsed());
    let report = work.receiver.accepted();
    assert_eq!(report["error"]["code"], "AgentServerUnreachable");
    assert!(report["cost"].as_f64().unwrap() > 0.0);
    server.discard();
}

#[tokio::test]
async fn a_gateway_that_speaks_for_a_lost_server_is_no_sign_of_life() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    let proxy = Proxy::to(server.port).await;
    work.hold_at("2");
    let scale = time_scale(0.2);
    let running = work.run(server).env("AGENT_SERVER_PORT", proxy.port.to_string());
    let running = running.scaled(scale, ["server_silence"]).start();
    work.reach("2").await;
    proxy.speak_alone();
    work.let_go("2");
    let words = format!("did not respond for {} s", scaled_seconds(45, scale));
    running.finish().await.exits_with(69).says(&words);
    work.failed_with("AgentServerUnreachable");
}

async fn started_again(version: &'static str) {
    let mut server = AgentServer::lent(version).await;
    let work = Work::on(&server).await;
    work.hold_at("2");
    // How long a server takes to start is the machine's affair.
    let running = work.run(&server).scaled(time_scale(3.0), ["server_silence"]).start();
    work.reach("2").await;
    {
        let _turn = STARTING.lock().await;
        server.kill();
        server.launch();
        work.let_go("2");
        server.await_ready().await;
    }
    running.finish().await.exits_with(0).says("has restarted; resuming the conversation");
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
