//! Phase endpoints that do not do what the automation service does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::http_listener::{self, Handler, HttpListener};
use crate::support::{AgentServer, NEWEST, Receiver, Run, ScriptedLlm, Step};

/// Keeps the phases, and answers each with the same status after the same time.
struct Phases {
    status: u16,
    delay: Duration,
    seen: Seen,
}

/// The phases that came, and when.
pub type Seen = Arc<Mutex<Vec<(Instant, String)>>>;

impl Handler for Phases {
    async fn answer(&self, request: Request<Bytes>) -> Response<Full<Bytes>> {
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        self.seen.lock().unwrap().push((Instant::now(), body["phase"].as_str().unwrap().to_owned()));
        tokio::time::sleep(self.delay).await;
        http_listener::json(self.status, &json!({"detail": format!("scripted {}", self.status)}))
    }
}

pub async fn endpoint(status: u16, delay: Duration) -> (HttpListener, Seen) {
    let seen = Seen::default();
    let listener = HttpListener::start(0, Phases { status, delay, seen: Arc::clone(&seen) }).await.unwrap();
    (listener, seen)
}

pub fn texts(seen: &Seen) -> Vec<String> {
    seen.lock().unwrap().iter().map(|(_, phase)| phase.clone()).collect()
}

async fn run(server: &AgentServer, phases: &HttpListener, steps: impl IntoIterator<Item = Step>) -> (Run, ScriptedLlm) {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Do the task", steps);
    let run = Run::inside(server).llm(&llm).env("AUTOMATION_PHASE_URL", phases.url("/phase"));
    (run.task("---\nresult: message\n---\nDo the task."), llm)
}

#[tokio::test]
async fn stages_come_at_once_and_summaries_every_four_seconds() {
    let server = AgentServer::shared(NEWEST).await;
    let (phases, seen) = endpoint(200, Duration::ZERO).await;
    let step = |number: u8| {
        Step::call(
            "terminal",
            json!({"command": format!("sleep 1; : {number}"), "summary": format!("Step\n {number}"), "security_risk": "LOW"}),
        )
    };
    let steps = (1..8).map(step).chain([Step::finish("done")]);
    let (run, _llm) = run(server, &phases, steps).await;
    run.finish().await.exits_with(0);
    let stages = ["Setting up workspace", "Configuring agent", "Agent is working on the task"];
    assert!(stages.iter().all(|stage| texts(&seen).iter().any(|phase| phase == stage)), "{:?}", texts(&seen));
    let seen = seen.lock().unwrap();
    let summaries: Vec<_> = seen.iter().filter(|(_, phase)| phase.starts_with("Step ")).collect();
    // How many there are depends on the machine, which may take longer than a second for a step.
    assert!(summaries.len() >= 2, "{seen:?}");
    // The clock here is not the runner's, and on a busy machine a request takes its time.
    let apart = summaries.windows(2).map(|pair| pair[1].0 - pair[0].0);
    assert!(apart.min().unwrap() > Duration::from_secs(2), "{seen:?}");
}

#[tokio::test]
async fn an_endpoint_that_never_answers_holds_up_nothing() {
    let server = AgentServer::shared(NEWEST).await;
    let (phases, seen) = endpoint(200, Duration::from_secs(3600)).await;
    let (run, _llm) = run(server, &phases, [Step::terminal("true"), Step::finish("done")]).await;
    // One attempt at a phase takes 300 s, and no test waits so long for a run.
    run.scaled(30.0, ["phase_attempt"]).finish().await.exits_with(0);
    assert_eq!(texts(&seen), ["Setting up workspace"]);
}

#[tokio::test]
async fn an_endpoint_that_refuses_us_is_left_alone() {
    let server = AgentServer::shared(NEWEST).await;
    let (phases, seen) = endpoint(401, Duration::ZERO).await;
    let (run, _llm) = run(server, &phases, [Step::terminal("sleep 1"), Step::finish("done")]).await;
    run.finish().await.exits_with(0).says("continuing without phases");
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_run_that_is_settled_elsewhere_ends_before_it_begins() {
    let server = AgentServer::shared(NEWEST).await;
    let (phases, _) = endpoint(409, Duration::ZERO).await;
    let receiver = Receiver::start().await;
    let (run, _llm) = run(server, &phases, [Step::terminal("sleep 60"), Step::finish("done")]).await;
    let run_id = uuid::Uuid::new_v4().to_string();
    let began = Instant::now();
    run.reports_to(&receiver, &run_id).finish().await.exits_with(1).says("scripted 409");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(receiver.accepted()["error"]["code"], "RunEndedElsewhere");
}
