//! The source of the task: a named file, standard input if requested, or else a file in the working directory.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::Task;
use super::parse::{CheckMessages, TaskFormat, data, parse_checked, plain};
use crate::input::rows::Row;
use crate::problem::{Problem, Problems};
use openhands_client::text;

/// The files to look for if no task is named. The first that exists is used.
pub(crate) const DEFAULT_FILES: &[&str] = &["task.md", "task.yaml", "task.json", "prompt.txt"];

/// The maximum size of a task file, in bytes.
pub(crate) const LARGEST: u64 = 1024 * 1024;

/// The source of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// This file.
    File(PathBuf),
    /// Standard input, as Markdown.
    Stdin,
    /// The first of [`DEFAULT_FILES`] in this directory.
    Directory(PathBuf),
    /// This text, without parsing.
    Text(String),
    /// Standard input, without parsing.
    StdinText,
}

impl Source {
    /// Returns the source that the command line names: a path, `-` for standard input, or the default files in `directory`.
    #[must_use]
    pub(crate) fn named(argument: Option<&Path>, directory: &Path) -> Self {
        match argument {
            None => Self::Directory(directory.to_owned()),
            Some(path) if path == Path::new("-") => Self::Stdin,
            Some(path) => Self::File(path.to_owned()),
        }
    }

    /// Returns the source that `--prompt` names: the text, or `-` for standard input.
    #[must_use]
    pub(crate) fn prompt(argument: &str) -> Self {
        if argument == "-" { Self::StdinText } else { Self::Text(argument.to_owned()) }
    }

    /// Reads and parses the task. Blocks, without a limit if the source is a pipe that stays open.
    ///
    /// # Errors
    /// [`Problems`]: all errors in the task.
    pub(crate) fn load(&self) -> Result<Task, Problems> {
        self.load_for(None)
    }

    /// Reads and parses the task for a row, if there is one.
    ///
    /// # Errors
    /// The errors of [`Source::load`].
    pub(crate) fn load_for(&self, row: Option<&Row>) -> Result<Task, Problems> {
        self.load_checked(row, &|_| Vec::new())
    }

    /// Does the same. If a field is wrong, `check_messages` adds the errors in the messages.
    ///
    /// # Errors
    /// The errors of [`Source::load`].
    pub(crate) fn load_checked(&self, row: Option<&Row>, check_messages: CheckMessages<'_>) -> Result<Task, Problems> {
        self.read(&|text, format, file| parse_checked(text, format, file, row, check_messages))
    }

    /// Reads the task as a plain prompt: its fields are skipped, and no template is rendered.
    ///
    /// # Errors
    /// The errors of [`Source::load`].
    pub(crate) fn load_plain(&self) -> Result<Task, Problems> {
        self.read(&plain)
    }

    fn read(&self, parse: Parse<'_>) -> Result<Task, Problems> {
        match self {
            Self::Text(text) => parse(text, TaskFormat::Verbatim, "--prompt"),
            Self::StdinText => {
                let text = text_of(io::stdin().lock(), "standard input")?;
                parse(&text, TaskFormat::Verbatim, "standard input")
            }
            Self::Stdin => {
                let text = text_of(io::stdin().lock(), "standard input")?;
                parse(&text, TaskFormat::Markdown, "standard input")
            }
            Self::File(path) => file(path, parse),
            Self::Directory(directory) => {
                match DEFAULT_FILES.iter().map(|name| directory.join(name)).find(|path| path.exists()) {
                    Some(path) => file(&path, parse),
                    None => Err(Problems::from(Problem::new(
                        "task",
                        format!("no task named, and none of {} in {}", DEFAULT_FILES.join(", "), directory.display()),
                        "name a task file: openhands-runner run TASK",
                    ))),
                }
            }
        }
    }
}

/// Files that the automation service packs next to a `prompt.txt`, if they apply (`openhands-automation` 1.25.0).
const DATA_FILES: [&str; 3] = ["repos_config.json", "plugins_config.json", "experiment_config.json"];

/// Adds the files next to a prompt. An experiment replaces the plugins, as in the service's own script.
fn with_data(task: Task, prompt: &Path) -> Result<Task, Problems> {
    let [repos, plugins, experiment] = DATA_FILES.map(|name| prompt.with_file_name(name));
    let experiment = optional(&experiment)?;
    let plugins = if experiment.is_some() { None } else { optional(&plugins)? };
    Ok(Task { repos: optional(&repos)?.unwrap_or_default(), plugins: plugins.unwrap_or_default(), experiment, ..task })
}

/// Returns the files next to this task file that belong to it.
#[must_use]
pub(crate) fn data_files(task: &Path) -> Vec<PathBuf> {
    let name = task.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let names = if TaskFormat::of_name(&name) == TaskFormat::Verbatim { &DATA_FILES[..] } else { &[] };
    names.iter().map(|name| task.with_file_name(name)).filter(|path| path.exists()).collect()
}

fn optional<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Problems> {
    if !path.exists() {
        return Ok(None);
    }
    let shown = path.display().to_string();
    let shown = shown.strip_prefix("./").unwrap_or(&shown);
    let file = std::fs::File::open(path).map_err(|error| {
        Problem::new(shown, format!("cannot be read ({error})"), "make it readable or take it away")
    })?;
    data(&text_of(file, shown)?, shown).map(Some)
}

/// Parses the text of a task.
type Parse<'r> = &'r dyn Fn(&str, TaskFormat, &str) -> Result<Task, Problems>;

/// Returns whether a name is probably a prompt: it consists of several words, and no file has that name.
fn is_prompt(name: &str) -> bool {
    name.split_whitespace().count() > 1 && !name.contains('/')
}

fn file(path: &Path, parse: Parse<'_>) -> Result<Task, Problems> {
    let shown = path.display().to_string();
    let shown = shown.strip_prefix("./").unwrap_or(&shown);
    let unreadable =
        |error: io::Error| Problem::new(shown, format!("cannot be read ({error})"), "name a readable task file");
    let metadata = path.metadata().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename if is_prompt(shown) => {
            let found = format!("`{}` is not a file; it looks like a prompt", text::bounded(shown, 60));
            Problem::new("task", found, "give a prompt with `-p`: openhands-runner run -p \"…\"")
        }
        _ => unreadable(error),
    })?;
    if metadata.is_dir() {
        return Err(Problem::new(shown, "a directory", "name a task file in it").into());
    }
    let text = text_of(std::fs::File::open(path).map_err(unreadable)?, shown)?;
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let format = TaskFormat::of_name(&name);
    let task = parse(&text, format, shown)?;
    if format == TaskFormat::Verbatim { with_data(task, path) } else { Ok(task) }
}

/// Reads a task's text, up to the maximum size.
pub(crate) fn text_of(source: impl Read, shown: &str) -> Result<String, Problem> {
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

    fn load(name: &str, content: &[u8]) -> Result<Task, Problems> {
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
        assert!(Source::File(directory.path().to_owned()).load().unwrap_err().to_string().contains("a directory"));
        assert!(
            Source::File(directory.path().join("no.md")).load().unwrap_err().to_string().contains("cannot be read")
        );
    }

    #[test]
    fn a_prompt_in_the_place_of_a_file_is_recognised() {
        let problem = Source::File("fix the tests".into()).load().unwrap_err().to_string();
        assert!(problem.contains("`fix the tests` is not a file; it looks like a prompt; give a prompt with `-p`"));
        assert_eq!(Source::Text("Fix {{ it }}".to_owned()).load().unwrap().prompt, "Fix {{ it }}");
    }

    #[test]
    fn the_examples_are_tasks() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        let tasks: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        let tasks: Vec<_> = tasks.iter().filter(|path| path.extension().is_some_and(|name| name == "md")).collect();
        assert!(tasks.len() > 1, "{tasks:?}");
        for task in tasks {
            Source::File(task.clone()).load().unwrap();
        }
    }

    #[test]
    fn a_packed_prompt_has_the_data_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| std::fs::write(directory.path().join(name), content).unwrap();
        let load = || Source::Directory(directory.path().to_owned()).load();
        write("prompt.txt", "Use {{ this }}.\n");
        write(
            "repos_config.json",
            r#"[{"url": "file:///srv/demo"}, {"url": "o/r", "ref": "v1", "provider": "gitlab"}]"#,
        );
        write("plugins_config.json", r#"[{"source": "/a/plugin"}]"#);
        let task = load().unwrap();
        assert_eq!(task.prompt, "Use {{ this }}.\n");
        assert_eq!(task.repos.len(), 2);
        assert_eq!(task.plugins[0].source, "/a/plugin");

        let variant =
            r#"{"name": "A", "weight": 1, "model": null, "plugins": [{"source": "github:o/r", "ref": "v1"}]}"#;
        write("experiment_config.json", &format!(r#"{{"experiment_id": "e", "variants": [{variant}]}}"#));
        let task = load().unwrap();
        assert!(task.plugins.is_empty());
        assert_eq!(task.experiment.unwrap().variants[0].plugins[0].source, "github:o/r");

        write("repos_config.json", "[\n{\"url\": \"o/r\"}]");
        let problem = load().unwrap_err().to_string();
        assert!(
            problem.contains("repos_config.json:2:1: `[0]`: the short address `o/r` without a provider"),
            "{problem}"
        );
    }

    #[test]
    fn fields_that_a_newer_service_has_added_are_no_error() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| std::fs::write(directory.path().join(name), content).unwrap();
        let load = || Source::Directory(directory.path().to_owned()).load();
        write("prompt.txt", "Do the task.");
        write("repos_config.json", r#"["file:///a", {"url": "file:///b", "depth": 1, "ref": "v1", "lfs": true}]"#);
        let plugin = r#"{"source": "/a/plugin", "checksum": "x"}"#;
        write(
            "experiment_config.json",
            &format!(
                r#"{{"experiment_id": "e", "ends": 5, "variants": [{{"name": "A", "weight": 1, "plugins": [{plugin}]}}]}}"#
            ),
        );
        let task = load().unwrap();
        assert_eq!(task.repos[1].git_ref.as_deref(), Some("v1"));
        assert_eq!(task.experiment.unwrap().variants[0].plugins[0].source, "/a/plugin");

        write("experiment_config.json", r#"{"ends": 5, "variants": [{"name": "A", "weight": 1}]}"#);
        let problem = load().unwrap_err().to_string();
        assert!(problem.contains("`experiment_id` is missing") && !problem.contains("ends"), "{problem}");
        std::fs::remove_file(directory.path().join("experiment_config.json")).unwrap();

        write("repos_config.json", r#"[{"url": "file:///a", "depth": 1, "ref": "-x"}]"#);
        let problem = load().unwrap_err().to_string();
        assert!(problem.contains("repos_config.json:1:42: `[0].ref`: `-x` is not the name"), "{problem}");
    }

    #[test]
    fn the_first_default_file_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let source = Source::named(None, directory.path());
        assert!(source.load().unwrap_err().to_string().contains("none of task.md, task.yaml, task.json, prompt.txt"));
        std::fs::write(directory.path().join("prompt.txt"), "second").unwrap();
        assert_eq!(source.load().unwrap().prompt, "second");
        std::fs::write(directory.path().join("task.md"), "first").unwrap();
        assert_eq!(source.load().unwrap().prompt, "first");
    }
}
