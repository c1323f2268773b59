//! The task's `checks`: commands that must pass after the agent has finished.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::run::LLM_COST;
use crate::support::{AgentServer, Receiver, Run, ScriptedLlm, Step};

crate::on_newest_and_oldest!(
    an_agent_that_succeeds_at_the_second_attempt_completes_the_run,
    an_agent_that_lies_fails_the_run,
    a_script_of_a_check_that_the_agent_changes_is_named,
    an_agent_that_breaks_off_fails_the_run_with_its_own_error,
    the_cost_of_all_attempts_counts_for_the_limit,
);

/// What the agent gets after the first message, and after each failure.
struct Agent {
    first: Vec<Step>,
    sent_back: Vec<Step>,
}

async fn run(server: &AgentServer, fields: &str, working_dir: &Path, agent: Agent) -> (Run, ScriptedLlm) {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Do the task", agent.first);
    llm.script("These checks failed", agent.sent_back);
    let run = Run::inside(server).llm(&llm).env("WORKSPACE_BASE", working_dir.to_str().unwrap());
    let run = run.args(["run", "--out", "out", "--junit", "--format", "json", "task.md"]);
    (run.file("task.md", format!("---\n{fields}\n---\nDo the task.")), llm)
}

fn outline(result: &Value) -> Vec<(&str, &str, Option<u64>)> {
    let text = |check: &'_ Value, name: &str| check[name].as_str().unwrap().to_owned().leak() as &str;
    let checks = result["checks"].as_array().unwrap().iter();
    checks.map(|check| (text(check, "name"), text(check, "status"), check["exit_code"].as_u64())).collect()
}

async fn messages(server: &AgentServer, result: &Value) -> Vec<String> {
    server.user_messages(result["conversation_id"].as_str().unwrap()).await
}

async fn an_agent_that_succeeds_at_the_second_attempt_completes_the_run(server: &AgentServer) {
    let working_dir = server.working_dir();
    let agent = Agent {
        first: vec![Step::finish("Done.")],
        sent_back: vec![Step::terminal("echo x >done.txt"), Step::finish("Now it is done.")],
    };
    let fields = "checks:\n  - 'true'\n  - {name: is done, run: 'cat done.txt', timeout: 1m}";
    let (run, _llm) = run(server, fields, &working_dir, agent).await;
    let finished = run.finish().await.exits_with(0);
    let result = finished.json();
    assert_eq!(outline(&result), [("true", "passed", Some(0)), ("is done", "passed", Some(0))]);
    assert_eq!((&result["check_attempts"], &result["message"]), (&json!(2), &json!("Now it is done.")), "{result:#}");
    let [_, told] = &messages(server, &result).await[..] else { panic!("{result:#}") };
    assert!(told.contains("The check `is done` exited with 1.") && told.contains("No such file"), "{told}");
    assert!(!told.contains("`true`"), "{told}");
    let stages: Vec<_> = result["stages"].as_array().unwrap().iter().map(|stage| stage["stage"].clone()).collect();
    assert_eq!(stages[3..], ["turn 1", "checks 1", "turn 2", "checks 2"]);
    let report = fs::read_to_string(finished.path("out/report.html")).unwrap();
    assert!(report.contains("<h2>Checks</h2>") && report.contains("is done"), "{report}");
}

async fn an_agent_that_lies_fails_the_run(server: &AgentServer) {
    let receiver = Receiver::start().await;
    let working_dir = server.working_dir();
    let lie = || vec![Step::finish("All tests pass.")];
    let fields = "checks:\n  - {name: tests, run: 'echo 1 test failed; exit 3'}\n  - 'true'";
    let (run, _llm) = run(server, fields, &working_dir, Agent { first: lie(), sent_back: lie() }).await;
    let finished = run.reports_to(&receiver, &uuid::Uuid::new_v4().to_string()).finish().await.exits_with(1);
    let result = finished.json();
    assert_eq!(outline(&result), [("tests", "failed", Some(3)), ("true", "passed", Some(0))]);
    assert_eq!((&result["check_attempts"], &result["checks"][0]["output"]), (&json!(3), &json!("1 test failed")));
    let report = receiver.accepted();
    assert_eq!((&report["status"], &report["error"]["code"]), (&json!("FAILED"), &json!("ChecksFailed")), "{report}");
    let detail = report["error"]["detail"].as_str().unwrap();
    assert!(detail.starts_with("1 of 2 checks failed after attempt 3 of 3; `tests` exited with 3;"), "{detail}");
    assert_eq!(messages(server, &result).await.len(), 3);
    let junit = fs::read_to_string(finished.path("out/junit.xml")).unwrap();
    assert!(junit.contains(r#"tests="3" failures="2""#) && junit.contains(r#"name="tests""#), "{junit}");
    let shown = Run::new().args(["show", finished.path("out").to_str().unwrap()]).finish().await.exits_with(0);
    shown.says_on_stdout("FAILED: ChecksFailed").says_on_stdout("Checks\n  exit 3   tests\n  passed   true\n");
}

async fn a_script_of_a_check_that_the_agent_changes_is_named(server: &AgentServer) {
    let working_dir = server.working_dir();
    fs::create_dir(working_dir.join("ci")).unwrap();
    fs::write(working_dir.join("ci/check.sh"), "exit 1\n").unwrap();
    fs::write(working_dir.join("ci/honest.sh"), "exit 0\n").unwrap();
    let agent = Agent {
        first: vec![Step::terminal("echo exit 0 >ci/check.sh"), Step::finish("Done.")],
        sent_back: vec![Step::finish("Done.")],
    };
    let fields = "checks: ['cd ci && sh check.sh', 'sh ./ci/honest.sh']";
    let (run, _llm) = run(server, fields, &working_dir, agent).await;
    let finished = run.finish().await.exits_with(0).says("ci/check.sh");
    let result = finished.json();
    assert_eq!(result["checks"][0]["changed"], json!(["ci/check.sh"]), "{result:#}");
    assert_eq!(result["checks"][1].get("changed"), None, "{result:#}");
    let warning = "the check `cd ci && sh check.sh` calls files that were changed since the agent started: ci/check.sh";
    assert_eq!(result["warnings"], json!([warning]), "{result:#}");
}

async fn an_agent_that_breaks_off_fails_the_run_with_its_own_error(server: &AgentServer) {
    let working_dir = server.working_dir();
    let agent = Agent { first: vec![Step::finish("Done.")], sent_back: vec![Step::fail(401, "the key has expired")] };
    let (run, _llm) = run(server, "checks: ['exit 4']", &working_dir, agent).await;
    let result = run.finish().await.exits_with(1).json();
    assert_eq!(result["status"], "FAILED");
    // The server's own code, which older servers call `AuthenticationError`.
    assert!(result["error"]["code"].as_str().unwrap().ends_with("AuthenticationError"), "{result:#}");
    assert_eq!(outline(&result), [("exit 4", "failed", Some(4))]);
    assert_eq!(result["check_attempts"], 1);
}

async fn the_cost_of_all_attempts_counts_for_the_limit(server: &AgentServer) {
    let working_dir = server.working_dir();
    let agent = Agent {
        first: vec![Step::finish("Done.")],
        sent_back: (0..30).map(|number| Step::terminal(&format!("sleep 0.3; echo {number}"))).collect(),
    };
    let fields = format!("llm: {LLM_COST}\nlimits: {{cost: 0.035}}\nchecks: ['exit 4']");
    let (run, _llm) = run(server, &fields, &working_dir, agent).await;
    let result = run.finish().await.exits_with(1).json();
    assert_eq!((&result["status"], &result["error"]["code"]), (&json!("FAILED"), &json!("CostLimitReached")));
    assert_eq!(outline(&result), [("exit 4", "failed", Some(4))]);
    assert_eq!((&result["check_attempts"], &result["turns"]), (&json!(1), &json!(2)), "{result:#}");
}
