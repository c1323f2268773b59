//! The task's `setup`: commands before the first message.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::phases;
use crate::support::{AgentServer, Receiver, Run, ScriptedLlm, Step};

crate::on_newest_and_oldest!(
    setup_prepares_the_workspace_before_the_first_message,
    a_setup_command_that_fails_ends_the_run_with_the_end_of_its_output,
    a_setup_command_that_takes_too_long_is_ended,
);

/// A run whose agent shows what is in prepared.txt.
async fn run(server: &AgentServer, setup: &str, working_dir: &Path) -> (Run, ScriptedLlm) {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Do the task", [Step::terminal("cat prepared.txt >seen.txt"), Step::finish("Done.")]);
    let run = Run::inside(server).llm(&llm).env("WORKSPACE_BASE", working_dir.to_str().unwrap());
    let run = run.args(["run", "--out", "out", "--format", "json", "task.md"]);
    (run.file("task.md", format!("---\nresult: message\nsetup:\n{setup}\n---\nDo the task.")), llm)
}

fn outline(result: &Value) -> Vec<(&Value, &Value, &Value)> {
    let setup = result["setup"].as_array().unwrap();
    setup.iter().map(|command| (&command["name"], &command["status"], &command["exit_code"])).collect()
}

async fn setup_prepares_the_workspace_before_the_first_message(server: &AgentServer) {
    let working_dir = server.working_dir();
    let setup = "  - set -o pipefail; echo one | tee prepared.txt; echo two >&2; echo three\n  - {name: the second, run: 'pwd >>prepared.txt', timeout: 1m}";
    let (run, _llm) = run(server, setup, &working_dir).await;
    let (phases, seen) = phases::endpoint(200, Duration::ZERO).await;
    let finished = run.env("AUTOMATION_PHASE_URL", phases.url("/phase")).finish().await.exits_with(0);
    let result = finished.json();
    let [first, second] = &outline(&result)[..] else { panic!("{result:#}") };
    assert_eq!(*second, (&json!("the second"), &json!("passed"), &json!(0)));
    assert_eq!((first.1, first.2), (&json!("passed"), &json!(0)));
    assert_eq!(result["setup"][0]["output"], "one\ntwo\nthree");
    let stages: Vec<_> = result["stages"].as_array().unwrap().iter().map(|stage| stage["stage"].clone()).collect();
    assert_eq!(stages, ["setup", "skills", "conversation", "setup commands", "turn 1"]);
    // The agent has seen what both left.
    let seen_by_agent = std::fs::read_to_string(working_dir.join("seen.txt")).unwrap();
    assert_eq!(seen_by_agent, format!("one\n{}\n", working_dir.display()));
    let texts = phases::texts(&seen);
    assert!(texts.iter().any(|text| text == "Running setup command 2 of 2"), "{texts:?}");
    let log = std::fs::read_to_string(finished.path("out/events.jsonl")).unwrap();
    assert_eq!(log.lines().filter(|line| line.starts_with(r#"{"kind":"runner.setup","name":"#)).count(), 2, "{log}");
    let report = std::fs::read_to_string(finished.path("out/report.html")).unwrap();
    assert!(report.contains("the second") && report.contains("one\ntwo\nthree"), "{report}");
}

async fn a_setup_command_that_fails_ends_the_run_with_the_end_of_its_output(server: &AgentServer) {
    let receiver = Receiver::start().await;
    let setup = "  - 'true'\n  - name: deps\n    run: seq 1 5000; echo the last line; exit 3\n  - touch never";
    let working_dir = server.working_dir();
    let (run, llm) = run(server, setup, &working_dir).await;
    let finished = run.reports_to(&receiver, &uuid::Uuid::new_v4().to_string()).finish().await.exits_with(1);
    let result = finished.json();
    let [first, second] = &outline(&result)[..] else { panic!("{result:#}") };
    assert_eq!((first.1, *second), (&json!("passed"), (&json!("deps"), &json!("failed"), &json!(3))));
    let output = result["setup"][1]["output"].as_str().unwrap();
    assert!(output.starts_with("[…] ") && output.ends_with("4999\n5000\nthe last line"), "{output}");
    let report = receiver.accepted();
    let detail = report["error"]["detail"].as_str().unwrap();
    assert_eq!((&report["status"], &report["error"]["code"]), (&json!("FAILED"), &json!("SetupFailed")), "{report}");
    assert!(detail.starts_with("setup command 2 of 3 (`deps`) exited with 3; the end of its output:\n"), "{detail}");
    assert!(detail.ends_with("4999\n5000\nthe last line"), "{detail}");
    assert!(!working_dir.join("never").exists() && llm.calls().is_empty());
    assert!(server.user_messages(report["conversation_id"].as_str().unwrap()).await.is_empty());
}

async fn a_setup_command_that_takes_too_long_is_ended(server: &AgentServer) {
    let working_dir = server.working_dir();
    let setup = "  - {run: 'echo $$ >pid; echo waits; sleep 600; true', timeout: 2s}";
    let (run, _llm) = run(server, setup, &working_dir).await;
    let result = run.finish().await.exits_with(1).says("reached its time limit").json();
    assert_eq!(result["setup"][0]["status"], "timed_out", "{result:#}");
    assert_eq!((&result["setup"][0]["output"], result["setup"][0].get("exit_code")), (&json!("waits"), None));
    assert_eq!(result["error"]["code"], "SetupFailed");
    crate::faults::is_gone(&working_dir.join("pid")).await;
}
