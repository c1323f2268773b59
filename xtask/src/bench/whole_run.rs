//! A whole run against a server that answers at once: the size of the binary, and the run's own time and memory.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::limit::{Rows, Unit, milliseconds, number};
use super::median;
use super::one_run::Bench;

/// Runs of each binary. Old and new take turns.
const RUNS: usize = 41;
/// Events of the agent's turn.
const EVENTS: usize = 5;

/// Prints size, time and memory. `reference` is a command that does a part of the same work in another way.
pub(super) async fn measure(
    rows: &mut Rows,
    runner: &Path,
    against: Option<&Path>,
    reference: &[String],
) -> io::Result<()> {
    rows.judge("binary", number(std::fs::metadata(runner)?.len()), Unit::Megabytes, 8e6, "");
    let bench = Bench::start(EVENTS, Duration::ZERO).await?;
    let (mut times, mut old_times, mut memory, mut old_memory) = (Vec::new(), Vec::new(), 0, 0);
    for binary in [Some(runner), against].into_iter().flatten() {
        forget_cached(binary)?;
    }
    for _ in 0..RUNS {
        let run = bench.run(runner, "text").await?;
        times.push(run.time);
        memory = run.at_callback.runner_memory.max(memory);
        if let Some(against) = against {
            let run = bench.run(against, "text").await?;
            old_times.push(run.time);
            old_memory = run.at_callback.runner_memory.max(old_memory);
        }
    }
    let time = median(&mut times);
    let note = format!("median of {RUNS}, worst {:.1} ms", milliseconds(times[RUNS - 1]));
    rows.judge("run, exec to exit", milliseconds(time), Unit::Milliseconds, 30.0, &note);
    rows.judge("  memory", number(memory), Unit::Megabytes, 12e6, "highest resident");
    if against.is_some() {
        let old = median(&mut old_times);
        rows.show("  time of the old binary", milliseconds(old), Unit::Milliseconds, "measured in turn with it");
        rows.show("  memory of the old binary", number(old_memory), Unit::Megabytes, "highest resident");
        rows.show("  ratio new / old", time.as_secs_f64() / old.as_secs_f64(), Unit::Ratio, "");
    }
    if let Some(reference_time) = best_of_3(reference)? {
        rows.show("reference, best of 3", milliseconds(reference_time), Unit::Milliseconds, &name(reference));
        rows.show("  ratio reference / run", reference_time.as_secs_f64() / time.as_secs_f64(), Unit::Ratio, "");
    }
    Ok(())
}

/// Drops what the kernel has cached of a file. How much of a binary counts as resident depends on how it came into the cache: as
/// the pages that a build has just written, or read as a machine does that starts it for the first time. This makes it the latter.
fn forget_cached(path: &Path) -> io::Result<()> {
    let file = std::fs::File::open(path)?;
    // Only pages that are on the disk can be dropped.
    file.sync_all()?;
    Ok(posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
}

/// The shortest time of a command; `None` without a command, or if it fails.
fn best_of_3(command: &[String]) -> io::Result<Option<Duration>> {
    let Some((program, arguments)) = command.split_first() else { return Ok(None) };
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let started = Instant::now();
        let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        if !status.success() {
            println!("the reference failed: {status}");
            return Ok(None);
        }
        best = best.min(started.elapsed());
    }
    Ok(Some(best))
}

/// A command line without the folder of its program.
fn name(command: &[String]) -> String {
    let program = Path::new(&command[0]).file_name().unwrap_or_default().to_string_lossy().into_owned();
    [&[program], &command[1..]].concat().join(" ")
}
