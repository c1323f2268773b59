//! Paths of working directories, in the form that the agent-server expects.

use std::path::{Component, Path, PathBuf};

use super::env;

/// How the path of a working directory is interpreted.
#[derive(Debug, Clone)]
pub(crate) struct WorkingDirs {
    /// Whether the agent-server has another file system.
    pub(crate) is_outside: bool,
    /// The base of relative paths and `~`. Without it, they are left as they are.
    pub(crate) here: Option<Here>,
}

impl WorkingDirs {
    /// Returns the absolute path: the agent-server would resolve a relative path against its own directory, and take `~` for a
    /// name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn absolute(&self, path: &str) -> Result<String, String> {
        let path = path.trim();
        if let Some(problem) = no_path_of_a_server(path) {
            return Err(problem.to_owned());
        }
        if path.starts_with('/') {
            return Ok(path.to_owned());
        }
        let Some(here) = &self.here else { return Ok(path.to_owned()) };
        if self.is_outside {
            return Err("a relative path: the agent-server is on another machine".to_owned());
        }
        let absolute = match path.strip_prefix('~') {
            Some("") => here.home.clone(),
            Some(rest) if rest.starts_with('/') => {
                here.home.as_ref().map(|home| home.join(rest.trim_start_matches('/')))
            }
            Some(_) => return Err("the home directory of another user".to_owned()),
            None => Some(normal(&here.directory.join(path))),
        };
        let absolute = absolute.ok_or("`~`, and HOME is not set")?;
        absolute.to_str().map(str::to_owned).ok_or_else(|| "a path that is not UTF-8".to_owned())
    }
}

/// Advice for an invalid working directory.
pub(crate) const WORKING_DIR_HELP: &str = "give an absolute path, such as /workspace/project";

/// Returns why this name is probably a mistake. The agent-server would create a directory of this name.
fn no_path_of_a_server(path: &str) -> Option<&'static str> {
    let is_variable = |part: &str| {
        let name = part.strip_prefix('$').map(|name| name.trim_start_matches(['{', '(']));
        let of_windows = part.strip_prefix('%').and_then(|name| name.strip_suffix('%'));
        name.or(of_windows).is_some_and(|name| name.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_'))
    };
    let has_drive = matches!(path.as_bytes(), [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic());
    if path.split(['/', '\\']).any(is_variable) {
        Some("a variable in a path: no shell replaces it here")
    } else if path.contains("://") {
        Some("an address in place of a path")
    } else if path.starts_with(['"', '\'']) {
        Some("a path in quotes")
    } else if has_drive {
        Some("a Windows path, which the agent-server does not understand")
    } else {
        None
    }
}

/// Returns the path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

/// The base of relative paths and `~`.
#[derive(Debug, Clone)]
pub(crate) struct Here {
    /// The current directory.
    pub(crate) directory: PathBuf,
    /// `HOME`.
    pub(crate) home: Option<PathBuf>,
}

impl Here {
    /// Returns the directories of this process.
    pub(crate) fn of_process() -> Option<Self> {
        let home = env::variable("HOME").map(|home| PathBuf::from(home.expose()));
        std::env::current_dir().ok().map(|directory| Self { directory, home: home.filter(|home| home.is_absolute()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_another_program_would_replace_is_refused() {
        let here = Here { directory: "/here".into(), home: Some("/home/me".into()) };
        let inside = WorkingDirs { is_outside: false, here: Some(here) };
        for path in [
            "$HOME/x",
            "${HOME}",
            "/home/$USER/x",
            "x/$(pwd)",
            "%USERPROFILE%\\x",
            "file:///srv",
            "C:\\work",
            "d:/work",
        ] {
            assert!(inside.absolute(path).is_err(), "{path}");
        }
        for (path, absolute) in [
            ("/srv/a$b", "/srv/a$b"),
            ("100%", "/here/100%"),
            ("$", "/here/$"),
            ("a:b", "/here/a:b"),
            ("~/x", "/home/me/x"),
        ] {
            assert_eq!(inside.absolute(path).as_deref(), Ok(absolute));
        }
    }
}
