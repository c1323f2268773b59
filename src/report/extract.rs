//! Text from outside as a story keeps it: in bounds, with what is invisible in it. Who shows it makes that visible.

use openhands_client::text;
use serde::Serialize;

use super::unseen::Unseen;

/// The beginning and the end of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Extract {
    /// The text, or its beginning.
    pub(crate) head: String,
    /// Characters between the two ends that are left out.
    pub(crate) left_out: usize,
    /// The end of a text that is cut.
    pub(crate) tail: String,
}

/// Bytes of HTML that a character of a line has on average at most.
const BYTES_OF_CHARACTER: usize = 6;

/// A text as one line of at most this many characters and a mark for what is cut. White space is one blank.
pub(super) fn line(text: &str, longest: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().take(longest + 1).collect();
    let line = words.join(" ");
    let fits = fitting(line.chars(), longest * BYTES_OF_CHARACTER);
    text::bounded(&line, longest.min(line[..fits].chars().count()))
}

impl Extract {
    /// Shortens a text to this many bytes of HTML.
    pub(crate) fn new(text: &str, budget: usize) -> Self {
        let text = text.replace("\r\n", "\n");
        let text = text.trim_end();
        if cost(text) <= budget {
            return Self { head: text.to_owned(), left_out: 0, tail: String::new() };
        }
        let head = fitting(text.chars(), budget / 2);
        let tail = fitting(text.chars().rev(), budget / 2);
        let (from, to) = (head, text.len() - tail);
        Self { head: text[..from].to_owned(), left_out: text[from..to].chars().count(), tail: text[to..].to_owned() }
    }

    /// The same in fewer bytes.
    pub(crate) fn within(&self, budget: usize) -> Self {
        if cost(&self.head) + cost(&self.tail) <= budget {
            return self.clone();
        }
        if self.left_out == 0 {
            return Self::new(&self.head, budget);
        }
        let head = fitting(self.head.chars(), budget / 2);
        let tail = fitting(self.tail.chars().rev(), budget / 2);
        let dropped = self.head[head..].chars().count() + self.tail[..self.tail.len() - tail].chars().count();
        Self {
            head: self.head[..head].to_owned(),
            left_out: self.left_out + dropped,
            tail: self.tail[self.tail.len() - tail..].to_owned(),
        }
    }
}

/// How many bytes the first of these characters have that fit.
fn fitting(chars: impl Iterator<Item = char>, budget: usize) -> usize {
    let (mut bytes, mut spent) = (0, 0);
    for char in chars {
        spent += cost_of(char);
        if spent > budget {
            break;
        }
        bytes += char.len_utf8();
    }
    bytes
}

/// The bytes that a text takes in HTML.
pub(super) fn cost(text: &str) -> usize {
    text.chars().map(cost_of).sum()
}

/// The bytes that a character takes in HTML.
fn cost_of(char: char) -> usize {
    match char {
        '<' | '>' | '&' | '"' | '\'' | '/' => 6,
        char => Unseen::of(char).map_or(char.len_utf8(), Unseen::html_len),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_text_is_whole_and_of_a_long_one_both_ends_are_there() {
        let whole = Extract::new("one\ntwo\n", 100);
        assert_eq!(whole, Extract { head: "one\ntwo".to_owned(), left_out: 0, tail: String::new() });
        let cut = Extract::new(&format!("begin{}end", "x".repeat(1000)), 20);
        assert_eq!((cut.head.as_str(), cut.tail.as_str()), ("beginxxxxx", "xxxxxxxend"));
        assert_eq!(cut.left_out, 1008 - 20);
        let less = cut.within(10);
        assert_eq!((less.head.as_str(), less.tail.as_str(), less.left_out), ("begin", "xxend", 998));
    }

    #[test]
    fn a_budget_is_of_bytes_after_escaping() {
        let cut = Extract::new(&"<é>".repeat(1000), 60);
        assert!(cost(&cut.head) + cost(&cut.tail) <= 60);
        assert_eq!(cut.head.chars().count() + cut.tail.chars().count() + cut.left_out, 3000);
    }

    #[test]
    fn what_is_invisible_stays_and_takes_its_place() {
        assert_eq!(Extract::new("a\u{1b}[31mb\u{202e}c\u{7}\r\n", 100).head, "a\u{1b}[31mb\u{202e}c\u{7}");
        assert_eq!(cost("a\u{1b}\u{e0041}\n"), "a<u>\u{241b}</u><u>U+E0041</u>\n".len());
    }

    #[test]
    fn a_line_has_single_blanks_and_a_mark_where_it_is_cut() {
        assert_eq!(line(" a\n\t b\u{202e} ", 80), "a b\u{202e}");
        assert_eq!(line(&"x ".repeat(100), 5), "x x x […]");
        assert_eq!(line(&"\u{202e}".repeat(100), 5), "\u{202e}\u{202e} […]");
    }
}
