//! A run from its task to its outcome, on the newest and the oldest agent-server.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::run::{LLM_COST, account_settings};
use crate::support::tls_front::TlsFront;
use crate::support::{AgentServer, Cloud, Gates, NEWEST, OLDEST, Receiver, Run, ScriptedLlm, Step, time_scale};

crate::on_newest_and_oldest!(
    two_turns_complete_and_report_the_servers_cost,
    the_agents_shell_sees_a_secret_and_nobody_else_does,
    a_refused_llm_key_fails_with_the_servers_code,
    a_working_directory_that_the_server_cannot_make_fails_at_once,
    an_agent_that_repeats_itself_is_stuck,
    the_iteration_limit_fails_with_the_servers_code,
    the_cost_limit_stops_the_agent,
    the_time_limit_stops_the_agent,
    every_event_is_passed_through_once,
    a_run_that_starts_again_sends_nothing_twice,
    a_run_that_starts_again_waits_for_the_turn_under_way,
    a_continued_conversation_gets_its_message_though_it_holds_the_same_text,
);

async fn llm(steps: impl IntoIterator<Item = Step>) -> ScriptedLlm {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Do the task", steps);
    llm
}

fn unique() -> String {
    uuid::Uuid::new_v4().to_string()
}

async fn two_turns_complete_and_report_the_servers_cost(server: &AgentServer) {
    let llm = llm([Step::terminal("echo one >done.txt"), Step::finish("First.")]).await;
    llm.script("And then", [Step::terminal("echo two >>done.txt"), Step::finish("Both are done.")]);
    let (receiver, run_id) = (Receiver::start().await, unique());
    let working_dir = server.working_dir();
    let finished = Run::inside(server)
        .llm(&llm)
        .reports_to(&receiver, &run_id)
        .env("WORKSPACE_BASE", &working_dir)
        .env("AUTOMATION_CALLBACK_API_KEY", "callback-key-of-the-test")
        .task(&format!("---\nllm: {LLM_COST}\nthen: ['And then more.']\n---\nDo the task."))
        .finish()
        .await
        .exits_with(0)
        .never_shows("sk-key-of-the-test")
        .never_shows("callback-key-of-the-test")
        .never_shows(&server.key);

    assert_eq!(finished.stdout, "Both are done.\n");
    assert_eq!(std::fs::read_to_string(working_dir.join("done.txt")).unwrap(), "one\ntwo\n");
    let report = receiver.accepted();
    let id = report["conversation_id"].as_str().unwrap();
    assert_eq!(report["status"], "COMPLETED");
    assert_eq!(report["run_id"], run_id.as_str());
    let fields: BTreeSet<&str> = report.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, BTreeSet::from(["status", "run_id", "conversation_id", "cost"]));
    let cost = report["cost"].as_f64().unwrap();
    assert!(cost > 0.03 && (cost - server.cost(id).await).abs() < 1e-9, "{cost}");
    assert_eq!(server.user_messages(id).await, ["Do the task.", "And then more."]);
    assert_eq!(receiver.callbacks()[0].authorization.as_deref(), Some("Bearer callback-key-of-the-test"));
}

async fn the_agents_shell_sees_a_secret_and_nobody_else_does(server: &AgentServer) {
    const VALUE: &str = "the-value-that-no-one-may-see";
    let llm = llm([
        Step::terminal("printf %s \"$THE_TOKEN\" | sha256sum >sum.txt; echo \"token: $THE_TOKEN\""),
        Step::finish("Used."),
    ])
    .await;
    let secrets = [("THE_TOKEN", VALUE), ("OTHER", "another-value")];
    let cloud = Cloud::start(&server.key, account_settings(&llm), &secrets).await;
    let (receiver, working_dir) = (Receiver::start().await, server.working_dir());
    Run::inside(server)
        .account(&cloud)
        .reports_to(&receiver, &unique())
        .env("WORKSPACE_BASE", &working_dir)
        .env("RUST_LOG", "trace")
        .args(["run", "--format", "jsonl", "task.md"])
        .file("task.md", "---\nsecrets: [THE_TOKEN]\n---\nDo the task.")
        .finish()
        .await
        .exits_with(0)
        .never_shows(VALUE)
        .never_shows("sk-inherited-key")
        .never_shows(crate::support::cloud::API_KEY)
        .never_shows(&server.key);
    // sha256 of the value.
    let sum = std::fs::read_to_string(working_dir.join("sum.txt")).unwrap();
    assert_eq!(
        sum.split_whitespace().next().unwrap(),
        "3914bb136f9ff877c30fedbb2d747e235fc19c1f49bbec9cb955837c9a579317"
    );
    assert_eq!(receiver.accepted()["status"], "COMPLETED");
}

/// Runs a task whose agent fails, and gives the report.
async fn failed(server: &AgentServer, steps: Vec<Step>, front_matter: &str, exit_code: i32) -> Value {
    let llm = llm(steps).await;
    let receiver = Receiver::start().await;
    let started = Instant::now();
    let finished = Run::inside(server)
        .llm(&llm)
        .reports_to(&receiver, &unique())
        .args(["run", "--format", "json", "task.md"])
        .scaled(time_scale(0.4), ["poll_with_budget"])
        .file("task.md", format!("---\n{front_matter}\n---\nDo the task."))
        .finish()
        .await
        .exits_with(exit_code);
    assert!(started.elapsed() < Duration::from_secs(90));
    let report = receiver.accepted();
    let result = finished.json();
    assert_eq!(report["status"], "FAILED");
    assert_eq!(result["status"], "FAILED");
    assert_eq!(result["exit_code"], exit_code);
    assert_eq!(result["error"]["code"], report["error"]["code"]);
    assert_eq!(report["error"]["kind"], "ConversationErrorEvent");
    assert!(!report["error"]["detail"].as_str().unwrap().is_empty());
    report
}

async fn a_refused_llm_key_fails_with_the_servers_code(server: &AgentServer) {
    let report = failed(server, vec![Step::fail(401, "Incorrect API key provided")], "name: refused", 1).await;
    let id = report["conversation_id"].as_str().unwrap();
    let events = server.events(id).await;
    let of_server = events.iter().find(|event| event["kind"] == "ConversationErrorEvent").unwrap();
    assert_eq!(report["error"]["code"], of_server["code"]);
    assert_eq!(report["error"]["id"], of_server["id"]);
}

async fn a_working_directory_that_the_server_cannot_make_fails_at_once(server: &AgentServer) {
    let llm = llm([]).await;
    let started = Instant::now();
    // Not even root makes a folder there.
    let run = Run::inside(server).llm(&llm).env("WORKSPACE_BASE", "/proc/nowhere/project").task("Do the task.");
    let finished = run.finish().await.exits_with(69);
    assert!(!finished.stderr.contains("starting the conversation failed, retrying"), "{}", finished.stderr);
    finished.says("RequestRefused").says("'/proc/nowhere'").says("WORKSPACE_BASE");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

async fn an_agent_that_repeats_itself_is_stuck(server: &AgentServer) {
    let report = failed(server, vec![Step::terminal("echo again")], "name: stuck", 1).await;
    assert_eq!(report["error"]["code"], "AgentStuck");
}

async fn the_iteration_limit_fails_with_the_servers_code(server: &AgentServer) {
    let steps = (0..10).map(|number| Step::terminal(&format!("echo {number}"))).collect();
    let report = failed(server, steps, "limits: {iterations: 3}", 1).await;
    assert_eq!(report["error"]["code"], "MaxIterationsReached");
}

async fn the_cost_limit_stops_the_agent(server: &AgentServer) {
    let steps = (0..40).map(|number| Step::terminal(&format!("sleep 0.5; echo {number}"))).collect();
    let report = failed(server, steps, &format!("llm: {LLM_COST}\nlimits: {{cost: 0.05}}"), 1).await;
    assert_eq!(report["error"]["code"], "CostLimitReached");
    let cost = report["cost"].as_f64().unwrap();
    assert!(cost > 0.05 && cost < 0.39, "{cost}");
    is_stopped(server, report["conversation_id"].as_str().unwrap()).await;
}

async fn the_time_limit_stops_the_agent(server: &AgentServer) {
    let gates = Gates::new();
    gates.close("the limit");
    let steps = vec![Step::patient_terminal(&gates.wait("the limit")), Step::finish("Too late.")];
    let report = failed(server, steps, "limits: {timeout: 15s}", 124).await;
    assert_eq!(report["error"]["code"], "Timeout");
    gates.open("the limit");
    is_stopped(server, report["conversation_id"].as_str().unwrap()).await;
}

/// The agent does not go on: the conversation becomes paused, at the latest after the command under way.
async fn is_stopped(server: &AgentServer, id: &str) {
    for _ in 0..120 {
        if server.conversation(id).await["execution_status"] == "paused" {
            return;
        }
        sleep(Duration::from_millis(250)).await;
    }
    panic!("the agent still works: {}", server.conversation(id).await["execution_status"]);
}

async fn every_event_is_passed_through_once(server: &AgentServer) {
    let llm = llm([Step::terminal("echo one"), Step::terminal("echo two"), Step::finish("Done.")]).await;
    let lines = Run::inside(server)
        .llm(&llm)
        .args(["run", "--format", "jsonl", "task.md"])
        .file("task.md", "Do the task.")
        .finish()
        .await
        .exits_with(0)
        .json_lines();
    assert_eq!(lines[0]["kind"], "runner.conversation");
    assert_eq!(lines[1], json!({"kind": "runner.turn", "number": 1, "of": 1, "message": "Do the task."}));
    let result = lines.last().unwrap();
    assert_eq!((&result["kind"], &result["status"]), (&json!("runner.result"), &json!("COMPLETED")));
    passes_every_event_once(server, &lines).await;
}

#[tokio::test]
async fn a_run_over_tls_gets_its_events_over_the_socket() {
    let server = AgentServer::shared(NEWEST).await;
    let front = TlsFront::of(server.port, 0).await;
    let llm = llm([Step::terminal("echo one"), Step::finish("Done.")]).await;
    let finished = Run::inside(server)
        .llm(&llm)
        .env("AGENT_SERVER_URL", front.url(""))
        .env("SSL_CERT_FILE", "ca.pem")
        .env("RUST_LOG", "info,openhands_client=debug")
        .file("ca.pem", &front.trusted_pem)
        .file("task.md", "Do the task.")
        .args(["run", "--format", "jsonl", "task.md"])
        .finish()
        .await
        .exits_with(0);
    // Without the socket, the run would go on with polling.
    assert!(!finished.stderr.contains("events socket"), "{}", finished.stderr);
    passes_every_event_once(server, &finished.json_lines()).await;
}

/// Compares a run's JSON lines with the log of the server.
pub async fn passes_every_event_once(server: &AgentServer, lines: &[Value]) {
    let id = lines[0]["conversation_id"].as_str().unwrap();
    let is_own = |line: &&Value| line["kind"].as_str().unwrap().starts_with("runner.");
    let passed: Vec<&Value> = lines.iter().filter(|line| !is_own(line)).collect();
    for event in server.events(id).await {
        let same: Vec<_> = passed.iter().filter(|line| line["id"] == event["id"]).collect();
        assert_eq!(same.len(), 1, "{event} was passed through {} times", same.len());
        assert_eq!(**same[0], event);
    }
    let ids: BTreeSet<&str> = passed.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), passed.len(), "an event was passed through twice");
}

async fn a_run_that_starts_again_sends_nothing_twice(server: &AgentServer) {
    let llm = llm([Step::finish("First.")]).await;
    llm.script("And then", [Step::finish("Second.")]);
    let run_id = unique();
    let run = |receiver: &Receiver| {
        Run::inside(server)
            .llm(&llm)
            .reports_to(receiver, &run_id)
            .task("---\nthen: ['And then more.']\n---\nDo the task.")
    };
    let (first, second) = (Receiver::start().await, Receiver::start().await);
    run(&first).finish().await.exits_with(0);
    let finished = run(&second).finish().await.exits_with(0);
    assert_eq!(finished.stdout, "Second.\n");
    assert_eq!(second.accepted()["conversation_id"], first.accepted()["conversation_id"]);
    let id = first.accepted()["conversation_id"].as_str().unwrap().to_owned();
    assert_eq!(server.user_messages(&id).await, ["Do the task.", "And then more."]);
}

async fn a_run_that_starts_again_waits_for_the_turn_under_way(server: &AgentServer) {
    let gates = Gates::new();
    gates.close("the second run");
    let work = format!("echo begun >begun.txt; {}; echo done >done.txt", gates.wait("the second run"));
    let llm = llm([Step::patient_terminal(&work), Step::finish("Done.")]).await;
    let (receiver, run_id) = (Receiver::start().await, unique());
    let working_dir = server.working_dir();
    let run = || {
        Run::inside(server)
            .llm(&llm)
            .reports_to(&receiver, &run_id)
            .env("WORKSPACE_BASE", &working_dir)
            .task("Do the task.")
    };
    let first = run().start();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !working_dir.join("begun.txt").exists() {
        assert!(Instant::now() < deadline, "the agent does not begin");
        sleep(Duration::from_millis(20)).await;
    }
    first.signal(nix::sys::signal::Signal::SIGKILL);
    let second = run().start();
    second.says(" is ready").await;
    assert!(!working_dir.join("done.txt").exists(), "the turn is not under way any more");
    gates.open("the second run");
    second.finish().await.exits_with(0);
    first.finish().await;
    assert!(working_dir.join("done.txt").exists());
    let report = receiver.accepted();
    assert_eq!(report["status"], "COMPLETED");
    assert_eq!(server.user_messages(report["conversation_id"].as_str().unwrap()).await, ["Do the task."]);
}

async fn a_continued_conversation_gets_its_message_though_it_holds_the_same_text(server: &AgentServer) {
    let llm = llm([Step::finish("Done.")]).await;
    let id = unique();
    let run = |receiver: &Receiver, run_id: &str| {
        Run::inside(server)
            .llm(&llm)
            .reports_to(receiver, run_id)
            .env("AUTOMATION_CONVERSATION_ID", id.replace('-', ""))
            .task("Do the task.")
    };
    let receivers = [Receiver::start().await, Receiver::start().await, Receiver::start().await];
    let (earlier, later) = (unique(), unique());
    run(&receivers[0], &earlier).finish().await.exits_with(0);
    run(&receivers[1], &later).finish().await.exits_with(0);
    assert_eq!(receivers[1].accepted()["conversation_id"], id.as_str());
    assert_eq!(server.user_messages(&id).await.len(), 2);
    // 1.11.5 has no tags, so that nothing can tell that the later run was here before.
    if server.version != OLDEST {
        run(&receivers[2], &later).finish().await.exits_with(0);
        assert_eq!(server.user_messages(&id).await.len(), 2);
    }
}
