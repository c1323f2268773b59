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

#[path = "../../../tests/support"]
mod support {
    pub(crate) mod instant_server;
}

use support::instant_server::{InstantServer, Moment};

/// The process that is measured now.
static MEASURED: AtomicU32 = AtomicU32::new(0);
/// The highest resident memory of the runner, and the guardian's at this moment; read while the runner waits for the answer
/// to its callback.
static MEMORY: Mutex<Memory> = Mutex::new(Memory { runner: 0, guardian: 0 });

/// In KiB.
#[derive(Clone, Copy)]
struct Memory {
    runner: u64,
    guardian: u64,
}

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
    let mut peak = 0;
    for _ in 0..RUNS {
        let (time, memory) = one_run(&runner, short.port, "text").await?;
        times.push(time);
        peak = memory.runner.max(peak);
    }
    times.sort();
    let median = times[RUNS / 2];
    println!(
        "run, exec to exit         {:8.1} ms   median of {RUNS}, worst {:.1} ms (limit 30 ms)",
        milliseconds(median),
        milliseconds(times[RUNS - 1])
    );
    println!("  its memory              {:8.2} MB   highest resident (limit 12 MB)", megabytes(peak * 1024));

    let mut guardian = 0;
    let long = InstantServer::start(20_000, |moment| {
        // By then the guardian has heard the outcome, and waits again.
        if moment == Moment::Callback {
            std::thread::sleep(Duration::from_millis(50));
        }
        on_moment(moment);
    })
    .await?;
    for format in ["text", "jsonl"] {
        let (time, memory) = one_run(&runner, long.port, format).await?;
        guardian = memory.guardian.max(guardian);
        println!(
            "20,000 events, {format:5}      {:8.2} MB   highest resident (limit 16 MB), {:.0} ms",
            megabytes(memory.runner * 1024),
            milliseconds(time)
        );
    }

    println!("  its guardian's          {:8.2} MB   resident while it waits (limit 2 MB)", megabytes(guardian * 1024));
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
        let runner = MEASURED.load(Ordering::SeqCst);
        let children = std::fs::read_to_string(format!("/proc/{runner}/task/{runner}/children")).unwrap_or_default();
        let guardian = children.split_whitespace().next().and_then(|pid| kib(pid.parse().ok()?, "VmRSS"));
        let memory =
            Memory { runner: kib(runner, "VmHWM").unwrap_or(0), guardian: guardian.expect("a run has a guardian") };
        *MEMORY.lock().expect("not poisoned") = memory;
    }
}

/// A size from `/proc/<pid>/status`.
fn kib(pid: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find(|line| line.starts_with(name))?.split_whitespace().nth(1)?.parse().ok()
}

/// Time from exec to exit, and the memory.
async fn one_run(runner: &str, port: u16, format: &str) -> std::io::Result<(Duration, Memory)> {
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
    Ok((time, *MEMORY.lock().expect("not poisoned")))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "sizes here are far below 2^53")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
