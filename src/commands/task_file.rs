//! The task file of a command that uploads it.

use std::io;
use std::path::{Path, PathBuf};

use super::upload::TaskUpload;
use crate::input::task::Task;
use crate::input::task::parse::{TaskFormat, parse};
use crate::input::task::source::{DEFAULT_FILES, Source, data_files, text_of};
use crate::problem::{Problem, Problems};

/// A task file with the other files that belong to it.
pub(super) struct TaskFile {
    /// The task.
    pub(super) parsed: Task,
    /// The unchanged files.
    pub(super) upload: TaskUpload,
}

impl TaskFile {
    /// Reads the named file (`-` for standard input), or else the first of the default files.
    ///
    /// # Errors
    /// [`Problems`] with the name of the file.
    pub(super) async fn read(named: Option<PathBuf>) -> Result<Self, Problems> {
        let read = tokio::task::spawn_blocking(move || read_task(named.as_deref())).await;
        read.unwrap_or_else(|bug| std::panic::resume_unwind(bug.into_panic()))
    }
}

fn read_task(named: Option<&Path>) -> Result<TaskFile, Problems> {
    let path = match named {
        Some(path) if path == Path::new("-") => return from_stdin(),
        Some(path) => path.to_owned(),
        None => match DEFAULT_FILES.iter().map(PathBuf::from).find(|path| path.exists()) {
            Some(path) => path,
            None => {
                return Err(Source::named(None, Path::new(".")).load().err().unwrap_or_else(|| changed("task").into()));
            }
        },
    };
    let parsed = Source::File(path.clone()).load()?;
    Ok(TaskFile { parsed, upload: files_of(&path)? })
}

/// Reads the task file and the files that belong to it, unchanged. Blocks.
///
/// # Errors
/// One of them cannot be read.
pub(super) fn files_of(path: &Path) -> Result<TaskUpload, Problem> {
    let read = |path: &Path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match std::fs::read(path) {
            Ok(content) => Ok((name, content)),
            Err(_) => Err(changed(&name)),
        }
    };
    let (name, content) = read(path)?;
    let data = data_files(path)
        .iter()
        .map(|path| read(path).map(|(name, content)| (name, content.into())))
        .collect::<Result<_, _>>()?;
    Ok(TaskUpload { name, content: content.into(), data })
}

fn from_stdin() -> Result<TaskFile, Problems> {
    let content = text_of(io::stdin().lock(), "standard input")?;
    let parsed = parse(&content, TaskFormat::Markdown, "standard input")?;
    let upload = TaskUpload { name: "task.md".to_owned(), content: content.into(), data: Vec::new() };
    Ok(TaskFile { parsed, upload })
}

fn changed(name: &str) -> Problem {
    Problem::new(name, "changed while it was read", "retry")
}
