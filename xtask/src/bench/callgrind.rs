//! Instructions of a run, as valgrind's callgrind counts them: the same number for the same binary on a busy machine.

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::one_run::Bench;

/// Turns of these lengths are compared, so that what does not depend on the number of events cancels out.
const EVENTS: [u32; 2] = [1_000, 3_000];

/// What each further event costs the runner. `None` without valgrind.
pub(super) async fn instructions_per_event(runner: &Path) -> io::Result<Option<u64>> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return Ok(None);
    }
    let (few, many) = (instructions(runner, EVENTS[0]).await?, instructions(runner, EVENTS[1]).await?);
    Ok(Some(many.saturating_sub(few) / u64::from(EVENTS[1] - EVENTS[0])))
}

/// The instructions of one run with default settings and this many events.
async fn instructions(runner: &Path, events: u32) -> io::Result<u64> {
    let bench = Bench::start(events as usize, Duration::ZERO).await?;
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("valgrind.log");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--trace-children=yes", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(format!("--log-file={}", log.display())).arg(runner);
    let mut command = bench.command(valgrind, folder.path(), "text")?;
    let status = tokio::task::spawn_blocking(move || command.status()).await??;
    let log = std::fs::read_to_string(log)?;
    if !status.success() {
        return Err(io::Error::other(format!("the run under valgrind ended with {status}:\n{log}")));
    }
    collected(&log).ok_or_else(|| io::Error::other(format!("valgrind printed no summary:\n{log}")))
}

/// The total of all processes in a log: the number after `Collected :`.
fn collected(log: &str) -> Option<u64> {
    let totals = log.lines().filter_map(|line| line.split_once("Collected :")?.1.trim().parse::<u64>().ok());
    totals.reduce(|sum, total| sum + total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_the_sum_over_all_processes() {
        let log = "==7== Events    : Ir\n==7== Collected : 1200\n==7==\n==8== Collected : 34\n";
        assert_eq!(collected(log), Some(1234));
        assert_eq!(collected("==7== no summary"), None);
    }
}
