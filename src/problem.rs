//! Errors in the user's input: where, what was found, and what to do.

use std::fmt;

use openhands_client::{redact, text};
use schemars::JsonSchema;
use serde::Serialize;

/// An error that the user has to correct.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Problem {
    /// The place: a variable, a flag, or file, line and column.
    pub(crate) place: String,
    /// What was found. It never contains a secret.
    pub(crate) found: String,
    /// What is expected.
    pub(crate) help: String,
}

impl Problem {
    /// Creates a problem at a place.
    pub(crate) fn new(place: impl Into<String>, found: impl Into<String>, help: impl Into<String>) -> Self {
        Self { place: place.into(), found: found.into(), help: help.into() }
    }

    /// Returns the problem with each text changed.
    pub(crate) fn map(&self, change: impl Fn(&str) -> String) -> Self {
        Self::new(change(&self.place), change(&self.found), change(&self.help))
    }
}

/// An invalid value whose place is unknown where it is checked. It passes through a parser as text, and the parser knows the
/// place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found}{BETWEEN}{help}")]
pub(crate) struct Mistake {
    /// What was found. It never contains a secret.
    pub(crate) found: String,
    /// What is expected.
    pub(crate) help: String,
}

const BETWEEN: &str = "; help: ";

impl Mistake {
    /// Creates a mistake.
    pub(crate) fn new(found: impl Into<String>, help: impl Into<String>) -> Self {
        Self { found: found.into(), help: help.into() }
    }

    /// Parses the text of a mistake.
    #[must_use]
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        text.split_once(BETWEEN).map(|(found, help)| Self::new(found, help))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The place may contain the name of a field, and the other texts may contain words of a stranger.
        let line = |text: &str| text::one_line(&redact::mask_suspected(text), LONGEST_PART);
        write!(f, "{}: {}; {}", line(&self.place), line(&self.found), line(&self.help))
    }
}

/// The longest part of a problem that is shown, in characters.
const LONGEST_PART: usize = 1000;

/// All errors that the user has to correct before a run can start, in one message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl Problems {
    /// Joins the problems of several parts of the input.
    pub(crate) fn of(parts: impl IntoIterator<Item = Self>) -> Self {
        Self(parts.into_iter().flat_map(|part| part.0).collect())
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => write!(f, "{only}"),
            several => {
                write!(f, "{} problems:", several.len())?;
                several.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
            }
        }
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

/// Returns a value as an error may show it: short, on one line, and only if it cannot be a key, because users sometimes paste a
/// key into the wrong place.
#[must_use]
pub(crate) fn shown(value: &str) -> String {
    /// For longer words, only the length is shown.
    const LONGEST: usize = 40;
    let value = value.trim();
    if may_be_key(value) || value.chars().count() > LONGEST {
        return format!("a text of {} characters that is not shown", value.chars().count());
    }
    format!("`{}`", text::one_line(value, LONGEST))
}

/// Returns whether a word looks like a key: it has the prefix of a key, is random, mixes letters and digits, or is a URL with a
/// password.
#[must_use]
pub(crate) fn may_be_key(value: &str) -> bool {
    let holds = |kind: fn(char) -> bool| value.chars().any(kind);
    // Some kinds of keys contain slashes, but a path is less random.
    let is_path = value.contains('/')
        && !value.contains("://")
        && (value.starts_with(['/', '.', '~']) || value.contains('.') || !is_random(value, 6));
    let is_mixed = holds(|char| char.is_ascii_digit()) && holds(char::is_alphabetic) && value.len() >= 12;
    ((is_mixed || is_random(value, 4)) && !is_path)
        || redact::is_token(value)
        || (value.contains("://") && value.contains(['@', '?']))
        || redact::mask_suspected(value) != value
}

/// Returns whether letters, capitals and digits alternate as in a random word, on average after at most `per_change` characters.
/// A name of several words has fewer changes.
fn is_random(value: &str, per_change: usize) -> bool {
    let is_change = |pair: &[u8]| {
        let are_both = pair.iter().all(u8::is_ascii_alphanumeric);
        let is_capital = pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase();
        are_both && (is_capital || pair[0].is_ascii_digit() != pair[1].is_ascii_digit())
    };
    let changes = value.as_bytes().windows(2).filter(|pair| is_change(pair)).count();
    let length = value.bytes().filter(u8::is_ascii_alphanumeric).count();
    length >= 12 && changes >= 4 && changes * per_change >= length
}

/// Returns the known name that is most similar to the written one, if any is similar enough.
#[must_use]
pub(crate) fn nearest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // `script` is not a misspelled `description` (0.85), but `parameter` is a misspelled `params` (0.88).
    const NEAR_ENOUGH: f64 = 0.86;
    known
        .into_iter()
        // Two short words may share half of their letters without being related.
        .filter(|name| written.chars().count() > 2 || name.chars().count() <= 4)
        .map(|name| (strsim::jaro_winkler(&written.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness > NEAR_ENOUGH)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

/// Returns advice for an unknown name: the most similar known one, if there is one, and all known names.
#[must_use]
pub(crate) fn did_you_mean(written: &str, known: &[&str]) -> String {
    let all = text::listed(known.iter().map(|name| format!("`{name}`")));
    match nearest(written, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`? Known are {all}"),
        None => format!("known are {all}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let known = ["timeout", "cost", "iterations"];
        assert_eq!(nearest("tmieout", known), Some("timeout"));
        assert_eq!(nearest("Iteration", known), Some("iterations"));
        assert_eq!(nearest("xyzzy", known), None);
        let fields =
            ["agent", "checks", "collect", "description", "params", "result", "salvage", "secrets", "setup", "then"];
        for other in ["event", "script", "services", "stage", "steps", "rules", "user", "version", "when", "context"] {
            assert_eq!(nearest(other, fields), None, "{other}");
        }
        for (written, meant) in [
            ("agnet", "agent"),
            ("check", "checks"),
            ("colect", "collect"),
            ("secrtes", "secrets"),
            ("parameter", "params"),
            ("results", "result"),
        ] {
            assert_eq!(nearest(written, fields), Some(meant));
        }
    }

    #[test]
    fn a_value_that_may_be_a_key_is_not_shown() {
        for value in
            ["sk-ant-api03-x", "ghp_0123456789abcdef", "a1b2c3d4e5f6g7", "https://u:p@h/", "two words and a b1c2d3e4"]
        {
            assert!(!shown(value).contains(value), "{value}");
        }
        // A key of letters only, an AWS key with slashes, and a key after a scheme.
        for value in ["kQdWxRbTzLmKpJvY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "Bearer kQdWxRbTzLmKpJvY"] {
            assert!(!shown(value).contains(value), "{value}");
        }
        for value in [
            "70000",
            "x",
            "abc",
            "3 minutes",
            "3,5",
            "tru",
            "maxOutputTokens",
            "src/MyApp/Main2Test",
            "/tmp/A1b2C3d4E5",
        ] {
            assert_eq!(shown(value), format!("`{value}`"));
        }
        assert_eq!(shown("a\n::error::b"), "`a ::error::b`");
    }

    #[test]
    fn several_problems_are_one_message() {
        let one = Problem::new("A", "found 1", "give 2");
        assert_eq!(Problems::from(one.clone()).to_string(), "A: found 1; give 2");
        let both = Problems(vec![one.clone(), one]).to_string();
        assert_eq!(both, "2 problems:\n  - A: found 1; give 2\n  - A: found 1; give 2");
    }
}
