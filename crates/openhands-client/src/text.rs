//! How errors, text from peers and lists are shown.

use std::error::Error;
use std::fmt::{self, Write as _};

/// Shows an error and its causes as `what: why: why`.
///
/// Errors of this crate never repeat their source in their own text; whoever prints one walks the chain.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing into a String cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

/// The innermost cause alone: what is left of a library's chain when its own layers are of no interest.
#[must_use]
pub fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Text from a peer, cut to a length that fits a log line or a callback.
#[must_use]
pub fn bounded(text: &str, longest: usize) -> String {
    let text = text.trim();
    match text.char_indices().nth(longest) {
        None => text.to_owned(),
        Some((cut, _)) => format!("{} […]", &text[..cut]),
    }
}

/// The end of a text from a program, which says why it ended.
#[must_use]
pub fn ending(text: &str, longest: usize) -> String {
    let text = text.trim();
    match text.char_indices().rev().nth(longest) {
        None => text.to_owned(),
        Some((cut, last)) => format!("[…] {}", &text[cut + last.len_utf8()..]),
    }
}

/// A list in prose: `a, b and c`; `none` when empty.
#[must_use]
pub fn listed<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match items.split_last() {
        None => "none".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_cuts_at_a_character() {
        assert_eq!(bounded(" äöü ", 3), "äöü");
        assert_eq!(bounded("äöüß", 3), "äöü […]");
        assert_eq!(ending(" äöü ", 3), "äöü");
        assert_eq!(ending("äöüß", 3), "[…] öüß");
    }

    #[test]
    fn listed_reads_as_prose() {
        assert_eq!(listed(Vec::<String>::new()), "none");
        assert_eq!(listed(["a"]), "a");
        assert_eq!(listed(["a", "b", "c"]), "a, b and c");
    }
}
