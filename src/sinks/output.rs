//! The result of a run for programs: standard output and the result file.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use openhands_client::off_thread::off_thread;
use openhands_client::secret::Redactor;
use openhands_client::text;

use super::stdout::Stdout;
use super::{Record, Sink, jsonl, printable};
use crate::cli::OutputFormat;
use crate::files::replace;
use crate::outcome::RunResult;

/// Writes standard output in one of the formats. Output that is not read any more is dropped; it never ends a run.
#[derive(Debug)]
pub(crate) struct Output {
    format: OutputFormat,
    is_terminal: bool,
    stdout: Stdout,
    redactor: Redactor,
}

impl Output {
    /// Standard output in this format; a record that no one reads for the time of `patience` is the last one. Must be called in a tokio runtime.
    #[must_use]
    pub(crate) fn new(format: OutputFormat, patience: Duration, redactor: Redactor) -> Self {
        Self { format, is_terminal: io::stdout().is_terminal(), stdout: Stdout::new(patience), redactor }
    }

    /// A line of JSON.
    async fn json(&mut self, json: String) {
        let json = if self.is_terminal { with_escapes(json) } else { json };
        self.stdout.line(json).await;
    }

    async fn json_line(&mut self, record: &Record<'_>) {
        if let Some(line) = jsonl::line(record, &self.redactor) {
            self.json(line.into_owned()).await;
        }
    }
}

/// JSON for a terminal, which obeys characters that a JSON text may hold as they are, such as U+009B and those that change the
/// direction of reading. They stand only inside strings.
pub(super) fn with_escapes(json: String) -> String {
    let is_obeyed = |char: char| char != '\n' && text::is_invisible(char);
    if !json.contains(is_obeyed) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for char in json.chars() {
        if is_obeyed(char) {
            for unit in char.encode_utf16(&mut [0; 2]) {
                // Writing into a String cannot fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(char);
        }
    }
    escaped
}

impl Sink for Output {
    fn record<'a>(&'a mut self, record: &'a Record<'_>) -> BoxFuture<'a, ()> {
        async move {
            match (self.format, record) {
                (OutputFormat::Jsonl, record) => self.json_line(record).await,
                (OutputFormat::Json, Record::Result(result)) => {
                    let text = serde_json::to_string_pretty(result).unwrap_or_default();
                    self.json(text).await;
                }
                (OutputFormat::Text, Record::Result(RunResult { message: Some(message), error: None, .. })) => {
                    // A terminal obeys what it is shown.
                    let shown = if self.is_terminal { printable(message, &self.redactor) } else { message.clone() };
                    self.stdout.line(shown).await;
                }
                _ => {}
            }
            if matches!(record, Record::Result(_)) {
                self.stdout.finish().await;
            }
        }
        .boxed()
    }
}

/// What of a result is written into a file.
#[derive(Debug, Clone, Copy)]
enum Content {
    /// All of it, as JSON.
    Result,
    /// The agent's final message; without one the file is empty.
    Message,
}

/// Writes the result, or a part of it, into a file: whole or not at all.
#[derive(Debug)]
pub(crate) struct ResultFile {
    path: PathBuf,
    content: Content,
}

impl ResultFile {
    /// The JSON result in the file at this path; an older one is replaced.
    #[must_use]
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, content: Content::Result }
    }

    /// The agent's final message in the file at this path; an older one is replaced.
    #[must_use]
    pub(crate) fn of_message(path: PathBuf) -> Self {
        Self { path, content: Content::Message }
    }
}

impl Sink for ResultFile {
    fn record<'a>(&'a mut self, record: &'a Record<'_>) -> BoxFuture<'a, ()> {
        async move {
            let (Record::Result(result) | Record::Amended(result)) = record else { return };
            let text = match (self.content, &result.message) {
                (Content::Result, _) => serde_json::to_string_pretty(result).unwrap_or_default() + "\n",
                (Content::Message, Some(message)) => format!("{message}\n"),
                (Content::Message, None) => String::new(),
            };
            let path = self.path.clone();
            let written = off_thread("result file", move || replace(&path, text.as_bytes())).await;
            if let Err(error) = written {
                tracing::error!(path = %self.path.display(), %error, "the result file could not be written");
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn json_for_a_terminal_means_the_same_without_characters_that_it_obeys() {
        let message = "a\u{9b}2J b\u{202e}c \u{e0041} \u{7f} \u{1b}]52;c;eA==\u{7} ä";
        let json = serde_json::to_string_pretty(&json!({ "message": message })).unwrap();
        let shown = with_escapes(json.clone());
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["message"], message);
        assert!(!shown.contains(|char| char != '\n' && text::is_invisible(char)), "{shown:?}");
        assert!(shown.contains('ä') && shown.contains('\n'));
    }
}
