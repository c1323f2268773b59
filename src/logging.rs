//! The log: tracing to standard error, without secrets, never in the way of a run.
//!
//! A thread of its own writes it. When nobody reads standard error, lines are lost, not time; when it is closed, all are.

use std::io::{self, Write};

use openhands_client::secret::Redactor;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::cli::LogFormat;
use crate::log_writer::{self, LogGuard};

/// Lines that may wait for a slow reader.
const WAITING_LINES: usize = 2048;

/// Starts the log. `filter` is `RUST_LOG`: a level, or targets with levels (`info,openhands_runner=debug`). Drop the
/// guard last: it writes what still waits, for a second at most.
pub(crate) fn start(format: LogFormat, filter: Option<&str>, redactor: Redactor) -> LogGuard {
    let (writer, guard) = log_writer::start(WAITING_LINES, Redacted { redactor, out: io::stderr() });
    let default = || {
        Targets::new()
            .with_default(LevelFilter::WARN)
            .with_targets([("openhands_runner", LevelFilter::INFO), ("openhands_client", LevelFilter::INFO)])
    };
    let parsed = filter.map(str::parse::<Targets>);
    let targets = match &parsed {
        Some(Ok(targets)) => targets.clone(),
        _ => default(),
    };
    let layer = fmt::layer().with_writer(writer).with_ansi(false).log_internal_errors(false);
    let layer = match format {
        LogFormat::Text => layer.with_target(false).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    // A second start in one process (tests of the library) keeps the first log.
    let _ = tracing_subscriber::registry().with(layer.with_filter(targets)).try_init();
    if let Some(Err(error)) = parsed {
        tracing::warn!(%error, "RUST_LOG is not understood; logging at level info");
    }
    guard
}

/// Removes secrets from what is written through it. The log writes whole lines.
struct Redacted<W> {
    redactor: Redactor,
    out: W,
}

impl<W: Write> Write for Redacted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        self.out.write_all(self.redactor.redact(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openhands_client::secret::Secret;

    #[test]
    fn a_secret_never_reaches_the_log() {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("sk-123456"));
        let mut log = Redacted { redactor, out: Vec::new() };
        log.write_all(b"the key is sk-123456\n").unwrap();
        assert_eq!(log.out, b"the key is ***\n");
    }
}
