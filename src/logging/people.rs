//! The log as people read it on a terminal: no time, no level, and a sentence instead of fields.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::paint::Kind;

const ERROR: &str = "error: ";
const WARNING: &str = "warning: ";

/// Writes `warning: the message (path: x): why`. What is only of use to find a fault, `debug` and `trace`, stays as a log has it.
pub(super) struct People;

impl<S, N> FormatEvent<S, N> for People
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let begin = match *event.metadata().level() {
            Level::ERROR => ERROR,
            Level::WARN => WARNING,
            Level::INFO => "",
            _ => return Format::default().with_ansi(false).format_event(context, out, event),
        };
        let mut sentence = Sentence::default();
        event.record(&mut sentence);
        writeln!(out, "{begin}{sentence}")
    }
}

/// How a line of the log looks.
pub(super) fn kind_of(line: &str) -> Kind {
    match () {
        () if line.starts_with(ERROR) => Kind::Failure,
        () if line.starts_with(WARNING) => Kind::Warning,
        () => Kind::Plain,
    }
}

/// The fields of an event.
#[derive(Default)]
struct Sentence {
    message: String,
    details: Vec<String>,
    reason: Option<String>,
}

impl Sentence {
    fn add(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            "error" | "reason" => self.reason = Some(value),
            // For programs.
            "code" => {}
            name => self.details.push(format!("{}: {value}", name.replace('_', " "))),
        }
    }
}

impl Visit for Sentence {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }
}

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.details.is_empty() {
            write!(f, " ({})", self.details.join(", "))?;
        }
        if let Some(reason) = &self.reason {
            if !self.message.is_empty() {
                f.write_str(": ")?;
            }
            f.write_str(reason)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn people_read_sentences_and_no_fields() {
        let written = Written::default();
        let writer = written.clone();
        let layer = fmt::layer().with_writer(move || writer.clone()).with_ansi(false).event_format(People);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info!("done");
            tracing::info!(files = 2, bytes = 10, "copied");
            tracing::warn!(error = "no space", path = "/x", "the file cannot be written");
            tracing::warn!("plain");
            tracing::error!(code = "Timeout", run_id = "7", "the time is up");
            tracing::debug!(attempt = 1, "retrying");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[..5],
            [
                "done",
                "copied (files: 2, bytes: 10)",
                "warning: the file cannot be written (path: /x): no space",
                "warning: plain",
                "error: the time is up (run id: 7)",
            ]
        );
        assert!(lines[5].contains("DEBUG") && lines[5].ends_with("retrying attempt=1"), "{}", lines[5]);
        assert_eq!(
            lines.iter().map(|line| kind_of(line)).collect::<Vec<_>>()[2..5],
            [Kind::Warning, Kind::Warning, Kind::Failure]
        );
    }
}
