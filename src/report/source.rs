//! Where a story is read from: a run folder, or the lines that `--format jsonl` has printed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use thiserror::Error;

use super::reader::StoryReader;
use super::story::Story;
use crate::run_folder::{EVENTS, PATCH, RESULT};

/// A longer line is skipped: no event is that long.
const LONGEST_LINE: u64 = 64 << 20;
/// The number of bytes of a patch that are read.
const LONGEST_PATCH: u64 = 4 << 20;

/// Why there is no story.
#[derive(Debug, Error)]
pub(crate) enum SourceError {
    /// The file is missing or cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{} holds no events of a run: give a run folder, or a file with the output of `run --format jsonl`", path.display())]
    NoEvents {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a run folder, or a file of lines. What is missing in a folder, and a last line that is cut, are no errors.
///
/// # Errors
/// [`SourceError`].
pub(crate) fn read(path: &Path) -> Result<Story, SourceError> {
    let (events, changes) =
        if path.is_dir() { (path.join(EVENTS), Some(path.join(PATCH))) } else { (path.into(), None) };
    let unreadable = |source| SourceError::Unreadable { path: events.clone(), source };
    let mut reader = StoryReader::default();
    let result = changes.as_ref().and_then(|_| of_folder(&path.join(RESULT)));
    match File::open(&events) {
        Ok(file) => {
            let mut lines = BufReader::with_capacity(256 << 10, file);
            while let Some(line) = next_line(&mut lines).map_err(unreadable)? {
                reader.line(&line);
            }
        }
        // Only the result says how the run ended.
        Err(error) if error.kind() == io::ErrorKind::NotFound && result.is_some() => {}
        Err(error) => return Err(unreadable(error)),
    }
    if let Some(result) = result.filter(|_| !reader.has_result()) {
        reader.result(result);
    }
    if let Some(patch) = changes.and_then(|patch| File::open(patch).ok()) {
        let size = patch.metadata().map(|about| about.len()).unwrap_or_default();
        let mut text = Vec::new();
        if patch.take(LONGEST_PATCH).read_to_end(&mut text).is_ok() {
            reader.patch(&String::from_utf8_lossy(&text), size);
        }
    }
    reader.end().ok_or(SourceError::NoEvents { path: events })
}

/// The result in a run folder; nothing if it is missing or something else.
fn of_folder(path: &Path) -> Option<Map<String, Value>> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// The next line as text; nothing at the end of the file. The rest of a line that is too long is passed over.
fn next_line(lines: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if lines.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') && line.len() as u64 == LONGEST_LINE {
        lines.skip_until(b'\n')?;
        line.clear();
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_else_is_refused_with_what_to_give() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("notes.txt");
        std::fs::write(&file, "Some notes.\n{\"a\": 1}\n").unwrap();
        let error = read(&file).unwrap_err().to_string();
        assert!(error.contains("notes.txt holds no events") && error.contains("--format jsonl"), "{error}");
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("events.jsonl cannot be read"), "{error}");
    }

    #[test]
    fn a_folder_without_events_has_the_story_of_its_result() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(RESULT), r#"{"status":"FAILED","error":{"code":"InvalidInput"}}"#).unwrap();
        let ending = read(folder.path()).unwrap().verdict.unwrap();
        assert_eq!((ending.completed, ending.code.as_deref()), (false, Some("InvalidInput")));
    }

    #[test]
    fn a_last_line_that_is_cut_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let lines = "{\"kind\":\"runner.turn\",\"number\":1,\"of\":1,\"message\":\"Do it.\"}\n{\"kind\":\"ActionEv";
        std::fs::write(folder.path().join(EVENTS), lines).unwrap();
        std::fs::write(folder.path().join(PATCH), "+one\n").unwrap();
        let story = read(folder.path()).unwrap();
        assert_eq!(story.messages[0].head, "Do it.");
        let patch = story.patch.unwrap();
        assert_eq!((patch.lines, patch.left_out), (vec!["+one".to_owned()], 0));
    }
}
