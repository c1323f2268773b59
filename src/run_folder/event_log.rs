//! `events.jsonl`: appended to while the run is under way, so that nothing is lost with the runner; at the end completed from the
//! server's log, and ended with one terminal record.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// How the terminal record begins; an end is known by that.
const TERMINAL: &[u8] = br#"{"kind":"runner.result""#;

/// The log while it is written.
#[derive(Debug)]
pub(crate) struct EventLog {
    file: File,
    /// How long the file is when no one else has written into it.
    length: u64,
    /// Events of the server in the file.
    events: u64,
    /// The time of the newest event in the file.
    newest: Option<String>,
    /// Whether the events came in the order of their times, which is the server's.
    is_in_order: bool,
    /// Reused for each line.
    line: Vec<u8>,
}

impl EventLog {
    /// Opens or makes the log. A line that was cut off, and the terminal record of an earlier runner, are taken out.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = writable(path, true)?;
        let tail = Tail::of(&mut file)?;
        let length = if tail.is_terminal(&mut file)? { tail.last_line } else { tail.end };
        file.set_len(length)?;
        Ok(Self { file, length, events: 0, newest: None, is_in_order: true, line: Vec::new() })
    }

    /// Adds an event of the server.
    ///
    /// # Errors
    /// As [`EventLog::record`].
    pub(crate) fn event(&mut self, line: &str, timestamp: Option<&str>) -> io::Result<()> {
        self.record(line)?;
        self.events += 1;
        // One server writes one format, so that the order of texts is the order of times.
        self.is_in_order &= timestamp >= self.newest.as_deref();
        match (&mut self.newest, timestamp) {
            (Some(newest), Some(timestamp)) => timestamp.clone_into(newest),
            (newest, timestamp) => *newest = timestamp.map(str::to_owned),
        }
        Ok(())
    }

    /// Adds a line. It is there as a whole or not at all.
    ///
    /// # Errors
    /// The operating system's; or another process has written into the file: the guardian has ended it.
    pub(crate) fn record(&mut self, line: &str) -> io::Result<()> {
        self.line.clear();
        self.line.extend_from_slice(line.as_bytes());
        self.line.push(b'\n');
        if self.file.metadata()?.len() != self.length {
            return Err(io::Error::other("another process has written into it"));
        }
        if let Err(error) =
            (&self.file).seek(SeekFrom::Start(self.length)).and_then(|_| self.file.write_all(&self.line))
        {
            // Half a line would make the next one unreadable.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += self.line.len() as u64;
        Ok(())
    }

    /// Events that this runner has added, if they are in the server's order.
    pub(crate) fn events_in_order(&self) -> Option<u64> {
        self.is_in_order.then_some(self.events)
    }
}

/// A log that is being written again. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Rewriting {
    path: PathBuf,
    temporary: PathBuf,
    file: Option<BufWriter<File>>,
    /// Our records that are still to be written, each with the id of the event before it.
    own: VecDeque<(Option<String>, String)>,
    events: u64,
}

impl Rewriting {
    /// Begins to write the log again from the server's own, with our records where they were. The log stays as it is until
    /// [`Rewriting::commit`].
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let own = own_records(path)?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.tmp", uuid::Uuid::new_v4().simple()));
        let temporary = path.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        let mut rewriting = Self { path: path.to_owned(), temporary, file: Some(BufWriter::new(file)), own, events: 0 };
        rewriting.records_after(None)?;
        Ok(rewriting)
    }

    /// The next event of the server.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn event(&mut self, id: &str, line: &str) -> io::Result<()> {
        self.line(line)?;
        self.events += 1;
        self.records_after(Some(id))
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        match &mut self.file {
            Some(file) => file.write_all(line.as_bytes()).and_then(|()| file.write_all(b"\n")),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn records_after(&mut self, event: Option<&str>) -> io::Result<()> {
        while self.own.front().is_some_and(|(after, _)| after.as_deref() == event) {
            if let Some((_, line)) = self.own.pop_front() {
                self.line(&line)?;
            }
        }
        Ok(())
    }

    /// Events that were written.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// Puts it in the place of the log.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn commit(mut self) -> io::Result<EventLog> {
        for (_, line) in std::mem::take(&mut self.own) {
            self.line(&line)?;
        }
        let file =
            self.file.take().ok_or(io::ErrorKind::BrokenPipe)?.into_inner().map_err(io::IntoInnerError::into_error)?;
        let length = file.metadata()?.len();
        fs::rename(&self.temporary, &self.path)?;
        Ok(EventLog { file, length, events: self.events, newest: None, is_in_order: true, line: Vec::new() })
    }
}

impl Drop for Rewriting {
    fn drop(&mut self) {
        // Gone after a commit.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Our own records in a log, in their order, each with the id of the event before it. Its terminal records are left out.
fn own_records(path: &Path) -> io::Result<VecDeque<(Option<String>, String)>> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(default)]
        id: Option<String>,
        #[serde(default)]
        kind: String,
    }
    let (mut own, mut after) = (VecDeque::new(), None);
    for line in BufReader::new(File::open(path)?).lines() {
        let line = line?;
        let Ok(Line { id, kind }) = serde_json::from_str(&line) else { continue };
        if !kind.starts_with("runner.") {
            after = id.or(after);
        } else if !line.as_bytes().starts_with(TERMINAL) {
            own.push_back((after.clone(), line));
        }
    }
    Ok(own)
}

/// Ends a log with its terminal record, unless it ends with one. A line that was cut off is taken out first. Whether the record was
/// written.
pub(super) fn conclude(path: &Path, record: &str) -> io::Result<bool> {
    let mut file = writable(path, false)?;
    let tail = Tail::of(&mut file)?;
    if tail.is_terminal(&mut file)? {
        return Ok(false);
    }
    file.set_len(tail.end)?;
    file.seek(SeekFrom::Start(tail.end))?;
    file.write_all(format!("{record}\n").as_bytes())?;
    Ok(true)
}

/// A log is a plain file of ours: a link or a pipe in its place is refused.
fn writable(path: &Path, make: bool) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(make).mode(0o600).custom_flags(flags.bits().cast_signed());
    let file = options.open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a plain file")) }
}

/// Where the complete lines of a file end, and where the last of them begins.
struct Tail {
    last_line: u64,
    end: u64,
}

impl Tail {
    fn of(file: &mut File) -> io::Result<Self> {
        const PIECE: u64 = 64 * 1024;
        let (mut end, mut last_line) = (None, 0);
        let mut to = file.metadata()?.len();
        'found: while to > 0 {
            let from = to.saturating_sub(PIECE);
            let mut piece = vec![0; usize::try_from(to - from).unwrap_or(0)];
            file.seek(SeekFrom::Start(from))?;
            file.read_exact(&mut piece)?;
            for (at, _) in piece.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
                let after = from + at as u64 + 1;
                if end.is_none() {
                    end = Some(after);
                } else {
                    last_line = after;
                    break 'found;
                }
            }
            to = from;
        }
        Ok(Self { last_line, end: end.unwrap_or(0) })
    }

    fn is_terminal(&self, file: &mut File) -> io::Result<bool> {
        let mut start = vec![0; TERMINAL.len()];
        if self.end - self.last_line < start.len() as u64 {
            return Ok(false);
        }
        file.seek(SeekFrom::Start(self.last_line))?;
        file.read_exact(&mut start)?;
        Ok(start == TERMINAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESULT: &str = r#"{"kind":"runner.result","status":"FAILED"}"#;

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn the_terminal_record_is_written_once_behind_whole_lines() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("events.jsonl");
        for (there, before) in [
            ("", ""),
            ("{\"id\":\"1\"}\n", "{\"id\":\"1\"}\n"),
            ("{\"id\":\"1\"}\n{\"id\":\"2", "{\"id\":\"1\"}\n"),
            ("{\"id\":\"cut", ""),
        ] {
            fs::write(&path, there).unwrap();
            assert!(conclude(&path, RESULT).unwrap());
            assert!(!conclude(&path, RESULT).unwrap());
            assert_eq!(text(&path), format!("{before}{RESULT}\n"));
        }
        let long = format!("{{\"id\":\"{}\"}}\n", "x".repeat(200_000));
        fs::write(&path, format!("{long}{long}cut")).unwrap();
        assert!(conclude(&path, RESULT).unwrap());
        assert_eq!(text(&path), format!("{long}{long}{RESULT}\n"));
        assert!(conclude(&home.path().join("missing"), RESULT).is_err());
    }

    #[test]
    fn a_runner_that_continues_takes_out_the_end_of_the_one_before() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("events.jsonl");
        let mut log = EventLog::open(&path).unwrap();
        log.record(r#"{"kind":"runner.conversation"}"#).unwrap();
        log.event(r#"{"id":"1","kind":"MessageEvent"}"#, None).unwrap();
        let before = text(&path);
        conclude(&path, RESULT).unwrap();
        // The runner that was frozen finds its log ended.
        assert!(log.event(r#"{"id":"2"}"#, None).is_err());
        drop(EventLog::open(&path).unwrap());
        assert_eq!(text(&path), before);
    }

    #[test]
    fn a_log_that_is_written_again_has_the_servers_events_and_our_records_in_their_places() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("events.jsonl");
        let mut log = EventLog::open(&path).unwrap();
        let event = |id: &str| format!(r#"{{"id":"{id}","kind":"X"}}"#);
        log.record(r#"{"kind":"runner.conversation"}"#).unwrap();
        log.event(&event("1"), None).unwrap();
        log.record(r#"{"kind":"runner.turn"}"#).unwrap();
        log.event(&event("3"), None).unwrap();
        log.event(&event("3"), None).unwrap();
        conclude(&path, RESULT).unwrap();
        let mut again = Rewriting::of(&path).unwrap();
        for id in ["0", "1", "2", "3"] {
            again.event(id, &event(id)).unwrap();
        }
        assert_eq!(again.events(), 4);
        let mut log = again.commit().unwrap();
        log.event(&event("4"), None).unwrap();
        let kinds = [
            r#"{"kind":"runner.conversation"}"#.to_owned(),
            event("0"),
            event("1"),
            r#"{"kind":"runner.turn"}"#.to_owned(),
            event("2"),
            event("3"),
            event("4"),
        ];
        assert_eq!(text(&path).lines().collect::<Vec<_>>(), kinds);
        drop(Rewriting::of(&path).unwrap());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_in_the_place_of_the_log_is_refused() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("precious"), "precious").unwrap();
        std::os::unix::fs::symlink("precious", home.path().join("events.jsonl")).unwrap();
        assert!(EventLog::open(&home.path().join("events.jsonl")).is_err());
        assert!(conclude(&home.path().join("events.jsonl"), RESULT).is_err());
    }
}
