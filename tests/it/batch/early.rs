//! A batch that ends before its rows: by a limit or a signal, on the real agent-server.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::sleep;

use super::lines;
use crate::support::run::LLM_COST;
use crate::support::{AgentServer, Gates, NEWEST, Run, ScriptedLlm, Step};

/// Two rows, whose agents work until the gate is open.
struct Waiting {
    llm: ScriptedLlm,
    gates: Gates,
    work: TempDir,
    server: &'static AgentServer,
}

impl Waiting {
    async fn start() -> Self {
        let (llm, gates) = (ScriptedLlm::start(0).await.unwrap(), Gates::new());
        gates.close("end");
        for row in ["a", "b"] {
            let steps = [Step::patient_terminal(&gates.wait("end")), Step::finish("Done.")];
            llm.script(&format!("the thing for {row}."), steps);
        }
        let server = AgentServer::shared(NEWEST).await;
        Self { llm, gates, work: tempfile::tempdir().unwrap(), server }
    }

    fn out(&self) -> std::path::PathBuf {
        self.work.path().join("out")
    }

    /// Waits until the LLM was called so often: both runs are at work. One that has only just started would not take a signal yet.
    async fn has_calls(&self, times: usize) {
        while self.llm.calls().len() < times {
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn batch(&self) -> Run {
        let url = self.server.url("");
        let task = format!("---\nllm: {LLM_COST}\n---\nDo the thing for {{{{ row.id }}}}.");
        let batch = Run::new().llm(&self.llm).env("SESSION_API_KEY", &self.server.key).file("task.md", task);
        let batch = batch.env("WORKSPACE_BASE", self.server.working_dir()).file("rows.csv", "id\na\nb\n");
        let batch = batch.args(["batch", "task.md", "--rows", "rows.csv", "--where", url.as_str()]);
        batch.args(["--out", self.out().to_str().unwrap()])
    }
}

/// The attempts and classes of all results, in the order of the rows.
fn ends(out: &Path) -> Vec<(String, u64, String)> {
    let results = lines(&out.join("results.jsonl"));
    let of = |result: &serde_json::Value| {
        let text = |field: &str| result[field].as_str().unwrap_or_default().to_owned();
        (text("key"), result["attempt"].as_u64().unwrap(), text("class"))
    };
    let mut ends: Vec<_> = results.iter().map(of).collect();
    ends.sort();
    ends
}

fn end(key: &str, attempt: u64, class: &str) -> (String, u64, String) {
    (key.to_owned(), attempt, class.to_owned())
}

#[tokio::test]
async fn with_strict_the_cost_of_rows_that_run_ends_them_too() {
    let waiting = Waiting::start().await;
    // Each row has cost a cent when its agent begins to wait.
    let finished = waiting.batch().args(["--cost", "0.015", "--strict"]).finish().await.exits_with(1);
    finished.says("the cost limit of the batch is reached (--cost, --strict)");
    assert_eq!(ends(&waiting.out()), [end("a", 1, "interrupted"), end("b", 1, "interrupted")]);
    // What they have cost counts: no row starts.
    let finished = waiting.batch().args(["--cost", "0.015", "--format", "json"]).finish().await.exits_with(1);
    let spent = finished.says("the next row may bring the batch above its cost limit (--cost)").json();
    let limit = spent["summary"]["cost"].as_f64().unwrap() + 0.005;
    assert_eq!(ends(&waiting.out()).len(), 2);
    // With more money, the same command runs them again. Without --strict they finish, also above the limit.
    waiting.gates.open("end");
    let finished =
        waiting.batch().args(["--cost", &limit.to_string(), "--format", "json"]).finish().await.exits_with(0);
    assert!(finished.json()["summary"]["cost"].as_f64().unwrap() > limit, "{limit}: {}", finished.stdout);
    let all = [end("a", 1, "interrupted"), end("a", 2, ""), end("b", 1, "interrupted"), end("b", 2, "")];
    assert_eq!(ends(&waiting.out()), all);
}

#[tokio::test]
async fn at_the_time_limit_the_rows_that_run_are_ended() {
    let waiting = Waiting::start().await;
    let finished = waiting.batch().args(["--timeout", "4s"]).finish().await.exits_with(124);
    finished.says("the time limit of the batch is reached");
    // On a slow machine a run had not begun by then.
    let ends = ends(&waiting.out());
    assert!(ends.iter().all(|(_, attempt, class)| (*attempt, class.as_str()) == (1, "interrupted")), "{ends:?}");
    let status = Run::new().args(["batch", "status", waiting.out().to_str().unwrap(), "--format", "json"]);
    assert_eq!(status.finish().await.exits_with(0).json()["under_way"], json!([]));
}

#[tokio::test]
async fn one_signal_ends_the_rows_and_a_second_one_leaves_them_to_the_next_start() {
    let waiting = Waiting::start().await;
    let running = waiting.batch().start();
    waiting.has_calls(2).await;
    running.signal(Signal::SIGTERM);
    running.finish().await.exits_with(143);
    assert_eq!(ends(&waiting.out()), [end("a", 1, "interrupted"), end("b", 1, "interrupted")]);

    let calls = waiting.llm.calls().len();
    let running = waiting.batch().start();
    waiting.has_calls(calls + 2).await;
    running.signal(Signal::SIGINT);
    running.says("ending the rows that run").await;
    running.signal(Signal::SIGINT);
    running.finish().await.exits_with(130);
    waiting.gates.open("end");
    // A run may have been told to end before the second signal came.
    let running = waiting.batch().start();
    running.says_times("is under way: following it", 2).await;
    let finished = running.finish().await;
    assert!(matches!(finished.code, Some(0 | 1)), "{}", finished.stderr);
    let attempts: Vec<_> = ends(&waiting.out()).into_iter().map(|(key, attempt, _)| (key, attempt)).collect();
    let expected = [("a", 1), ("a", 2), ("b", 1), ("b", 2)].map(|(key, attempt)| (key.to_owned(), attempt));
    assert_eq!(attempts, expected, "{:#?}\n{}", lines(&waiting.out().join("results.jsonl")), finished.stderr);
}
