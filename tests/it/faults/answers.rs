//! An agent-server whose answers about the conversation are wrong, while its agent works and its events socket lives.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{Work, agent_is_stopped};
use crate::support::meddler::Meddling::{self, Answer, Request, Response, Silence};
use crate::support::meddler::{Meddler, is_state};
use crate::support::run::Running;
use crate::support::{AgentServer, NEWEST};

const JSON: &str = "application/json";
const HTML: &str = "<!doctype html><title>Wait a moment</title>";

/// Most of these times are minutes, with the real time limits too.
const SHORT: &str =
    "poll_with_socket=0.05,poll_without_socket=0.1,idle_after_message=0.1,server_errors=0.02,confirm_again=0.2";

/// A run whose agent is held at step 2 behind a server that passes everything on until then.
async fn held(work: &Work, server: &AgentServer, scale: &str) -> (Meddler, Running) {
    let meddler = Meddler::to(server.port, |_, _| None).await;
    work.hold_at("2");
    let run = work.run(server).env("AGENT_SERVER_PORT", meddler.port.to_string());
    let running = run.args(["--time-scale", scale]).start();
    work.reach("2").await;
    (meddler, running)
}

/// A rule for the state of the conversation alone.
fn for_the_state(meddle: impl Fn() -> Option<Meddling>) -> impl Fn(&str, &str) -> Option<Meddling> {
    move |method, path| if is_state(method, path) { meddle() } else { None }
}

#[tokio::test]
async fn a_run_whose_state_cannot_be_read_ends_as_its_socket_has_said() {
    let server = AgentServer::shared(NEWEST).await;
    let answers = [
        (200, "text/html", HTML),
        (200, JSON, r#"{"execution_status":null}"#),
        (200, JSON, "{}"),
        (429, JSON, r#"{"detail":"slow down"}"#),
        (500, JSON, r#"{"detail":"broken"}"#),
    ];
    join_all(answers.map(async |(status, kind, body)| {
        let work = Work::on(server).await;
        let scale = format!("{SHORT},server_silence=0.15,socket_silence=0.15,socket_ping=0.15");
        let (meddler, running) = held(&work, server, &scale).await;
        meddler.now(for_the_state(move || Some(Answer(status, kind, body.to_owned()))));
        work.let_go("2");
        running.finish().await.exits_with(0).says("taking what the events socket said");
        assert_eq!(work.receiver.accepted()["status"], "COMPLETED", "{status} {body}");
    }))
    .await;
}

#[tokio::test]
async fn a_run_whose_state_can_never_be_read_ends_with_a_reason_and_stops_its_agent() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    let (meddler, running) = held(&work, server, SHORT).await;
    meddler.now(for_the_state(|| Some(Answer(200, "text/html", HTML.to_owned()))));
    running.finish().await.exits_with(69).says("responded only with errors for 6 s");
    work.let_go("2");
    agent_is_stopped(server, &work.failed_with("AgentServerUnreachable")).await;
}

#[tokio::test]
async fn a_server_that_accepts_every_start_and_runs_nothing_is_asked_five_times() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    let meddler = Meddler::to(server.port, |method, path| match (method, path) {
        ("POST", path) if path.ends_with("/run") => Some(Answer(200, JSON, json!({"success": true}).to_string())),
        // As long, and no.
        ("POST", path) if path.ends_with("/events") => Some(Request(r#""run":true"#, r#""run":   0"#)),
        _ => None,
    })
    .await;
    let run = work.run(server).env("AGENT_SERVER_PORT", meddler.port.to_string());
    let finished = run.args(["--time-scale", SHORT]).finish().await.exits_with(69);
    finished.says("the agent-server did not start the run after 5 requests");
    assert_eq!((meddler.count("POST", "/run"), meddler.count("POST", "/events")), (5, 1));
    work.failed_with("RequestRefused");
}

#[tokio::test]
async fn refusals_that_pass_end_no_run() {
    let server = AgentServer::shared(NEWEST).await;
    join_all([401, 403, 404].map(async |status| {
        let work = Work::on(server).await;
        let (meddler, running) = held(&work, server, SHORT).await;
        // Two, then an answer, then two more.
        let asked = AtomicUsize::new(0);
        meddler.now(for_the_state(move || {
            let number = asked.fetch_add(1, Ordering::Relaxed);
            [0, 1, 3, 4].contains(&number).then(|| Answer(status, JSON, json!({"detail": "No."}).to_string()))
        }));
        states_are_read(&meddler, 6).await;
        work.let_go("2");
        running.finish().await.exits_with(0);
        assert_eq!(work.receiver.accepted()["status"], "COMPLETED", "{status}");
    }))
    .await;
}

/// All threads of a server may wait for the commands of its agents: its socket is alive, and requests wait.
#[tokio::test]
async fn a_server_that_keeps_requests_waiting_is_busy() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    let (meddler, running) = held(&work, server, &format!("{SHORT},request=0.1")).await;
    meddler.now(for_the_state(|| Some(Silence)));
    // Three requests of 4 s: twice as long as a server may respond only with errors.
    states_are_read(&meddler, 4).await;
    meddler.now(|_, _| None);
    work.let_go("2");
    running.finish().await.exits_with(0);
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
}

/// Until the state was asked for so many times more.
async fn states_are_read(meddler: &Meddler, times: usize) {
    let enough = meddler.count_that(is_state) + times;
    let deadline = Instant::now() + Duration::from_secs(300);
    while meddler.count_that(is_state) < enough {
        assert!(Instant::now() < deadline, "the state is not read");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn refusals_in_a_row_end_the_run_and_its_agent_is_stopped() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    let (meddler, running) = held(&work, server, SHORT).await;
    meddler.now(for_the_state(|| Some(Answer(401, JSON, json!({"detail": "Unauthorized"}).to_string()))));
    running.finish().await.exits_with(69).says("the agent-server refuses the session key");
    work.let_go("2");
    agent_is_stopped(server, &work.failed_with("CredentialsRefused")).await;
}

#[tokio::test]
async fn an_unknown_status_is_a_warning_and_not_a_wait_without_an_end() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    let (meddler, running) = held(&work, server, SHORT).await;
    meddler.now(for_the_state(|| Some(Response(|state| state["execution_status"] = json!("dreaming")))));
    running.says("the conversation has an unknown status").await;
    let finished = running.finish().await.exits_with(69).says("the unknown status `dreaming`, and nothing happened");
    assert_eq!(finished.stderr.matches("has an unknown status").count(), 1, "{}", finished.stderr);
    work.let_go("2");
    agent_is_stopped(server, &work.failed_with("RequestRefused")).await;
}

/// Under a limit of memory that they fit into twice.
#[tokio::test]
async fn statistics_of_57_mb_take_no_multiple_of_their_size() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    let meddler = Meddler::to(server.port, |_, _| None).await;
    work.hold_at("2");
    let run = work.run(server).env("AGENT_SERVER_PORT", meddler.port.to_string()).args(["--time-scale", SHORT]);
    let running = run.under(["prlimit", "--data=150000000"]).start();
    work.reach("2").await;
    let entries: Vec<String> =
        (1_000_000..2_500_000).map(|number| format!(r#""usage-{number}":{{"accumulated_cost":1}}"#)).collect();
    let state = format!(r#"{{"execution_status":"running","stats":{{"usage_to_metrics":{{{}}}}}}}"#, entries.join(","));
    assert!(state.len() > 57_000_000);
    meddler.now(for_the_state(move || Some(Answer(200, JSON, state.clone()))));
    states_are_read(&meddler, 2).await;
    meddler.now(|_, _| None);
    work.let_go("2");
    running.finish().await.exits_with(0);
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
}

#[tokio::test]
async fn an_impossible_cost_is_not_reported() {
    let server = AgentServer::shared(NEWEST).await;
    // Two of the last make more than a number can be.
    join_all(["-10", "1e308", "1e999", "NaN", r#""10""#].map(async |impossible| {
        let work = Work::on(server).await;
        let (meddler, running) = held(&work, server, SHORT).await;
        let body = format!(
            r#"{{"execution_status":"running","stats":{{"usage_to_metrics":{{"a":{{"accumulated_cost":{impossible}}},"b":{{"accumulated_cost":{impossible}}}}}}}}}"#
        );
        meddler.now(for_the_state(move || Some(Answer(200, JSON, body.clone()))));
        states_are_read(&meddler, 2).await;
        meddler.now(|_, _| None);
        work.let_go("2");
        running.finish().await.exits_with(0);
        let cost = work.receiver.accepted()["cost"].as_f64();
        assert!(cost.is_none_or(|cost| cost > 0.0 && cost < 10.0), "{impossible}: {cost:?}");
    }))
    .await;
}

/// Every page of the log names a next one.
#[tokio::test]
async fn a_log_whose_pages_never_end_is_left_alone() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    let (meddler, running) = held(&work, server, SHORT).await;
    meddler.now(|_, path| {
        path.contains("/events/search").then_some(Response(|page| page["next_page_id"] = json!("once more")))
    });
    work.let_go("2");
    running.finish().await.exits_with(0);
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
    assert!(meddler.count_that(|_, path| path.contains("/events/search")) < 20);
}
