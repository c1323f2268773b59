//! Measures the runner's own time and memory; see `scripts/bench`.
//!
//!     bench RUNNER [REFERENCE...]
//!
//! RUNNER is the binary; REFERENCE is a command that does a part of the same work in another way.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

#[path = "../tests/support"]
mod support {
    pub(crate) mod instant_server;
}

use support::instant_server::{InstantServer, Moment};

/// The process that is measured now.
static MEASURED: AtomicU32 = AtomicU32::new(0);
/// Its highest resident memory, read while it waits for the answer to its callback.
static PEAK_KIB: Mutex<u64> = Mutex::new(0);

const RUNS: usize = 40;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let runner = arguments.next().unwrap_or_else(|| "openhands-runner".to_owned());
    let reference: Vec<String> = arguments.collect();
    let size = std::fs::metadata(&runner)?.len();
    println!("binary                    {:8.2} MB   (limit 6 MB)", megabytes(size));

    let short = InstantServer::start(5, on_moment).await?;
    let mut times = Vec::new();
    let mut peaks = Vec::new();
    for _ in 0..RUNS {
        let (time, peak) = one_run(&runner, short.port, "text").await?;
        times.push(time);
        peaks.push(peak);
    }
    times.sort();
    let median = times[RUNS / 2];
    println!(
        "run, exec to exit         {:8.1} ms   median of {RUNS}, worst {:.1} ms (limit 30 ms)",
        milliseconds(median),
        milliseconds(times[RUNS - 1])
    );
    println!("  its memory              {:8.2} MB   highest resident (limit 12 MB)", megabytes(largest(&peaks) * 1024));

    let long = InstantServer::start(20_000, on_moment).await?;
    for format in ["text", "jsonl"] {
        let (time, peak) = one_run(&runner, long.port, format).await?;
        println!(
            "20,000 events, {format:5}      {:8.2} MB   highest resident (limit 16 MB), {:.0} ms",
            megabytes(peak * 1024),
            milliseconds(time)
        );
    }

    if let Some((program, rest)) = reference.split_first() {
        let mut best = Duration::MAX;
        for _ in 0..3 {
            let started = Instant::now();
            let status = Command::new(program).args(rest).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
            if !status.success() {
                println!("reference failed: {status}");
                return Ok(());
            }
            best = best.min(started.elapsed());
        }
        println!("reference, best of 3      {:8.1} ms   {}", milliseconds(best), name(&reference));
        println!("  ratio reference / run   {:8.1}", best.as_secs_f64() / median.as_secs_f64());
    }
    Ok(())
}

fn name(command: &[String]) -> String {
    let program = Path::new(&command[0]).file_name().unwrap_or_default().to_string_lossy().into_owned();
    [&[program], &command[1..]].concat().join(" ")
}

fn on_moment(moment: Moment) {
    if moment == Moment::Callback {
        let status = std::fs::read_to_string(format!("/proc/{}/status", MEASURED.load(Ordering::SeqCst)));
        let line =
            status.ok().and_then(|status| status.lines().find(|line| line.starts_with("VmHWM")).map(str::to_owned));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0);
        *PEAK_KIB.lock().expect("not poisoned") = kib;
    }
}

/// Time from exec to exit, and the highest resident memory in KiB.
async fn one_run(runner: &str, port: u16, format: &str) -> std::io::Result<(Duration, u64)> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("task.md"), "Do the task.")?;
    let mut command = Command::new(std::fs::canonicalize(runner)?);
    command
        .args(["run", "--format", format])
        .current_dir(folder.path())
        .env_clear()
        .envs([
            ("AGENT_SERVER_PORT", port.to_string()),
            ("SESSION_API_KEY", "session-key".to_owned()),
            ("LLM_MODEL", "openai/instant".to_owned()),
            ("LLM_API_KEY", "llm-key".to_owned()),
            ("RUN_ID", "bench".to_owned()),
            ("CALLBACK_URL", format!("http://127.0.0.1:{port}/complete")),
            ("RUST_LOG", "warn".to_owned()),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let (time, status) = tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        let mut child: Child = command.spawn()?;
        MEASURED.store(child.id(), Ordering::SeqCst);
        let status = child.wait()?;
        Ok::<_, std::io::Error>((started.elapsed(), status))
    })
    .await??;
    if !status.success() {
        return Err(std::io::Error::other(format!("the run ended with {status}")));
    }
    Ok((time, *PEAK_KIB.lock().expect("not poisoned")))
}

fn largest(peaks: &[u64]) -> u64 {
    peaks.iter().copied().max().unwrap_or(0)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "sizes here are far below 2^53")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
