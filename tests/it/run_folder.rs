//! The run folder, the status file, and what must be in neither.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::phases;
use crate::support::mcp_server::McpServer;
use crate::support::repository;
use crate::support::{AgentServer, NEWEST, Receiver, Run, ScriptedLlm, Step};

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn git(directory: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=a", "-c", "user.email=a@b"];
    assert!(Command::new("git").args(identity).args(arguments).current_dir(directory).status().unwrap().success());
}

/// The models of the format's own package take it.
#[track_caller]
fn is_valid_trajectory(path: &Path) {
    let checked = Command::new(repository::file("scripts/validate-trajectory")).arg(path).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

crate::on_newest_and_oldest!(the_folder_tells_the_whole_run);

async fn the_folder_tells_the_whole_run(server: &AgentServer) {
    let llm = ScriptedLlm::start(0).await.unwrap();
    let change = "cd demo && echo two >>kept && echo new >added && git add added && rm gone";
    llm.script("Change the repository", [Step::terminal(change), Step::finish("Changed.")]);
    let working_dir = server.working_dir();
    let repository = working_dir.join("demo");
    fs::create_dir_all(&repository).unwrap();
    git(&repository, &["init", "-q", "."]);
    fs::write(repository.join("kept"), "one\n").unwrap();
    fs::write(repository.join("gone"), "gone\n").unwrap();
    git(&repository, &["add", "."]);
    git(&repository, &["commit", "-qm", "1"]);
    let task = "---\nllm: {input_cost_per_token: 0.00001, output_cost_per_token: 0.00001}\nlimits: {cost: 5}\n---\nChange the repository.";
    let run = Run::inside(server).env("WORKSPACE_BASE", working_dir.to_str().unwrap()).llm(&llm);
    let run = run.args(["run", "--out", "out", "--status", "status.json", "--format", "json"]);
    let run = run.args(["--junit", "--trajectory", "the-task.md"]);
    let finished = run.file("the-task.md", task).finish().await.exits_with(0);
    let (out, result) = (finished.path("out"), finished.json());

    assert_eq!(json_of(&out.join("result.json")), result);
    assert_eq!(fs::read_to_string(out.join("answer.md")).unwrap(), "Changed.\n");
    let expected = json!([{"repository": repository, "added": 1, "updated": 1, "deleted": 1, "moved": 0, "insertions": 2, "deletions": 1, "files": [
        {"status": "ADDED", "path": "added"}, {"status": "DELETED", "path": "gone"}, {"status": "UPDATED", "path": "kept"}]}]);
    assert_eq!(result["changes"], expected, "{result:#}");
    assert_eq!(result["patch"], json!({"files": 3, "insertions": 2, "deletions": 1}), "{result:#}");
    let before = tempfile::tempdir().unwrap();
    fs::create_dir(before.path().join("demo")).unwrap();
    fs::write(before.path().join("demo/kept"), "one\n").unwrap();
    fs::write(before.path().join("demo/gone"), "gone\n").unwrap();
    git(before.path(), &["apply", out.join("changes.patch").to_str().unwrap()]);
    assert_eq!(fs::read_to_string(before.path().join("demo/kept")).unwrap(), "one\ntwo\n");
    assert!(before.path().join("demo/added").exists() && !before.path().join("demo/gone").exists());

    // What was measured and counted.
    assert_eq!((&result["schema_version"], &result["model"]), (&json!(1), &json!("openai/scripted")));
    assert_eq!((&result["turns"], &result["iterations"]), (&json!(1), &json!(2)), "{result:#}");
    let conversation = server.conversation(result["conversation_id"].as_str().unwrap()).await;
    let metrics = conversation["stats"]["usage_to_metrics"].as_object().unwrap();
    let prompt: u64 = metrics.values().map(|of| of["accumulated_token_usage"]["prompt_tokens"].as_u64().unwrap()).sum();
    assert_eq!(result["tokens"]["prompt"], prompt, "{result:#}");
    assert!(metrics.keys().eq(result["usage"].as_object().unwrap().keys()), "{result:#}");
    let version = server.get("/server_info").await["version"].clone();
    assert_eq!(result["server_version"], version);
    let stages: Vec<_> = result["stages"].as_array().unwrap().iter().map(|stage| stage["stage"].clone()).collect();
    assert_eq!(stages, ["setup", "skills", "conversation", "turn 1"]);
    assert!(result["llm_seconds"].as_f64().is_some() && result["tool_seconds"].as_f64().unwrap() > 0.0, "{result:#}");

    // For other tools.
    let junit = fs::read_to_string(out.join("junit.xml")).unwrap();
    assert!(
        junit.contains("<system-out>Changed.</system-out>") && junit.contains(r#"failures="0" errors="0""#),
        "{junit}"
    );
    is_valid_trajectory(&out.join("trajectory.json"));
    let trajectory = json_of(&out.join("trajectory.json"));
    let steps = trajectory["steps"].as_array().unwrap();
    let sources: Vec<_> = steps.iter().map(|step| step["source"].as_str().unwrap()).collect();
    assert_eq!(sources, ["system", "user", "agent", "agent"]);
    assert_eq!(steps[2]["tool_calls"][0]["arguments"]["command"], change);
    assert_eq!(steps[2]["observation"]["results"][0]["extra"]["exit_code"], 0);
    assert_eq!(trajectory["final_metrics"]["total_prompt_tokens"], prompt);

    // The last state.
    let status = json_of(&finished.path("status.json"));
    for (field, value) in [("stage", json!("ended")), ("status", json!("COMPLETED")), ("turn", json!(1))] {
        assert_eq!(status[field], value, "{status:#}\n{}", finished.stderr);
    }
    assert_eq!((&status["conversation_id"], &status["cost"]), (&result["conversation_id"], &result["cost"]));
    assert_eq!((&status["limits"]["cost"], &status["iterations"]), (&json!(5.0), &json!(2)), "{status:#}");
}

#[tokio::test]
async fn a_folder_that_the_agent_could_change_or_that_is_in_use_ends_the_run_before_it_begins() {
    let workspace = tempfile::tempdir().unwrap();
    let llm = ScriptedLlm::start(0).await.unwrap();
    let run = |out: &str| {
        let run = Run::new().llm(&llm).env("WORKSPACE_BASE", workspace.path().to_str().unwrap());
        run.args(["run", "--prompt", "x", "--out", out])
    };
    let inside = workspace.path().join("out");
    run(inside.to_str().unwrap()).finish().await.exits_with(78).says("is in the agent's workspace");
    assert!(!inside.exists());
    run(".").file("task.md", "x").finish().await.exits_with(78).says("is not empty and does not belong to this run");
}

/// Without a callback there is no one to tell, and still a folder to end.
#[tokio::test]
async fn the_folder_of_a_killed_runner_without_a_callback_has_an_end() {
    let running = Run::new()
        .args(["run", "--out", "out", "--agent-server-url", "http://127.0.0.1:9", "task.md"])
        .args(["--restart-grace", "100ms"])
        .file("task.md", "---\nllm: {model: m}\n---\nDo the task.")
        .start();
    running.says("waiting for the agent-server").await;
    running.signal(nix::sys::signal::Signal::SIGKILL);
    let finished = running.finish().await;
    let result = json_of(&finished.path("out/result.json"));
    assert_eq!((&result["error"]["code"], &result["exit_code"]), (&json!("RunnerDied"), &json!(137)));
    let log = fs::read_to_string(finished.path("out/events.jsonl")).unwrap();
    assert_eq!(log.lines().count(), 1);
    assert!(log.starts_with(r#"{"kind":"runner.result""#), "{log}");
}

/// Every form of a secret in which the agent may write it.
fn forms(secret: &str) -> Vec<String> {
    let json = serde_json::to_string(secret).unwrap();
    vec![
        secret.to_owned(),
        json[1..json.len() - 1].to_owned(),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        STANDARD.encode(secret),
        STANDARD.encode(format!("user:{secret}")),
    ]
}

#[tokio::test]
async fn no_secret_that_the_agent_sees_is_in_any_output() {
    const LLM: &str = "sk-7b9Kx2\"llm/key+of%the&4tQ8w1Z3x";
    const MCP: &str = "mcp-\"header/of+the%test";
    const ADDRESS: &str = "password-of-the-address";
    // One that the agent-server knows, and gives to the agent's commands.
    const ACCOUNT: &str = "account-\"value/of+the%test";
    let server = AgentServer::shared(NEWEST).await;
    let (llm, mcp, receiver) =
        (ScriptedLlm::start(0).await.unwrap(), McpServer::start().await, Receiver::start().await);
    let name = format!("SECRET_{}", uuid::Uuid::new_v4().simple());
    let secret = json!({"name": name, "value": ACCOUNT, "description": "for the test"});
    server.send(reqwest::Method::PUT, "/api/settings/secrets", &secret).await;
    let secrets = [LLM, MCP, ADDRESS, ACCOUNT];
    let shown = secrets.iter().flat_map(|secret| forms(secret)).collect::<Vec<_>>().join("\n");
    let quoted = shell_words::quote(&shown);
    let (begin, end) = LLM.split_at(LLM.len() / 2);
    llm.script(
        "Tell me",
        [
            Step::call(
                "terminal",
                json!({"command": format!("printf '%s\\n' {quoted} | tee told"), "summary": shown, "security_risk": "LOW"}),
            ),
            Step::terminal(&format!("printf %s \"${name}\" | base64 -w0 | tee told-in-base64; printf %s \"${name}\" | od -c")),
            Step::terminal(&format!("printf %s {}", shell_words::quote(begin))),
            Step::terminal(&format!("printf %s {}; git init -q . && git add -A", shell_words::quote(end))),
            // An invisible character splits a secret that a sink without it would put together.
            Step::finish(&format!("{shown}\n{}", secrets.map(|secret| secret.replacen('-', "-\u{200b}", 1)).join(" "))),
        ],
    );
    let task = format!(
        "---\nresult: message\ncollect: ['told*']\nsecrets: [{name}]\nmcp: {{ probe: {{ url: '{}', headers: {{ x-key: '{MCP}' }} }} }}\n\
         repos: [{{ url: 'https://me:{ADDRESS}@127.0.0.1:9/a/b', optional: true }}]\n---\nTell me about {ADDRESS}.",
        mcp.url()
    );
    let (endpoint, seen) = phases::endpoint(200, Duration::ZERO).await;
    let in_sandbox = Run::inside(server).env("AUTOMATION_PHASE_URL", endpoint.url("/phase"));
    let in_sandbox = in_sandbox.env("AGENT_SERVER_URL", server.url("")).env("GITHUB_ACTIONS", "true");
    let in_sandbox = in_sandbox.env("GITHUB_STEP_SUMMARY", "summary.md").env("GITHUB_OUTPUT", "output.txt");
    let run = in_sandbox.llm(&llm).env("LLM_API_KEY", LLM).reports_to(&receiver, "secrets").file("the-task.md", task);
    let run =
        run.args(["run", "--format", "jsonl", "--out", "out", "--status", "status.json", "--result", "result.json"]);
    let finished = run
        .args(["-o", "last.txt", "--verbose", "--junit", "--trajectory", "the-task.md"])
        .finish()
        .await
        .exits_with(0);

    let files = ["out", "out/collected"].map(|folder| fs::read_dir(finished.path(folder)).unwrap());
    let files = files.into_iter().flatten().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let others = ["status.json", "result.json", "last.txt", "summary.md", "output.txt"];
    let files = files.chain(others.map(|name| finished.path(name)));
    let mut outputs: Vec<(String, String)> = files
        .map(|path| (path.display().to_string(), String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()))
        .collect();
    let made = [
        "changes.patch",
        "events.jsonl",
        "answer.md",
        "report.html",
        "junit.xml",
        "trajectory.json",
        "told",
        "told-in-base64",
    ];
    assert!(made.iter().all(|made| outputs.iter().any(|(name, _)| name.ends_with(made))), "{outputs:#?}");
    outputs.push(("stdout".to_owned(), finished.stdout.clone()));
    outputs.push(("stderr".to_owned(), finished.stderr.clone()));
    outputs.push(("phases".to_owned(), phases::texts(&seen).join("\n")));
    outputs.push(("callback".to_owned(), receiver.accepted().to_string()));
    for (name, output) in &outputs {
        for form in secrets.iter().flat_map(|secret| forms(secret)) {
            // Of base64 the last characters hold bits of what follows.
            let core = form.trim_end_matches('=');
            assert!(!output.contains(&core[..core.len() - 2]), "{form} is in {name}: {output}");
            let mut again = form.clone();
            for _ in 0..2 {
                again = serde_json::to_string(&again).unwrap();
                again = again[1..again.len() - 1].to_owned();
                assert!(!output.contains(&again), "{again} is in {name}");
            }
        }
        // Each half was in an event of its own, and its marks may be escaped.
        for half in ["llm/key", "+of%the"] {
            assert!(begin.contains(half) || end.contains(half));
            assert!(!output.contains(half), "{half} is in {name}: {output}");
        }
    }
}
