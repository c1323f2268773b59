//! `batch` with many rows, on a Cloud whose sandboxes are there at once and which fails as a real one does.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::lines;
use crate::support::cloud_server::API_KEY;
use crate::support::instant_cloud::{InstantCloud, Nature};
use crate::support::instant_machine::Fault;
use crate::support::{Run, time_scale};

/// The batch with this account.
fn batch(cloud: &InstantCloud, rows: usize, out: &str) -> Run {
    let rows: String = std::iter::once("id\n".to_owned()).chain((0..rows).map(|row| format!("r{row}\n"))).collect();
    let batch = Run::new().env("OPENHANDS_API_KEY", API_KEY).env("OPENHANDS_CLOUD_API_URL", cloud.url());
    let batch = batch.env("LLM_MODEL", "openai/instant").env("LLM_API_KEY", "sk-key-of-the-llm");
    let batch = batch.file("task.md", "---\nsecrets: []\n---\nDo {{ row.id }}.").file("rows.csv", rows);
    batch.args(["batch", "task.md", "--rows", "rows.csv", "--out", out])
}

/// The peak of the memory of a process, in kilobytes.
fn peak(pid: nix::unistd::Pid) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
}

/// `scripts/bench batch` does the same with 1,000 rows, 100 at a time.
#[tokio::test]
async fn a_cloud_that_refuses_fails_and_pauses_loses_no_row_and_keeps_no_sandbox() {
    const ROWS: usize = 24;
    const RATE: usize = 40;
    let nature = Nature { faults: 0.03, faults_of_sandboxes: 0.003, pauses_every: 6, most: 6, ..Nature::default() };
    let cloud = InstantCloud::start(nature).await.unwrap();
    let work = tempfile::tempdir().unwrap();
    let out = work.path().join("out");
    let batch = batch(&cloud, ROWS, out.to_str().unwrap());
    let batch = batch.args(["--concurrency", "8", "--rate", &RATE.to_string(), "--retries", "9"]);
    let running = batch
        .scaled(
            time_scale(0.1),
            ["sandbox_shows_up", "sandbox_listed", "confirm_again", "cloud_delays", "capacity_delays"],
        )
        .start();
    let pid = running.pid();
    let watching = tokio::spawn(async move {
        let mut most = 0;
        while let Some(now) = peak(pid) {
            most = now;
            sleep(Duration::from_millis(50)).await;
        }
        most
    });
    let finished = running.finish().await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let results = lines(&out.join("results.jsonl"));
    for row in 0..ROWS {
        let key = json!(format!("r{row}"));
        let of_row: Vec<_> = results.iter().filter(|result| result["key"] == key).collect();
        let completed = of_row.iter().filter(|result| result["status"] == "COMPLETED").count();
        assert!(completed == 1 && of_row.last().unwrap()["status"] == "COMPLETED", "{key}: {of_row:#?}");
    }
    assert_eq!(cloud.sandboxes(), Vec::<String>::new(), "a sandbox is left:\n{}", finished.stderr);
    let (most_of_one, _) = cloud.messages();
    assert_eq!(most_of_one, 1, "a message was sent twice");
    let (requests, most) = cloud.requests();
    // The network moves a few of them into another second.
    assert!(requests > 5 * ROWS && most <= RATE + RATE / 10, "{requests} requests, {most} in one second");
    assert!(cloud.most() <= nature.most && cloud.refused() > 0, "{} refused", cloud.refused());
    assert!(
        cloud.resumed() > 0
            && [Fault::TooMany, Fault::Unavailable, Fault::Lost].iter().all(|fault| cloud.faults(*fault) > 0)
    );
    let most = watching.await.unwrap();
    assert!((1..64 * 1024).contains(&most), "{most} kB");
}

#[tokio::test]
async fn a_network_that_is_lost_for_a_while_costs_no_row_and_leaves_no_sandbox() {
    const ROWS: usize = 4;
    let cloud = InstantCloud::start(Nature::default()).await.unwrap();
    let work = tempfile::tempdir().unwrap();
    let out = work.path().join("out");
    let batch = batch(&cloud, ROWS, out.to_str().unwrap()).args(["--concurrency", "2"]);
    let running = batch.scaled(time_scale(0.1), ["sandbox_listed", "confirm_again", "cloud_delays"]).start();
    // Two rows run then, and two have no sandbox yet.
    running.says_times("run started", 2).await;
    cloud.cut_off(true);
    while cloud.requests_cut_off() < 5 {
        sleep(Duration::from_millis(50)).await;
    }
    cloud.cut_off(false);
    let finished = running.finish().await.exits_with(0);
    let results = lines(&out.join("results.jsonl"));
    let ended: Vec<&str> = results.iter().filter_map(|result| result["key"].as_str()).collect();
    assert!(ended.len() == ROWS && results.iter().all(|result| result["status"] == "COMPLETED"), "{results:#?}");
    assert_eq!((cloud.sandboxes(), cloud.messages()), (Vec::new(), (1, ROWS)), "{}", finished.stderr);
}

#[tokio::test]
async fn a_column_names_the_image_of_each_row() {
    let cloud = InstantCloud::start(Nature::default()).await.unwrap();
    let work = tempfile::tempdir().unwrap();
    let out = work.path().join("out");
    let with_spec = |spec: &str| {
        let batch = batch(&cloud, 0, out.to_str().unwrap()).file("rows.csv", "id,spec\na,one\nb,\nc,other\n");
        batch.args(["--concurrency", "1", "--sandbox-spec", spec])
    };
    with_spec("{{ row.image }}").finish().await.exits_with(78).says("`row` has no `image` at rows.csv:2");
    assert_eq!(cloud.made(), 0);
    with_spec("{{ row.spec }}").finish().await.exits_with(0);
    // A row without a value gets the account's own.
    assert_eq!((cloud.specs(), cloud.made()), (["one", "other"].map(str::to_owned).to_vec(), 3));
}

#[tokio::test]
async fn a_full_disk_ends_the_batch_and_the_next_start_takes_its_runs_over() {
    let cloud = InstantCloud::start(Nature { events: 200, ..Nature::default() }).await.unwrap();
    let script = r#"
        mkdir out && mount -t tmpfs -o size=96k none out || exit 99
        "$@"; echo "first $?"
        mount -o remount,size=64m out || exit 99
        "$@"; code=$?; cat out/results.jsonl; exit $code"#;
    let batch = batch(&cloud, 3, "out").args(["--concurrency", "2"]);
    let finished = batch.under(["unshare", "--mount", "sh", "-c", script, "sh"]).finish().await;
    let finished = finished.exits_with(0).says_on_stdout("first 78").says("make room on the disk");
    for row in 0..3 {
        assert_eq!(finished.stdout.matches(&format!("\"key\":\"r{row}\"")).count(), 1, "{}", finished.stdout);
    }
    assert_eq!(cloud.sandboxes(), Vec::<String>::new());
    // No run was started a second time.
    assert_eq!((cloud.made(), cloud.messages()), (3, (1, 3)), "{}", finished.stderr);
}

#[tokio::test]
async fn a_lost_response_leaves_no_sandbox_while_others_are_made() {
    let nature = Nature { loses_creation: 2, ..Nature::default() };
    let cloud = InstantCloud::start(nature).await.unwrap();
    let work = tempfile::tempdir().unwrap();
    let out = work.path().join("out");
    let batch = batch(&cloud, 4, out.to_str().unwrap()).args(["--concurrency", "4"]);
    let finished = batch.scaled(time_scale(0.1), ["sandbox_listed", "confirm_again"]).finish().await.exits_with(0);
    assert_eq!(cloud.sandboxes(), Vec::<String>::new(), "{}", finished.stderr);
    assert_eq!(cloud.made(), 5, "{}", finished.stderr);
    assert!(is_one_retry(&out), "{}", finished.stderr);
    // A line of the log gives a reason where there is one.
    let lines_with = |words: &str| finished.stderr.lines().filter(|line| line.contains(words)).collect::<Vec<_>>();
    let (completed, retried) = (lines_with("row completed"), lines_with("row will be retried"));
    assert!(completed.len() == 4 && !completed.iter().any(|line| line.contains("reason")), "{completed:#?}");
    assert!(retried.len() == 1 && retried[0].contains("reason=\"CloudUnreachable\""), "{retried:#?}");
}

/// Whether one attempt failed, and is the only one that did.
fn is_one_retry(out: &Path) -> bool {
    let results = lines(&out.join("results.jsonl"));
    let failed: Vec<_> = results.iter().filter(|result| result["status"] == "FAILED").collect();
    results.len() == 5 && failed.len() == 1 && failed[0]["class"] == "infrastructure"
}
