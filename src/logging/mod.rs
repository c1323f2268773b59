//! The log: tracing to standard error, without secrets, never in the way of a run.
//!
//! A thread of its own writes it. If standard error blocks, log lines are dropped rather than delaying the run. If it is closed,
//! all are dropped.

mod people;

use std::io::{self, Stderr, Write};

use openhands_client::secret::Redactor;
use openhands_client::text;
use tokio::sync::oneshot;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use self::people::{People, kind_of};
use crate::cli::LogFormat;
use crate::log_writer::{self, LogGuard, LogWriter};
use crate::screen::{Screen, width};
use crate::view::ErrorForm;

/// Lines that may wait for a slow reader.
const WAITING_LINES: usize = 2048;

/// Standard error as the log has it.
type Out = Redacted<Screen<Stderr>>;

/// Writes what the last lines still need, when it is dropped.
pub(crate) type Guard = LogGuard<Out>;

/// Lines between those of the log. The thread of the log writes them, so that neither tears the other, and nothing waits for them.
#[derive(Clone)]
pub(crate) struct Lines(LogWriter<Out>);

impl Lines {
    /// Writes a line as it is. The caller has removed secrets, and what a terminal obeys.
    pub(crate) fn say(&self, line: String) {
        // In one piece: behind each piece the screen draws its live lines. A closed standard error is no reason to end.
        self.0.between_lines(move |out| _ = out.out.write_all((line + "\n").as_bytes()));
    }

    /// Replaces the lines that stay below all others; an empty text takes them away.
    pub(crate) fn live(&self, lines: String) {
        self.0.between_lines(move |out| out.out.live(lines));
    }

    /// Waits until everything before it is written. A terminal that has stopped holds it up.
    pub(crate) async fn written(&self) {
        let (tell, told) = oneshot::channel();
        // Where too many lines wait, this one is dropped, and nothing is waited for.
        if self.0.between_lines(move |_| _ = tell.send(())) {
            let _ = told.await;
        }
    }
}

/// Starts the log. `filter` is `RUST_LOG`: a level, or targets with levels (`info,openhands_runner=debug`). Without one, a quiet log
/// has warnings and errors. Where people read errors, the log reads as they do. Drop the guard last: it writes what still waits, for a
/// second at most.
pub(crate) fn start(
    format: LogFormat,
    filter: Option<&str>,
    is_quiet: bool,
    redactor: Redactor,
    form: ErrorForm,
) -> (Lines, Guard) {
    let has_colors = form == (ErrorForm::People { has_colors: true });
    let out = Redacted { redactor, has_colors, out: Screen::new(io::stderr(), width) };
    let (writer, guard) = log_writer::start(WAITING_LINES, out);
    let lines = Lines(writer.clone());
    let (targets, complaint) = targets(filter.or(is_quiet.then_some("warn")));
    let layer = fmt::layer().with_writer(writer).with_ansi(false).log_internal_errors(false);
    let layer = match (format, form) {
        (LogFormat::Text, ErrorForm::People { .. }) => layer.event_format(People).boxed(),
        (LogFormat::Text, ErrorForm::Log) => layer.with_target(false).boxed(),
        (LogFormat::Json, _) => layer.json().flatten_event(true).boxed(),
    };
    // A second start in one process (tests of the library) keeps the first log.
    let _ = tracing_subscriber::registry().with(layer.with_filter(targets)).try_init();
    if let Some(error) = complaint {
        tracing::warn!(error, "RUST_LOG cannot be read; logging at level info");
    }
    (lines, guard)
}

/// What the log shows, and what is wrong with `filter`. Our own errors and warnings are always shown: one of them says why a
/// run failed.
fn targets(filter: Option<&str>) -> (Targets, Option<String>) {
    const OURS: [&str; 2] = ["openhands_runner", "openhands_client"];
    let default =
        || Targets::new().with_default(LevelFilter::WARN).with_targets(OURS.map(|name| (name, LevelFilter::INFO)));
    // A word that is not a level is the name of a target to the parser.
    let is_readable = |filter: &str| filter.contains(['=', ',', ':']) || filter.parse::<LevelFilter>().is_ok();
    let (targets, complaint) = match filter.map(str::trim) {
        None => (default(), None),
        Some(filter) if !is_readable(filter) => (default(), Some("it is not a level such as `debug`".to_owned())),
        Some(filter) => match filter.parse::<Targets>() {
            Ok(targets) => (targets, None),
            Err(error) => (default(), Some(error.to_string())),
        },
    };
    let silent = OURS.into_iter().filter(|name| !targets.would_enable(name, &tracing::Level::WARN));
    let at_least: Vec<_> = silent.map(|name| (name, LevelFilter::WARN)).collect();
    (targets.with_targets(at_least), complaint)
}

/// Removes secrets, and what commands a terminal or a CI system, from what is written through it. The log writes whole events;
/// the further lines of one are marked, so that none looks like an event of its own.
pub(crate) struct Redacted<W> {
    redactor: Redactor,
    /// Whether a terminal shows its lines in the colours of their kind.
    has_colors: bool,
    out: W,
}

impl<W: Write> Write for Redacted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = text::printable(&String::from_utf8_lossy(bytes));
        let event = text.strip_suffix('\n').unwrap_or(&text).replace('\n', "\n  | ");
        let event = self.redactor.redact(&event);
        let event = event.trim_end_matches('\n');
        self.out.write_all((kind_of(event).paint(event, self.has_colors) + "\n").as_bytes())?;
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
    fn our_errors_and_warnings_are_shown_whatever_the_filter_is() {
        for filter in [
            None,
            Some("myapp=debug"),
            Some("debug"),
            Some("verbose"),
            Some("off"),
            Some("=,=x"),
            Some("openhands_runner=off"),
        ] {
            let (targets, _) = targets(filter);
            for target in ["openhands_runner::run", "openhands_client::http"] {
                assert!(targets.would_enable(target, &tracing::Level::WARN), "{filter:?} {target}");
            }
        }
        for bad in ["verbose", "a=b=c", "openhands_runner=loud"] {
            assert!(targets(Some(bad)).1.is_some(), "{bad}");
        }
        assert!(targets(Some("openhands_runner=trace")).0.would_enable("openhands_runner", &tracing::Level::TRACE));
        assert!(!targets(Some("warn")).0.would_enable("openhands_runner", &tracing::Level::INFO));
    }

    #[test]
    fn an_event_forges_no_other_and_commands_nothing() {
        let mut log = Redacted { redactor: Redactor::default(), has_colors: false, out: Vec::new() };
        log.write_all("ERROR tool\n2026 ERROR forged\n::error::x\u{1b}[2J\u{202e}\n".as_bytes()).unwrap();
        assert_eq!(String::from_utf8(log.out).unwrap(), "ERROR tool\n  | 2026 ERROR forged\n  | : :error::x\n");
    }

    #[test]
    fn a_secret_is_found_in_the_escaped_form_of_a_log_in_json() {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("sec\"ret-123456"));
        let mut log = Redacted { redactor, has_colors: false, out: Vec::new() };
        log.write_all(b"{\"message\":\"found sec\\\"ret-123456\"}\n").unwrap();
        assert_eq!(log.out, b"{\"message\":\"found ***\"}\n");
    }

    #[test]
    fn a_secret_never_reaches_the_log() {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("sk-123456"));
        let mut log = Redacted { redactor, has_colors: false, out: Vec::new() };
        log.write_all(b"the key is sk-123456\n").unwrap();
        assert_eq!(log.out, b"the key is ***\n");
    }
}
