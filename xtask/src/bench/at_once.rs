//! Many runs at the same moment, on one machine.

use std::io;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::limit::{Rows, Unit, milliseconds, number};
use super::one_run::Bench;

/// Runs that start together.
const RUNS: u32 = 50;
/// Events of each agent's turn.
const EVENTS: usize = 100;

/// Prints the time until the last run has ended, beside that of one run alone.
pub(super) async fn measure(rows: &Rows, runner: &Path) -> io::Result<()> {
    let bench = Bench::start(EVENTS, Duration::ZERO).await?;
    let mut alone = Duration::MAX;
    for _ in 0..5 {
        alone = alone.min(bench.run(runner, "text").await?.time);
    }
    let folder = tempfile::tempdir()?;
    let commands: Vec<Command> =
        (0..RUNS).map(|_| bench.command(Command::new(runner), folder.path(), "text")).collect::<io::Result<_>>()?;
    let all = tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        let children: Vec<Child> =
            commands.into_iter().map(|mut command| command.spawn()).collect::<io::Result<_>>()?;
        for mut child in children {
            let status = child.wait()?;
            if !status.success() {
                return Err(io::Error::other(format!("a run ended with {status}")));
            }
        }
        Ok(started.elapsed())
    });
    let all = all.await??;
    let cores = std::thread::available_parallelism()?.get();
    rows.show("one run, 100 events", milliseconds(alone), Unit::Milliseconds, "least of 5");
    let note = format!("until the last one has ended, on {cores} cores");
    rows.show(&format!("{RUNS} runs at once"), milliseconds(all), Unit::Milliseconds, &note);
    rows.show("  each", milliseconds(all / RUNS), Unit::Milliseconds, "of that time");
    rows.show("  ratio", all.as_secs_f64() / alone.as_secs_f64() / number(RUNS.into()), Unit::Ratio, "each / alone");
    Ok(())
}
