//! A run with many events: instructions per event, memory and CPU time.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::callgrind::instructions_per_event;
use super::limit::{Rows, Unit, milliseconds, number};
use super::one_run::Bench;

/// Events of the long run.
const EVENTS: usize = 20_000;
/// Runs that show whether time and memory grow with the number of events.
const FEW_AND_MANY: [(usize, &str); 2] = [(100, "100 events, text"), (200_000, "200,000 events, text")];
/// A guardian that has heard the outcome waits again after this time.
const SETTLE: Duration = Duration::from_millis(50);
/// Each binary runs this often, in turn; the least CPU time counts.
const ROUNDS: usize = 7;

/// Prints the rows of the event path. With `against`, also the CPU time of an older binary.
pub(super) async fn measure(rows: &mut Rows, runner: &Path, against: Option<&Path>) -> io::Result<()> {
    match instructions_per_event(runner).await? {
        Some(instructions) => {
            let note = "900-byte events, default settings";
            rows.judge("instructions per event", number(instructions), Unit::Count, 60_000.0, note);
        }
        None => println!("instructions per event             not measured: valgrind is not installed"),
    }
    let bench = Bench::start(EVENTS, SETTLE).await?;
    let mut guardian = 0;
    for format in ["text", "jsonl"] {
        let run = bench.run(runner, format).await?;
        guardian = run.at_callback.guardian_memory.max(guardian);
        let memory = number(run.at_callback.runner_memory);
        rows.judge(&format!("20,000 events, {format}"), memory, Unit::Megabytes, 16e6, "highest resident");
    }
    for (events, name) in FEW_AND_MANY {
        let run = Bench::start(events, SETTLE).await?.run(runner, "text").await?;
        let note = format!("highest resident; {:.0} ms from exec to exit", milliseconds(run.time));
        rows.judge(name, number(run.at_callback.runner_memory), Unit::Megabytes, 16e6, &note);
    }
    rows.judge("  memory of the guardian", number(guardian), Unit::Megabytes, 2e6, "resident while it waits");

    let (mut new, mut old) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        new = new.min(bench.run(runner, "text").await?.at_callback.cpu);
        if let Some(against) = against {
            old = old.min(bench.run(against, "text").await?.at_callback.cpu);
        }
    }
    let note = format!("least of {ROUNDS}, runner and guardian");
    rows.show("  CPU time", milliseconds(new), Unit::Milliseconds, &note);
    if against.is_some() {
        rows.show("  CPU time of the old binary", milliseconds(old), Unit::Milliseconds, "measured in turn with it");
        rows.judge("  ratio new / old", new.as_secs_f64() / old.as_secs_f64(), Unit::Ratio, 0.25, "");
    }
    Ok(())
}
