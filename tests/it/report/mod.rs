//! What happened in a run, as `report` and `show` present it.

mod in_a_browser;

use std::io::Write as _;
use std::path::Path;

use crate::support::{AgentServer, NEWEST, Run, ScriptedLlm, Step};

/// A real run in a folder: the output of `--format jsonl` as run.jsonl, the run folder as out.
async fn run_of(steps: Vec<Step>) -> tempfile::TempDir {
    run_that_ends(steps, 0).await
}

/// The same of a run with this exit code.
async fn run_that_ends(steps: Vec<Step>, code: i32) -> tempfile::TempDir {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Do the task", steps);
    let server = AgentServer::shared(NEWEST).await;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let run = Run::inside(server).llm(&llm);
    let run = run.args(["run", "--format", "jsonl", "--out", out.to_str().unwrap(), "task.md"]);
    let lines = run.file("task.md", "Do the task.").finish().await.exits_with(code).json_lines();
    let mut file = std::fs::File::create(folder.path().join("run.jsonl")).unwrap();
    for line in lines {
        writeln!(file, "{line}").unwrap();
    }
    folder
}

async fn page_of(folder: &Path) -> String {
    let file = folder.join("run.jsonl");
    let made = Run::new().args(["report", file.to_str().unwrap()]).finish().await.exits_with(0);
    let page = folder.join("run.html");
    made.says_on_stdout(page.to_str().unwrap());
    std::fs::read_to_string(page).unwrap()
}

#[tokio::test]
async fn a_run_is_told_as_a_page_and_as_text() {
    let folder = run_of(vec![
        Step::terminal("echo the-output; exit_with() { return 3; }; exit_with"),
        Step::finish("It is done."),
    ])
    .await;
    let page = page_of(folder.path()).await;
    for part in ["<h1>COMPLETED</h1>", "It is done.", "Do the task.", "exit 3", "the-output", "Where the time went"] {
        assert!(page.contains(part), "{part} is missing in {page}");
        let of_folder = std::fs::read_to_string(folder.path().join("out/report.html")).unwrap();
        assert!(of_folder.contains(part), "{part} is missing in {of_folder}");
    }
    let file = folder.path().join("run.jsonl");
    let shown = Run::new().args(["show", file.to_str().unwrap()]).finish().await.exits_with(0);
    shown.says_on_stdout("COMPLETED\n").says_on_stdout("(exit 3)").says_on_stdout("| the-output");
}

#[tokio::test]
async fn what_is_no_run_is_refused_in_one_sentence() {
    let refused = Run::new().file("notes.txt", "Some notes.").args(["report", "notes.txt"]).finish().await;
    refused.exits_with(78).says("error: notes.txt holds no events of a run");
    Run::new().args(["show", "missing"]).finish().await.exits_with(78).says("error: missing cannot be read");
}

#[tokio::test]
async fn an_old_conversation_is_told_from_what_the_agent_server_has() {
    let folder = run_of(vec![Step::terminal("echo the-output"), Step::finish("It is done.")]).await;
    let lines = std::fs::read_to_string(folder.path().join("run.jsonl")).unwrap();
    let result: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    let (id, server) = (result["conversation_id"].as_str().unwrap(), AgentServer::shared(NEWEST).await);

    let made = Run::inside(server).args(["report", "--conversation", id]).finish().await.exits_with(0);
    assert_eq!(made.stdout, format!("{id}.html\n"));
    let page = std::fs::read_to_string(made.path(&format!("{id}.html"))).unwrap();
    let tokens = format!("<dt>Prompt tokens</dt><dd>{}</dd>", result["tokens"]["prompt"]);
    for part in
        ["<h1>Conversation</h1>", "It is done.", "Do the task.", "the-output", "Where the time went", id, &tokens]
    {
        assert!(page.contains(part), "{part} is missing in {page}");
    }

    let unknown = "6f1e0a52-4c5b-4d0e-9a4e-51a78f2d3c90";
    let refused = Run::inside(server).args(["report", "--conversation", unknown]).finish().await.exits_with(78);
    refused.says(&format!("the agent-server has no conversation {unknown}"));
    let nowhere = ["report", "--conversation", id, "--agent-server-url", "http://127.0.0.1:9"];
    Run::new().args(nowhere).finish().await.exits_with(69).says("failed to read the conversation");
    Run::new().args(["report"]).finish().await.exits_with(2).says("required");
}
