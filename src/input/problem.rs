//! What is wrong with something that the user gave: where, what was found, what to do.

use std::fmt;

use openhands_client::text;

/// One thing that the user has to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// A variable, a flag, or file, line and field.
    pub(crate) place: String,
    /// What is there. Never a secret.
    pub(crate) found: String,
    /// What would be right.
    pub(crate) help: String,
}

impl Problem {
    /// A problem at a place.
    pub(crate) fn new(place: impl Into<String>, found: impl Into<String>, help: impl Into<String>) -> Self {
        Self { place: place.into(), found: found.into(), help: help.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.place, self.found, self.help)
    }
}

/// All that the user has to mend before a run can start, in one message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

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

/// The known name nearest to what was written, if any is near enough to be meant.
#[must_use]
pub(crate) fn nearest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    const NEAR_ENOUGH: f64 = 0.7;
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&written.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness > NEAR_ENOUGH)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

/// The advice for an unknown name: the nearest known one if there is one, and all of them.
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
    }

    #[test]
    fn several_problems_are_one_message() {
        let one = Problem::new("A", "found 1", "give 2");
        assert_eq!(Problems::from(one.clone()).to_string(), "A: found 1; give 2");
        let both = Problems(vec![one.clone(), one]).to_string();
        assert_eq!(both, "2 problems:\n  - A: found 1; give 2\n  - A: found 1; give 2");
    }
}
