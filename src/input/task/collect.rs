//! The patterns of `collect`: workspace files that a run collects.

use std::path::{Component, Path};

use glob::{MatchOptions, Pattern};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

use crate::problem::{Mistake, shown};

const HELP: &str =
    "give a path in the working directory, where `*` is a part of a name and `**` any folders, such as `report/**`";

/// How paths match: `*` and `?` do not match a `/`.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

/// A pattern for files in the working directory. A folder stands for all files in it.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub(crate) struct CollectPattern(Pattern);

impl CollectPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    fn new(text: &str) -> Result<Self, Mistake> {
        let path = Path::new(text.trim());
        let wrong = |what: &str| Mistake::new(format!("{} {what}", shown(text)), HELP);
        if let Some(other) = of_another_tool(text.trim()) {
            return Err(wrong(other));
        }
        let mut names = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => names.push(name.to_string_lossy()),
                Component::CurDir => {}
                _ => return Err(wrong("leads out of the working directory")),
            }
        }
        if names.is_empty() {
            return Err(wrong("names no files"));
        }
        let pattern =
            Pattern::new(&names.join("/")).map_err(|error| wrong(&format!("is not a pattern: {}", error.msg)))?;
        Ok(Self(pattern))
    }

    /// Returns the pattern as it is shown to people.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns whether the file at this path, relative to the working directory, is collected.
    #[must_use]
    pub(crate) fn matches(&self, path: &Path) -> bool {
        path.ancestors().any(|path| !path.as_os_str().is_empty() && self.0.matches_path_with(path, OPTIONS))
    }

    /// Returns the folder or file, relative to the working directory, that contains everything that matches; `.` is the working
    /// directory.
    #[must_use]
    pub(crate) fn base(&self) -> String {
        let is_plain = |name: &&str| !name.contains(['*', '?', '[']);
        let base: Vec<&str> = self.0.as_str().split('/').take_while(is_plain).collect();
        if base.is_empty() { ".".to_owned() } else { base.join("/") }
    }
}

/// Returns the part of a pattern that only a shell or another tool supports. It would match nothing here.
fn of_another_tool(pattern: &str) -> Option<&'static str> {
    let has_choice = pattern.split('{').skip(1).any(|rest| rest.split('}').next().is_some_and(|of| of.contains(',')));
    match pattern.chars().next() {
        Some('~' | '$') => Some("begins with what only a shell replaces"),
        Some('!') => Some("excludes files, which no pattern does"),
        _ if pattern.contains('\\') => Some("has a `\\`"),
        _ if has_choice && pattern.contains('}') => Some("has a choice in braces; give each an item of its own"),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for CollectPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_files_and_whole_folders() {
        for (pattern, path, matches) in [
            ("report/**", "report/a/b.html", true),
            ("report/**", "report/a", true),
            ("report/**", "reports/a", false),
            ("report", "report/a/b.html", true),
            ("./report/", "report/a", true),
            ("*.xml", "junit.xml", true),
            ("*.xml", "a/junit.xml", false),
            ("**/*.xml", "junit.xml", true),
            ("**/*.xml", "a/b/junit.xml", true),
            ("**/report", "a/report/x", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            (".cache/*", ".cache/.hidden", true),
        ] {
            assert_eq!(CollectPattern::new(pattern).unwrap().matches(Path::new(path)), matches, "{pattern} {path}");
        }
    }

    #[test]
    fn only_what_can_match_is_listed() {
        for (pattern, base) in
            [("report/**", "report"), ("a/b/*.txt", "a/b"), ("a/b.txt", "a/b.txt"), ("*.txt", "."), ("**", ".")]
        {
            assert_eq!(CollectPattern::new(pattern).unwrap().base(), base, "{pattern}");
        }
    }

    #[test]
    fn what_is_no_pattern_of_the_workspace_is_refused_with_what_to_write() {
        for (pattern, found) in [
            ("/etc/passwd", "leads out of"),
            ("../secrets", "leads out of"),
            ("a/../../b", "leads out of"),
            ("", "names no files"),
            (".", "names no files"),
            ("a**", "is not a pattern"),
            ("[a", "is not a pattern"),
            ("~/report", "only a shell replaces"),
            ("$HOME/report", "only a shell replaces"),
            ("!report/x", "excludes files"),
            ("report\\**", "has a `\\`"),
            ("report/*.{xml,html}", "a choice in braces"),
        ] {
            let mistake = CollectPattern::new(pattern).unwrap_err().to_string();
            assert!(mistake.contains(found), "{pattern}: {mistake}");
        }
    }
}
