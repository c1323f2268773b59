//! Formatting of errors, lists, and text from outside.
//!
//! Text from outside was written by a peer, an agent or a stranger. Before it gets into a log, a terminal, a phase or a report,
//! it passes through [`one_line`], or through [`printable`] if its line breaks matter.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write as _};

/// Formats an error and its causes as `what: why: why`.
///
/// Errors of this crate never include their source in their own text; the code that prints an error walks the chain.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a `String` cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

/// Returns the text of the innermost cause, for errors of libraries whose outer layers add nothing.
#[must_use]
pub fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Returns text from outside as one line of at most `longest` characters, with a mark if it was cut.
///
/// White space becomes one blank. Terminal escapes, control characters, invisible characters and characters that change the
/// reading direction are removed. The line does not start like a workflow command of a CI system (`::error::`, `##[error]`).
#[must_use]
pub fn one_line(text: &str, longest: usize) -> String {
    // Most texts already have this form. Checking for it takes a fraction of the time of processing each character.
    if text.len() <= longest && is_plain_line(text) {
        return without_command(text).into_owned();
    }
    // Removing characters never makes a text longer, so the rest of a huge text can be skipped.
    let (mut line, mut count, mut is_gap, mut is_cut) = (String::new(), 0, false, false);
    for char in without_escapes(text) {
        if char.is_whitespace() {
            is_gap = !line.is_empty();
            continue;
        }
        if is_invisible(char) {
            continue;
        }
        if count + usize::from(is_gap) >= longest {
            is_cut = true;
            break;
        }
        if std::mem::take(&mut is_gap) {
            line.push(' ');
            count += 1;
        }
        line.push(char);
        count += 1;
    }
    let mut line = without_command(&line).into_owned();
    if is_cut {
        line.push_str(" […]");
    }
    line
}

/// Returns whether the text is words of visible ASCII with one blank between them.
fn is_plain_line(text: &str) -> bool {
    let mut before = b' ';
    let is_plain = text.bytes().all(|byte| {
        let follows = byte.is_ascii_graphic() || (byte == b' ' && before != b' ');
        before = byte;
        follows
    });
    is_plain && before != b' '
}

/// Returns text from outside with its line breaks and tabs, but without the other characters that [`one_line`] removes.
#[must_use]
pub fn printable(text: &str) -> String {
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\t'));
    let kept = |char: &char| matches!(char, '\n' | '\t') || !is_invisible(*char);
    let cleaned = if is_plain { Cow::Borrowed(text) } else { without_escapes(text).filter(kept).collect() };
    let mut shown = String::with_capacity(cleaned.len());
    for line in cleaned.split_inclusive('\n') {
        shown.push_str(&without_command(line));
    }
    shown
}

/// Returns the characters of a text without terminal escape sequences: `ESC [ … m`, `ESC ] … BEL` and similar ones.
fn without_escapes(text: &str) -> impl Iterator<Item = char> {
    /// Anything longer is not an escape sequence.
    const LONGEST_SEQUENCE: usize = 4096;
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let char = rest.chars().next()?;
            rest = &rest[char.len_utf8()..];
            let (kind, after) = match char {
                '\u{1b}' => match rest.chars().next() {
                    Some(kind @ ('[' | ']' | 'P' | 'X' | '^' | '_')) => (kind, &rest[1..]),
                    _ => continue,
                },
                '\u{9b}' => ('[', rest),
                '\u{9d}' => (']', rest),
                '\u{90}' | '\u{98}' | '\u{9e}' | '\u{9f}' => ('P', rest),
                char => return Some(char),
            };
            // A sequence without a valid end counts as text.
            let is_inside = |char: char| if kind == '[' { (' '..='?').contains(&char) } else { !char.is_control() };
            let end = after.char_indices().take(LONGEST_SEQUENCE).find(|(_, char)| !is_inside(*char));
            rest = match end {
                Some((at, '@'..='~')) if kind == '[' => &after[at + 1..],
                Some((at, end @ ('\u{7}' | '\u{9c}'))) if kind != '[' => &after[at + end.len_utf8()..],
                Some((at, '\u{1b}')) if kind != '[' => after[at + 1..].strip_prefix('\\').unwrap_or(after),
                _ => after,
            };
        }
    })
}

/// Returns whether a character is a control character, or an invisible format character of Unicode: a zero-width character, one
/// that changes the reading direction, or a tag.
#[must_use]
pub fn is_invisible(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Returns a line that is not a workflow command: CI systems execute lines that start with `::`, `##[` or `##vso[`.
fn without_command(line: &str) -> Cow<'_, str> {
    let start = line.len() - line.trim_start().len();
    let command = &line[start..];
    if command.starts_with("::") || command.starts_with("##[") || command.starts_with("##vso[") {
        return Cow::Owned(format!("{}{} {}", &line[..start], &command[..1], &command[1..]));
    }
    Cow::Borrowed(line)
}

/// Cuts a text to a length that fits in a log line or a callback.
#[must_use]
pub fn bounded(text: &str, longest: usize) -> String {
    let text = text.trim();
    match text.char_indices().nth(longest) {
        None => text.to_owned(),
        Some((cut, _)) => format!("{} […]", &text[..cut]),
    }
}

/// Returns the end of a program's output, which usually says why the program ended.
#[must_use]
pub fn ending(text: &str, longest: usize) -> String {
    let text = text.trim();
    match text.char_indices().rev().nth(longest) {
        None => text.to_owned(),
        Some((cut, last)) => format!("[…] {}", &text[cut + last.len_utf8()..]),
    }
}

/// Formats a list as prose: `a, b and c`; `none` if it is empty.
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
    fn text_from_outside_is_one_bounded_line_that_commands_nothing() {
        for (text, line) in [
            (" a\r\n\tb ", "a b"),
            ("tool\n2026-01-01 ERROR forged", "tool 2026-01-01 ERROR forged"),
            ("::error::x", ": :error::x"),
            ("\n ##[error]x", "# #[error]x"),
            ("\u{1b}]52;c;ZXZpbA==\u{7}clip", "clip"),
            ("\u{1b}]0;title\u{1b}\\rest", "rest"),
            ("\u{1b}[31mred\u{1b}[0m\u{9b}2J", "red"),
            ("a\u{202e}b\u{2066}c\u{feff}d\u{200b}e\u{e0041}", "abcde"),
            ("\u{200b}::add-mask::x", ": :add-mask::x"),
            ("a\u{2028}b\u{85}c", "a b c"),
            ("\u{1b}", ""),
            ("\u{1b}]unterminated", "unterminated"),
            ("äöü", "äöü"),
            ("a b", "a b"),
            ("a  b", "a b"),
            (" a", "a"),
            ("a ", "a"),
            ("::a b", ": :a b"),
        ] {
            assert_eq!(one_line(text, 80), line, "{text:?}");
        }
        assert_eq!(one_line("äöüß", 3), "äöü […]");
        assert_eq!(one_line("ab cd", 3), "ab […]");
        assert_eq!(one_line(&"x \u{1b}]".repeat(1 << 18), 10), "x x x x x […]");
        assert_eq!(one_line(&"\u{9d}".repeat(1 << 20), 10), "");
    }

    #[test]
    fn printable_text_keeps_its_lines_and_loses_its_controls() {
        let text = "one\n\ttwo\u{1b}]52;c;ZXZpbA==\u{7}\r\n::error::x\u{202e}\n";
        assert_eq!(printable(text), "one\n\ttwo\n: :error::x\n");
    }

    #[test]
    fn listed_reads_as_prose() {
        assert_eq!(listed(Vec::<String>::new()), "none");
        assert_eq!(listed(["a"]), "a");
        assert_eq!(listed(["a", "b", "c"]), "a, b and c");
    }
}
