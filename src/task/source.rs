//! Where the task comes from: a named file, standard input when asked for, else what lies in the working directory.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Task;
use super::parse::{Format, parse};
use crate::problem::Problem;

/// Files that are taken when no task is named, the first that exists.
pub const DEFAULT_FILES: &[&str] = &["task.md", "task.yaml", "task.json", "prompt.txt"];

/// The largest task file, in bytes.
pub const LARGEST: u64 = 1024 * 1024;

/// Where to read the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// This file.
    File(PathBuf),
    /// Standard input, as Markdown.
    Stdin,
    /// The first of [`DEFAULT_FILES`] in this directory.
    Directory(PathBuf),
}

impl Source {
    /// What the command line names: a path, `-` for standard input, nothing for the files in `directory`.
    #[must_use]
    pub fn named(argument: Option<&Path>, directory: &Path) -> Self {
        match argument {
            None => Self::Directory(directory.to_owned()),
            Some(path) if path == Path::new("-") => Self::Stdin,
            Some(path) => Self::File(path.to_owned()),
        }
    }

    /// Reads and parses the task. Blocks, without a limit where the source is a pipe that nobody closes.
    ///
    /// # Errors
    /// A [`Problem`] that names the file.
    pub fn load(&self) -> Result<Task, Problem> {
        match self {
            Self::Stdin => {
                let text = text_of(io::stdin().lock(), "standard input")?;
                parse(&text, Format::Markdown, "standard input")
            }
            Self::File(path) => file(path),
            Self::Directory(directory) => {
                match DEFAULT_FILES.iter().map(|name| directory.join(name)).find(|path| path.exists()) {
                    Some(path) => file(&path),
                    None => Err(Problem::new(
                        "task",
                        format!("no task named, and none of {} in {}", DEFAULT_FILES.join(", "), directory.display()),
                        "name a task file: openhands-runner run TASK",
                    )),
                }
            }
        }
    }
}

fn file(path: &Path) -> Result<Task, Problem> {
    let shown = path.display().to_string();
    let shown = shown.strip_prefix("./").unwrap_or(&shown);
    let unreadable =
        |error: io::Error| Problem::new(shown, format!("cannot be read ({error})"), "name a readable task file");
    let metadata = path.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(Problem::new(shown, "a directory", "name a task file in it"));
    }
    let text = text_of(std::fs::File::open(path).map_err(unreadable)?, shown)?;
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    parse(&text, Format::of_name(&name), shown)
}

fn text_of(source: impl Read, shown: &str) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    source
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Problem::new(shown, format!("cannot be read ({error})"), "name a readable task file"))?;
    if bytes.len() as u64 > LARGEST {
        let help = "a task says what to do; put data into a file that the agent reads";
        return Err(Problem::new(shown, "more than 1 MiB", help));
    }
    String::from_utf8(bytes).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        Problem::new(shown, format!("not UTF-8 (byte {place})"), "save it as UTF-8 text")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(name: &str, content: &[u8]) -> Result<Task, Problem> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        Source::File(path).load()
    }

    #[test]
    fn the_name_tells_the_format() {
        assert_eq!(load("a.json", br#"{"prompt": "x"}"#).unwrap().prompt, "x");
        assert_eq!(load("a.yml", b"prompt: x").unwrap().prompt, "x");
        assert_eq!(load("a", b"x").unwrap().prompt, "x");
        assert_eq!(load("prompt.txt", b"---\nx\n").unwrap().prompt, "---\nx\n");
    }

    #[test]
    fn unusable_files_are_named() {
        assert!(load("a.md", b"\xffabc").unwrap_err().to_string().contains("not UTF-8 (byte 0)"));
        let large = vec![b'x'; usize::try_from(LARGEST).unwrap() + 1];
        assert!(load("a.md", &large).unwrap_err().to_string().contains("more than 1 MiB"));
        let directory = tempfile::tempdir().unwrap();
        assert!(Source::File(directory.path().to_owned()).load().unwrap_err().found.contains("a directory"));
        assert!(Source::File(directory.path().join("no.md")).load().unwrap_err().found.contains("cannot be read"));
    }

    #[test]
    fn the_first_default_file_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let source = Source::named(None, directory.path());
        assert!(source.load().unwrap_err().found.contains("none of task.md, task.yaml, task.json, prompt.txt"));
        std::fs::write(directory.path().join("prompt.txt"), "second").unwrap();
        assert_eq!(source.load().unwrap().prompt, "second");
        std::fs::write(directory.path().join("task.md"), "first").unwrap();
        assert_eq!(source.load().unwrap().prompt, "first");
    }
}
