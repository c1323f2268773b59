//! `batch`: one task for each row of a file, on the real app server.

mod docker;
mod early;
mod instant;

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::asked::moments_of;
use crate::support::{AgentServer, CloudServer, NEWEST, Run, ScriptedLlm, Step, time_scale};

/// A batch of many rows takes minutes.
const LONGEST: Duration = Duration::from_secs(1200);

/// Each row counts its messages in a file of its own name.
const TASK: &str = "---\nworking_dir: work\nlimits: {cost: \"{{ row.cost }}\", attempts: 1}\nchecks: [\"{{ row.check }}\"]\n---\n\
    Do {{ row.what }} for {{ row.id }}.";

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The rows: the second fails its check, the third loses its sandbox, the fourth passes its cost limit.
fn rows(count: usize) -> String {
    let row = |number: usize| {
        let (what, check, cost) = match number {
            1 => ("the thing", "false", "1"),
            2 => ("the long thing", "true", "1"),
            3 => ("the dear thing", "true", "0.015"),
            _ => ("the thing", "true", "1"),
        };
        format!("r{number},{what},{check},{cost}\n")
    };
    std::iter::once("id,what,check,cost\n".to_owned()).chain((0..count).map(row)).collect()
}

/// Takes the sandbox of the third row away, once its run has started.
async fn take_sandbox(cloud: &CloudServer, out: &Path) {
    loop {
        let steps = lines(&out.join("progress.jsonl"));
        let is_of_it = |step: &&Value, kind: &str| step["key"] == "r2" && step["attempt"] == 1 && step["step"] == kind;
        if steps.iter().any(|step| is_of_it(&step, "started")) {
            let made = steps.iter().find(|step| is_of_it(step, "made")).expect("a run has its sandbox");
            let id = made["sandbox"].as_str().unwrap();
            Run::outside(cloud).args(["sandbox", "delete", id]).finish().await.exits_with(0);
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// `BATCH_ROWS=20 BATCH_SEED=1 scripts/test batch::` is the large one.
#[tokio::test]
async fn each_row_ends_with_one_result_whenever_the_batch_is_killed() {
    let (count, mut random) = moments_of("BATCH", "BATCH_ROWS", 4);
    let count = usize::try_from(count).unwrap();
    let (kills, concurrency) = if count < 20 { (1, "1") } else { (3, "4") };
    let cloud = &CloudServer::lent().await;
    let (llm, work) = (ScriptedLlm::start(0).await.unwrap(), tempfile::tempdir().unwrap());
    let (out, begun) = (work.path().join("out"), work.path().join("begun"));
    std::fs::create_dir(&begun).unwrap();
    // The words of the last message name the row.
    for number in 0..count {
        let note = format!("echo begun >>{}/r{number}", begun.display());
        let end = [Step::terminal("echo done"), Step::finish("Done.")];
        let steps = |first: String| std::iter::once(Step::terminal(&first)).chain(end.clone());
        llm.script(&format!("the thing for r{number}."), steps(note.clone()));
        llm.script(&format!("the long thing for r{number}."), steps(format!("{note}; sleep 3")));
        llm.script(&format!("the dear thing for r{number}."), steps(note));
    }
    cloud.set_llm(&llm).await;
    let start = || {
        let batch = Run::outside(cloud).file("task.md", TASK).file("rows.csv", rows(count));
        let batch =
            batch.args(["batch", "task.md", "--rows", "rows.csv", "--concurrency", concurrency, "--retries", "9"]);
        batch.args(["--out", out.to_str().unwrap()]).scaled(time_scale(0.2), ["setup_budget", "sandbox_unknown"])
    };

    let taking = take_sandbox(cloud, &out);
    let running = async {
        for _ in 0..kills {
            let running = start().start();
            running.says("batch started").await;
            sleep(Duration::from_millis(random.u64(1_000..15_000))).await;
            running.try_signal(Signal::SIGKILL);
            running.finish().await;
        }
        start().start().finish_within(LONGEST).await
    };
    let (finished, ()) = tokio::join!(running, taking);
    let finished = finished.exits_with(1);

    let results = lines(&out.join("results.jsonl"));
    for number in 0..count {
        let key = format!("r{number}");
        let of_row: Vec<&Value> = results.iter().filter(|result| result["key"] == key.as_str()).collect();
        let (last, earlier) =
            of_row.split_last().unwrap_or_else(|| panic!("{key} has no result:\n{}", finished.stderr));
        assert!(earlier.iter().all(|result| result["class"] == "infrastructure"), "{key}: {of_row:#?}");
        let (status, class) = match number {
            1 => ("FAILED", json!("checks")),
            3 => ("FAILED", json!("limit")),
            _ => ("COMPLETED", Value::Null),
        };
        assert_eq!((&last["status"], &last["class"]), (&json!(status), &class), "{last:#}\n{}", finished.stderr);
        let folder = out.join("rows").join(&key);
        assert!(folder.join("result.json").exists(), "{}", folder.display());
        let events = lines(&folder.join("events.jsonl"));
        let messages = events.iter().filter(|event| event["kind"] == "MessageEvent" && event["source"] == "user");
        assert_eq!(messages.count(), 1, "{key}: {events:#?}");
        // A message that was sent twice would do this twice in one sandbox; the third row had two.
        let begun = std::fs::read_to_string(begun.join(&key)).unwrap_or_default();
        let expected = if number == 2 { begun.lines().count().clamp(1, 2) } else { 1 };
        assert_eq!(begun.lines().count(), expected, "{key}: {events:#?}");
    }
    assert_eq!(cloud.sandboxes().await, Vec::<Value>::new(), "a sandbox is left:\n{}", finished.stderr);
    finished.says_on_stdout(&format!("rows    {count}: {} completed, 2 failed, 0 without an end", count - 2));

    // There is nothing left to do.
    let lines_before = results.len();
    let again = start().finish().await.exits_with(1);
    assert_eq!(lines(&out.join("results.jsonl")).len(), lines_before, "{}", again.stderr);
    let status = Run::new().args(["batch", "status", out.to_str().unwrap(), "--format", "json"]).finish().await;
    let status = status.exits_with(0).json();
    assert_eq!((&status["summary"]["failed"], &status["under_way"]), (&json!(2), &json!([])));
}

#[tokio::test]
async fn rows_run_on_an_agent_server_that_is_there() {
    let (llm, server) = (ScriptedLlm::start(0).await.unwrap(), AgentServer::shared(NEWEST).await);
    llm.script("the thing for", [Step::terminal("echo noted >note.txt"), Step::finish("Done.")]);
    let batch = |what: &str| {
        let url = server.url("");
        let task = "---\nworking_dir: of-{{ row.id }}\nsetup: [\"git init --quiet\"]\ncollect: [note.txt]\n---\nDo the thing for {{ row.id }}.";
        let batch = Run::new().llm(&llm).env("SESSION_API_KEY", &server.key).file("task.md", task);
        let batch =
            batch.file("rows.jsonl", "{\"id\": \"a\"}\n{\"id\": \"b\"}\n{\"id\": \"c\"}\n").args(["batch", "task.md"]);
        let batch = batch.env("WORKSPACE_BASE", server.working_dir()).env("AUTOMATION_RUN_ID", "of-the-batch");
        batch.args(["--rows", "rows.jsonl", "--where", url.as_str(), "--format", "json", "--out", what])
    };
    let out = tempfile::tempdir().unwrap();
    let place = out.path().join("out");
    let done = batch(place.to_str().unwrap()).args(["--select", "a,c"]).finish().await.exits_with(0);
    assert_eq!((&done.json()["summary"]["completed"], &done.json()["not_begun"]), (&json!(2), &json!(0)));
    let results = lines(&place.join("results.jsonl"));
    let fields = ["row", "attempt", "run_id", "status", "cost", "tokens", "seconds", "conversation", "folder"];
    assert!(results.iter().all(|result| fields.iter().all(|field| !result[field].is_null())), "{results:#?}");
    for result in &results {
        let folder = place.join(result["folder"].as_str().unwrap());
        let text = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
        assert_eq!(text("collected/note.txt"), "noted\n");
        assert!(text("changes.patch").contains("+noted") && folder.join("report.html").exists());
    }
    let ids: Vec<&str> = results.iter().map(|result| result["run_id"].as_str().unwrap()).collect();
    assert!(ids.iter().all(|id| !id.contains("of-the-batch")) && ids[0] != ids[1], "{ids:?}");
    // The rest, and the report of all.
    let done = batch(place.to_str().unwrap()).finish().await.exits_with(0);
    assert_eq!(done.json()["summary"]["completed"], 3);
    assert_eq!(lines(&place.join("results.jsonl")).len(), 3);
    assert!(place.join("report.html").exists() && place.join("rows/b/result.json").exists());

    // What is wrong with a row is said before anything starts.
    let wrong = batch("other").file("task.md", "---\nlimits: {timeout: \"{{ row.id }}\"}\n---\nDo it.");
    wrong.finish().await.exits_with(78).says("timeout");
}
