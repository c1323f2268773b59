//! Characters that are invisible, or that change how others are shown: control characters, marks of direction and the like. A report
//! shows that they are there.

use std::borrow::Cow;
use std::fmt;

use openhands_client::text;

/// Such a character. Its text is a sign of its own (`␛`), else its number (`U+202E`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unseen(char);

impl Unseen {
    /// Nothing for a character that people see, and for line breaks and tabs.
    pub(super) fn of(char: char) -> Option<Self> {
        (text::is_invisible(char) && !matches!(char, '\n' | '\t')).then_some(Self(char))
    }

    /// The bytes of its mark in HTML.
    pub(super) fn html_len(self) -> usize {
        Self::BEGIN.len() + self.to_string().len() + Self::END.len()
    }

    /// What stands around its text in HTML.
    pub(super) const BEGIN: &'static str = "<u>";
    /// The same behind it.
    pub(super) const END: &'static str = "</u>";
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match u32::from(self.0) {
            // Unicode has pictures of ASCII's control characters.
            code @ ..0x20 => write!(f, "{}", char::from_u32(0x2400 + code).unwrap_or_default()),
            0x7f => f.write_str("\u{2421}"),
            code => write!(f, "U+{code:04X}"),
        }
    }
}

/// A text for a terminal: what is invisible is shown between angle brackets, and no line is a command of a CI system.
pub(super) fn plain(text: &str) -> String {
    let mut shown = Cow::Borrowed(text);
    if text.chars().any(|char| Unseen::of(char).is_some()) {
        let mark = |char| Unseen::of(char).map_or_else(|| String::from(char), |unseen| format!("<{unseen}>"));
        shown = text.chars().map(mark).collect::<String>().into();
    }
    text::printable(&shown)
}

/// Writes a text as HTML: what is invisible is marked, and nothing is markup.
pub(super) fn html(out: &mut impl fmt::Write, text: &str) -> fmt::Result {
    let mut rest = text;
    while let Some((at, char)) = rest.char_indices().find(|(_, char)| Unseen::of(*char).is_some()) {
        write!(out, "{}{}{}{}", escape(&rest[..at]), Unseen::BEGIN, Unseen(char), Unseen::END)?;
        rest = &rest[at + char.len_utf8()..];
    }
    write!(out, "{}", escape(rest))
}

fn escape(text: &str) -> minijinja::HtmlEscape<'_> {
    minijinja::HtmlEscape(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_invisible_is_marked_and_the_rest_stays() {
        let text = "a\u{1b}[2J\u{7f}\n\t<b>\u{202e}\u{9b}\u{e0041}::error::x\n::error::y";
        let mut shown = String::new();
        html(&mut shown, text).unwrap();
        assert_eq!(
            shown,
            "a<u>\u{241b}</u>[2J<u>\u{2421}</u>\n\t&lt;b&gt;<u>U+202E</u><u>U+009B</u><u>U+E0041</u>::error::x\n::error::y"
        );
        let expected = "a<\u{241b}>[2J<\u{2421}>\n\t<b><U+202E><U+009B><U+E0041>::error::x\n: :error::y";
        assert_eq!(plain(text), expected);
    }
}
