//! A batch in containers of this machine: each row has one of its own, and eight work at the same time.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use tokio::time::{Duration, sleep};

use super::{LONGEST, lines};
use crate::support::engine::Engine;
use crate::support::{Gates, Run, Step};

const ROWS: usize = 8;

/// The containers of the batch.
fn containers(out: &Path) -> BTreeSet<String> {
    let steps = lines(&out.join("progress.jsonl"));
    steps.iter().filter_map(|step| step["sandbox"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn eight_rows_work_at_the_same_time_in_containers_of_their_own() {
    let engine = Engine::shared().await;
    let (llm, url) = engine.llm().await;
    // A gate is a file of this machine, which the containers see.
    let (gates, work) = (Gates::new(), tempfile::tempdir().unwrap());
    gates.close("all");
    llm.script("Greet ", [Step::patient_terminal(&gates.wait("all")), Step::finish("Done.")]);
    let out = work.path().join("out");
    // The image is a column.
    let image = |row: usize| format!("row-{row},{}\n", engine.server_image);
    let rows: String = std::iter::once("id,image\n".to_owned()).chain((0..ROWS).map(image)).collect();
    let batch = Run::new().env("PATH", engine.path()).env("LLM_MODEL", "openai/scripted");
    let batch = batch.env("LLM_API_KEY", "sk-scripted-key").env("LLM_BASE_URL", url);
    let batch =
        batch.env("WORKSPACE_BASE", "/tmp/project").file("task.md", "Greet {{ row.id }}.").file("rows.csv", rows);
    let batch = batch.args(["batch", "task.md", "--rows", "rows.csv", "--where", "docker", "--concurrency", "8"]);
    let batch = batch.args(["--image", "{{ row.image }}", "--out", out.to_str().unwrap()]).command(|command| {
        for volume in Engine::volumes().into_iter().chain([gates.volume()]) {
            command.args(["--volume", &volume]);
        }
    });
    let running = batch.start();
    let all_at_work = async {
        // All agents wait at the gate: each has asked the LLM once.
        while llm.calls().len() < ROWS {
            sleep(Duration::from_millis(200)).await;
        }
        let running = containers(&out).into_iter().filter(|container| engine.has(container)).count();
        gates.open("all");
        running
    };
    let (finished, at_work) = tokio::join!(running.finish_within(LONGEST), all_at_work);
    let finished = finished.exits_with(0);
    assert_eq!(at_work, ROWS, "{}", finished.stderr);
    let results = lines(&out.join("results.jsonl"));
    let of = |result: &Value| result["sandbox"].as_str().unwrap().to_owned();
    assert_eq!(results.iter().map(of).collect::<BTreeSet<_>>(), containers(&out), "{results:#?}");
    assert!(results.len() == ROWS && results.iter().all(|result| result["status"] == "COMPLETED"), "{results:#?}");
    assert!(containers(&out).iter().all(|container| !engine.has(container)), "{}", finished.stderr);
    finished.says_on_stdout("rows    8: 8 completed, 0 failed");
}
