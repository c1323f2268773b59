//! The files that the checks call, and which of them were changed since the agent started.
//!
//! A check is only as good as the script that it calls, and the agent can change that. So the result names what was changed. The file
//! names are taken from the command line alone; what a script itself calls is not known.

use std::time::Duration;

use openhands_client::text;

use super::super::warnings::Warnings;
use crate::plan::commands::CommandPlan;
use crate::run::task_command::Place;

/// Prints a digest for each of the files.
const DIGESTS: &str = include_str!("digests.sh");
/// How long that may take.
const LIMIT: Duration = Duration::from_secs(20);
/// The largest number of files of a command line that are checked.
const MOST: usize = 100;
/// The longest path, in bytes.
const LONGEST: usize = 500;
const UNKNOWN: &str = "it is not known whether the agent changes the scripts of the checks";

/// Files that a program reads without being named, in the directory in which it runs.
const IMPLIED: &[(&str, &[&str])] = &[
    ("make", &["GNUmakefile", "makefile", "Makefile"]),
    ("just", &["justfile", "Justfile", ".justfile"]),
    ("npm", &["package.json"]),
    ("pnpm", &["package.json"]),
    ("yarn", &["package.json"]),
    ("pytest", &["conftest.py", "pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg"]),
    ("tox", &["tox.ini", "pyproject.toml"]),
    ("nox", &["noxfile.py"]),
    ("rake", &["Rakefile"]),
    ("task", &["Taskfile.yml", "Taskfile.yaml"]),
];

/// The files of each check, with their digests before the agent started.
#[derive(Debug)]
pub(in crate::run) struct Scripts(Vec<Vec<(String, String)>>);

impl Scripts {
    /// Looks at the files of these checks. In a run that starts again the agent may have changed them before.
    pub(in crate::run) async fn before(
        place: Place<'_>,
        checks: &[CommandPlan],
        is_first: bool,
        warnings: &Warnings,
    ) -> Self {
        let mut scripts = Vec::new();
        for check in checks {
            let files = files(&check.run);
            let found =
                if is_first { digests(place, &files).await } else { Err("the run has started again".to_owned()) };
            match found {
                Ok(digests) => scripts.push(files.into_iter().zip(digests).collect()),
                Err(reason) => {
                    warnings.warn(format!("{UNKNOWN}: {reason}"));
                    return Self(Vec::new());
                }
            }
        }
        Self(scripts)
    }

    /// The files of this check that were changed since.
    pub(super) async fn changed(&self, place: Place<'_>, check: usize, warnings: &Warnings) -> Vec<String> {
        let Some(before) = self.0.get(check) else { return Vec::new() };
        let files: Vec<String> = before.iter().map(|(file, _)| file.clone()).collect();
        let now = match digests(place, &files).await {
            Ok(now) => now,
            Err(reason) => {
                warnings.warn(format!("{UNKNOWN}: {reason}"));
                return Vec::new();
            }
        };
        let changed = before.iter().zip(now).filter(|((_, before), now)| before != now);
        changed.map(|((file, _), _)| file.clone()).collect()
    }
}

/// The digests of files, in their order.
async fn digests(place: Place<'_>, files: &[String]) -> Result<Vec<String>, String> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let words = ["sh", "-c", DIGESTS, "digests", place.working_dir].into_iter().chain(files.iter().map(String::as_str));
    let done = place.server.client.execute(&shell_words::join(words), LIMIT).await;
    let done = done.map_err(|error| text::chain(&error))?;
    let digests: Vec<String> = done.stdout().lines().map(str::to_owned).collect();
    if done.is_success() && digests.len() == files.len() {
        Ok(digests)
    } else {
        Err(format!("no digests: {}", text::one_line(done.stderr(), 200)))
    }
}

/// What may be a file in a command line, and what its programs read without being named.
fn files(line: &str) -> Vec<String> {
    let is_separator = |char: char| char.is_whitespace() || ";&|()<>{}\"'`$=,".contains(char);
    let words: Vec<&str> = line.split(is_separator).filter(|word| !word.is_empty()).collect();
    let mut folders = vec![""];
    folders.extend(
        words.windows(2).filter(|pair| ["cd", "-C", "--directory", "--prefix"].contains(&pair[0])).map(|pair| pair[1]),
    );
    let mut names: Vec<&str> = Vec::new();
    for word in words {
        let program = word.rsplit('/').next().unwrap_or_default();
        let implied = IMPLIED.iter().filter(|(name, _)| *name == program).flat_map(|(_, files)| files.iter().copied());
        let is_file = !word.starts_with('-') && !word.contains(['*', '?', '[']);
        names.extend(is_file.then_some(word).into_iter().chain(implied));
    }
    let mut files: Vec<String> = Vec::new();
    for folder in folders {
        for name in &names {
            let file = match folder {
                "" => (*name).to_owned(),
                _ if name.starts_with('/') => continue,
                _ => format!("{}/{name}", folder.trim_end_matches('/')),
            };
            if file.len() <= LONGEST && files.len() < MOST && !files.contains(&file) {
                files.push(file);
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_files_of_a_command_line_are_its_words_and_what_its_programs_read() {
        for (line, expected) in [
            ("./check.sh --fast", &["./check.sh"][..]),
            ("bash -c 'sh tests/run.sh && echo ok'", &["bash", "sh", "tests/run.sh", "echo", "ok"]),
            (
                "X=$(cat a.txt) /bin/make test",
                &["X", "cat", "a.txt", "/bin/make", "GNUmakefile", "makefile", "Makefile", "test"],
            ),
            ("cd web && ./x", &["cd", "web", "./x", "web/cd", "web/web", "web/./x"]),
            ("ls *.rs", &["ls"]),
        ] {
            assert_eq!(files(line), expected, "{line}");
        }
        assert_eq!(files(&"word ".repeat(3)), ["word"]);
        let many: Vec<String> = (0..1000).map(|number| format!("f{number}")).collect();
        assert_eq!(files(&many.join(" ")).len(), MOST);
    }

    #[test]
    fn a_digest_changes_with_the_content_and_what_is_no_file_has_none() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a b"), "one").unwrap();
        std::fs::create_dir(folder.path().join("dir")).unwrap();
        let digests = || {
            let files = ["a b", "dir", "missing"];
            let words = ["-c", DIGESTS, "digests", folder.path().to_str().unwrap()];
            let done = Command::new("sh").args(words).args(files).output().unwrap();
            assert!(done.status.success());
            String::from_utf8(done.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let before = digests();
        assert_eq!((before.len(), &*before[1], &*before[2]), (3, "-", "-"));
        std::fs::write(folder.path().join("a b"), "two").unwrap();
        std::fs::write(folder.path().join("missing"), "").unwrap();
        let after = digests();
        assert!(after[0] != before[0] && after[1] == "-" && after[2] != "-", "{before:?} {after:?}");
    }
}
