//! What happened in a run, told by `report` and `show`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::support::{AgentServer, NEWEST, Run, ScriptedLlm, Step};

/// A real run in a folder: the output of `--format jsonl` as run.jsonl, the run folder as out.
async fn run_of(steps: Vec<Step>) -> tempfile::TempDir {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Do the task", steps);
    let server = AgentServer::shared(NEWEST).await;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let run = Run::inside(server).llm(&llm);
    let run = run.args(["run", "--format", "jsonl", "--out", out.to_str().unwrap(), "task.md"]);
    let lines = run.file("task.md", "Do the task.").finish().await.exits_with(0).json_lines();
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

/// The document after its scripts and requests, as the browser has it.
async fn document(page: &Path) -> String {
    let profile = tempfile::tempdir().unwrap();
    let loading = tokio::process::Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", page.display()))
        .kill_on_drop(true)
        .output();
    let loaded = timeout(Duration::from_secs(120), loading).await.expect("the browser ends").unwrap();
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    String::from_utf8(loaded.stdout).unwrap()
}

/// Counts connections, and ends each: a browser waits for an answer.
async fn counting_listener() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let connections = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            connections.fetch_add(1, SeqCst);
            drop(connection);
        }
    });
    (address, count)
}

#[tokio::test]
async fn in_a_browser_hostile_output_is_text_that_runs_and_fetches_nothing() {
    let (address, connections) = counting_listener().await;
    let hostile = format!(
        "</title></style></pre><script>document.title=\"owned\";fetch(\"http://{address}/script\")</script>\
         <img src=http://{address}/image onerror=document.title=\"owned\"><svg onload=document.title=\"owned\">\
         <style>@import \"http://{address}/css\";</style><iframe src=\"http://{address}/frame\"></iframe>\
         <a href=\"javascript:document.title=1\">x</a>"
    );
    let folder = run_of(vec![Step::terminal(&format!("echo '{hostile}'")), Step::finish(&hostile)]).await;
    page_of(folder.path()).await;
    let shown = document(&folder.path().join("run.html")).await;
    assert_eq!(connections.load(SeqCst), 0, "the page has fetched something");
    assert!(shown.contains("<title>COMPLETED: Do the task.</title>"), "{shown}");
    assert!(shown.contains("&lt;script&gt;"));
    for element in ["<script", "<img", "<iframe", "<a ", "<svg onload"] {
        assert!(!shown.contains(element), "{element}");
    }

    // The same text as HTML does all of it, so that the browser of this test would have.
    let control = folder.path().join("control.html");
    std::fs::write(&control, format!("<!doctype html><title>x{hostile}")).unwrap();
    document(&control).await;
    assert!(connections.load(SeqCst) > 0, "the browser fetches nothing at all");
}
