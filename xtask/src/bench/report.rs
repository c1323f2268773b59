//! The report of a long run: the time until its page is there, and the size of the page.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::limit::{Rows, Unit, milliseconds, number};

/// Steps of the run; each is two events.
const STEPS: usize = 10_000;
/// The page is made this often; the least time counts.
const ROUNDS: usize = 3;

/// Prints the rows of the report.
pub(super) fn measure(rows: &mut Rows, runner: &Path) -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let (events, page) = (folder.path().join("run.jsonl"), folder.path().join("run.html"));
    write_run(&events)?;
    let mut least = Duration::MAX;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let status = Command::new(runner).arg("report").arg(&events).stdout(Stdio::null()).status()?;
        least = least.min(begun.elapsed());
        if !status.success() {
            return Err(io::Error::other(format!("report ended with {status}")));
        }
    }
    let size = number(events.metadata()?.len());
    rows.show("report: 20,000 events", size, Unit::Megabytes, "the file that is read");
    rows.judge("  time", milliseconds(least), Unit::Milliseconds, 2000.0, &format!("least of {ROUNDS}"));
    rows.judge("  page", number(page.metadata()?.len()), Unit::Megabytes, 5e6, "");
    Ok(())
}

/// A run whose every step has a long output, full of characters that HTML escapes. Every tenth step fails.
fn write_run(path: &Path) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    let output = "<td class=\"a\">1 & 2</td>\n".repeat(200);
    for step in 0..STEPS {
        let time =
            |second: usize| format!("2026-01-01T{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
        let (action, observation) = (format!("a{step}"), format!("o{step}"));
        let called = json!({"kind": "ActionEvent", "id": action, "timestamp": time(2 * step), "tool_name": "terminal",
            "summary": "run the tests", "action": {"kind": "TerminalAction", "command": "make test"}});
        let told = json!({"kind": "ObservationEvent", "id": observation, "timestamp": time(2 * step + 1),
            "action_id": action, "tool_name": "terminal",
            "observation": {"exit_code": usize::from(step % 10 == 0), "content": [{"type": "text", "text": output}]}});
        writeln!(out, "{called}\n{told}")?;
    }
    let end = json!({"kind": "runner.result", "status": "COMPLETED", "message": "Done.", "exit_code": 0});
    writeln!(out, "{end}")?;
    out.flush()
}
