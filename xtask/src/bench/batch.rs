//! A batch of many rows on a Cloud whose sandboxes are there at once and which fails as a real one does.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::limit::{Rows, Unit, milliseconds, number};
use super::one_run::{cpu, memory};
use crate::support::cloud_server::API_KEY;
use crate::support::instant_cloud::{InstantCloud, Nature};
use crate::support::instant_machine::Fault;

/// Rows of the batch.
const ROWS: u32 = 1000;
/// Rows at the same time.
const AT_ONCE: u32 = 100;
/// Requests a second to the Cloud API, which the batch is told to keep.
const RATE: u32 = 100;
/// What the process may need, in bytes.
const MEMORY: f64 = 64e6;
/// Between two looks at the process.
const BETWEEN: Duration = Duration::from_millis(100);

/// What the process of the batch needed.
struct Used {
    memory: u64,
    cpu: Duration,
    time: Duration,
    log: String,
    is_success: bool,
}

/// Prints what the process of the batch needs, and whether everything ended as it should.
pub(super) async fn measure(rows: &mut Rows, runner: &Path) -> Result<(), crate::Failure> {
    let nature = Nature {
        faults: 0.01,
        faults_of_sandboxes: 0.001,
        pauses_every: 20,
        most: 90,
        events: 100,
        shares_programs: false,
        ..Nature::default()
    };
    let cloud = InstantCloud::start(nature).await?;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("task.md"), "---\nsecrets: []\n---\nDo {{ row.id }}.")?;
    let rows_file: Vec<String> =
        std::iter::once("id".to_owned()).chain((0..ROWS).map(|row| format!("r{row}"))).collect();
    std::fs::write(folder.path().join("rows.csv"), rows_file.join("\n"))?;
    let mut command = Command::new(runner);
    command
        .args(["batch", "task.md", "--rows", "rows.csv", "--out", "out", "--retries", "9"])
        .args(["--concurrency", &AT_ONCE.to_string(), "--rate", &RATE.to_string()])
        .current_dir(folder.path())
        .env_clear()
        .envs([("OPENHANDS_API_KEY", API_KEY), ("OPENHANDS_CLOUD_API_URL", &cloud.url())])
        .envs([("LLM_MODEL", "openai/instant"), ("LLM_API_KEY", "key-of-the-llm"), ("RUST_LOG", "warn")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(folder.path().join("log"))?);
    let log = folder.path().join("log");
    let used = tokio::task::spawn_blocking(move || run(command, &log)).await??;

    // The last attempt of a row is its result.
    let mut last = BTreeMap::new();
    let results = std::fs::read_to_string(folder.path().join("out/results.jsonl"))?;
    for result in results.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        last.insert(result["key"].to_string(), result["status"] == "COMPLETED");
    }
    let completed = last.values().filter(|completed| **completed).count();
    if !used.is_success || completed != usize::try_from(ROWS)? {
        return Err(format!("{completed} of {ROWS} rows have completed:\n{}", used.log).into());
    }
    let count = |value: usize| u64::try_from(value).map(number);
    let (requests, most) = cloud.requests();
    let (most_messages, _) = cloud.messages();
    rows.show(
        &format!("{ROWS} rows, {AT_ONCE} at once"),
        milliseconds(used.time),
        Unit::Milliseconds,
        "to the last result",
    );
    rows.judge("memory of the process", number(used.memory), Unit::Megabytes, MEMORY, "at its peak");
    rows.show("CPU time of the process", milliseconds(used.cpu / ROWS), Unit::Milliseconds, "for each row");
    rows.show("attempts", count(results.lines().count())?, Unit::Count, "each in a sandbox of its own");
    rows.show("requests to the Cloud", count(requests)?, Unit::Count, "in all");
    // The network moves a few of them into another second.
    let limit = f64::from(RATE) * 1.1;
    rows.judge("  most in one second", count(most)?, Unit::Count, limit, &format!("with --rate {RATE}"));
    for (name, fault) in [("429", Fault::TooMany), ("503", Fault::Unavailable), ("lost responses", Fault::Lost)] {
        rows.show(&format!("  {name}"), count(cloud.faults(fault))?, Unit::Count, "of the Cloud and of sandboxes");
    }
    rows.show("  no place in the account", count(cloud.refused())?, Unit::Count, "requests for a sandbox");
    rows.judge("most sandboxes at once", count(cloud.most())?, Unit::Count, count(nature.most)?, "");
    rows.show("paused sandboxes", count(cloud.resumed())?, Unit::Count, "resumed");
    rows.judge("sandboxes left", count(cloud.sandboxes().len())?, Unit::Count, 0.0, "");
    rows.judge("messages to one sandbox", count(most_messages)?, Unit::Count, 1.0, "at most");
    Ok(())
}

fn run(mut command: Command, log: &Path) -> io::Result<Used> {
    let started = Instant::now();
    let mut child = command.spawn()?;
    let (mut most, mut used) = (0, Duration::ZERO);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        most = memory(child.id(), "VmHWM").unwrap_or(most);
        used = cpu(child.id()).unwrap_or(used);
        std::thread::sleep(BETWEEN);
    };
    let (time, log) = (started.elapsed(), std::fs::read_to_string(log)?);
    Ok(Used { memory: most, cpu: used, time, log, is_success: status.success() })
}
