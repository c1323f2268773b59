//! The result of a run for programs: standard output and the result file.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use openhands_client::off_thread::off_thread;
use openhands_client::text;
use rustix::fs::{OFlags, fcntl_setfl};
use serde_json::{Value, json};

use super::stdout::Stdout;
use super::{Record, Sink};
use crate::cli::OutputFormat;
use crate::outcome::RunResult;

/// Writes standard output in one of the formats. Output that is not read any more is dropped; it never ends a run.
#[derive(Debug)]
pub(crate) struct Output {
    format: OutputFormat,
    is_terminal: bool,
    stdout: Stdout,
}

impl Output {
    /// Standard output in this format; a record that no one reads for the time of `patience` is the last one. Must be called in a tokio runtime.
    #[must_use]
    pub(crate) fn new(format: OutputFormat, patience: Duration) -> Self {
        Self { format, is_terminal: io::stdout().is_terminal(), stdout: Stdout::new(patience) }
    }

    /// A line of JSON.
    async fn json(&mut self, json: String) {
        let json = if self.is_terminal { with_escapes(json) } else { json };
        self.stdout.line(json).await;
    }

    async fn json_line(&mut self, record: &Record<'_>) {
        match record {
            Record::Conversation { id, new } => {
                let own = json!({"kind": "runner.conversation", "conversation_id": id.to_string(), "new": new});
                self.json(own.to_string()).await;
            }
            Record::Turn { number, of, message } => {
                let own = json!({"kind": "runner.turn", "number": number, "of": of, "message": message});
                self.json(own.to_string()).await;
            }
            Record::Stage(_) => {}
            Record::Event { event, .. } => self.json(one_line(event.raw())).await,
            Record::Result(result) => {
                let mut own = json!({"kind": "runner.result"});
                if let (Value::Object(own), Ok(Value::Object(result))) = (&mut own, serde_json::to_value(result)) {
                    own.extend(result);
                }
                self.json(own.to_string()).await;
            }
        }
    }
}

/// JSON for a terminal, which obeys characters that a JSON text may hold as they are, such as U+009B and those that change the
/// direction of reading. They stand only inside strings.
fn with_escapes(json: String) -> String {
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

/// JSON on one line. Servers send it so; where one does not, the line breaks between its tokens are taken out.
fn one_line(raw: &str) -> String {
    if raw.contains(['\n', '\r']) {
        // Inside a JSON text a line break is always white space between tokens.
        raw.replace(['\n', '\r'], " ")
    } else {
        raw.to_owned()
    }
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
                    let shown = if self.is_terminal { text::printable(message) } else { message.clone() };
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

/// Writes the result as JSON into a file: whole or not at all.
#[derive(Debug)]
pub(crate) struct ResultFile {
    path: PathBuf,
}

impl ResultFile {
    /// The file at this path; an older one is replaced.
    #[must_use]
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl Sink for ResultFile {
    fn record<'a>(&'a mut self, record: &'a Record<'_>) -> BoxFuture<'a, ()> {
        async move {
            let Record::Result(result) = record else { return };
            let text = serde_json::to_string_pretty(result).unwrap_or_default() + "\n";
            let path = self.path.clone();
            let written = off_thread("result file", move || replace(&path, text.as_bytes())).await;
            if let Err(error) = written {
                tracing::error!(path = %self.path.display(), %error, "the result file could not be written");
            }
        }
        .boxed()
    }
}

/// Replaces the content of a file, or makes it. As with `cp`, a link stays and what it points to is written, also where nothing is
/// there yet; the mode of an older file is kept.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let path = &behind_links(path)?;
    let older = path.symlink_metadata().ok();
    if older.as_ref().is_some_and(|there| !there.is_file()) {
        // A device or a pipe is written to, and stays. One without a reader must not hold up what else gets the result.
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let mut file = std::fs::File::options().write(true).custom_flags(flags.bits().cast_signed()).open(path)?;
        fcntl_setfl(&file, OFlags::empty())?;
        return file.write_all(content);
    }
    // The name cannot be foreseen, and the file is new: another user of the folder cannot have put a link there.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", uuid::Uuid::new_v4().simple()));
    let temporary = path.with_file_name(name);
    let written = std::fs::File::options()
        .write(true)
        .create_new(true)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(content)?;
            older.map_or(Ok(()), |older| file.set_permissions(older.permissions()))
        })
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // Nothing half-written is left behind; the first error is the one to tell.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// What a path means when links at its end are followed. A link of another user is refused: it may point to a file that this
/// user alone may write.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    /// Longer chains are loops.
    const MOST_LINKS: usize = 40;
    let own = rustix::process::geteuid().as_raw();
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match path.symlink_metadata() {
            Ok(there) if there.is_symlink() && there.uid() != own => {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the path is a link of another user"));
            }
            Ok(there) if there.is_symlink() => {
                let target = std::fs::read_link(&path)?;
                // An absolute target takes the place of the whole.
                path = path.parent().unwrap_or(Path::new("")).join(target);
            }
            _ => return Ok(path),
        }
    }
    Err(io::Error::other("too many links"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pretty_event_becomes_one_line_and_a_plain_one_stays() {
        assert_eq!(one_line(r#"{"a": "x\ny"}"#), r#"{"a": "x\ny"}"#);
        assert_eq!(one_line("{\n\"a\": 1\r\n}"), "{ \"a\": 1  }");
    }

    #[test]
    fn json_for_a_terminal_means_the_same_without_characters_that_it_obeys() {
        let message = "a\u{9b}2J b\u{202e}c \u{e0041} \u{7f} \u{1b}]52;c;eA==\u{7} ä";
        let json = serde_json::to_string_pretty(&json!({ "message": message })).unwrap();
        let shown = with_escapes(json.clone());
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["message"], message);
        assert!(!shown.contains(|char| char != '\n' && text::is_invisible(char)), "{shown:?}");
        assert!(shown.contains('ä') && shown.contains('\n'));
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("result.json");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(replace(&directory.path().join("no/result.json"), b"x").is_err());
    }

    #[test]
    fn the_mode_of_a_file_and_a_link_to_nothing_are_kept() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("result.json"), directory.path().join("link"));
        std::os::unix::fs::symlink("result.json", &link).unwrap();
        replace(&link, b"one").unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        std::os::unix::fs::symlink("loop", directory.path().join("loop")).unwrap();
        assert!(replace(&directory.path().join("loop"), b"x").is_err());
    }

    #[test]
    fn a_link_of_another_user_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("precious"), directory.path().join("link"));
        std::fs::write(&path, b"precious").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        // Only root can give a link to another user.
        if std::os::unix::fs::lchown(&link, Some(65534), None).is_err() {
            return;
        }
        assert!(replace(&link, b"x").unwrap_err().to_string().contains("a link of another user"));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn what_is_no_file_of_its_own_is_written_to_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("result.json"), directory.path().join("link"));
        std::fs::write(&path, b"old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read(&path).unwrap(), b"new");

        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reading = {
            let pipe = pipe.clone();
            std::thread::spawn(move || std::fs::read(pipe).unwrap())
        };
        while replace(&pipe, b"result").is_err() {
            assert!(!reading.is_finished());
        }
        assert_eq!(reading.join().unwrap(), b"result");
        assert_eq!(replace(&pipe, b"result").unwrap_err().raw_os_error(), Some(rustix::io::Errno::NXIO.raw_os_error()));
        assert!(replace(directory.path(), b"x").is_err());
    }
}
