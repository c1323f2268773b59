//! Text from outside as a report shows it: printable, and the two ends of what is too long.

use openhands_client::text;
use serde::Serialize;

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

impl Extract {
    /// Of a text that may be shown in so many bytes of HTML.
    pub(crate) fn new(text: &str, budget: usize) -> Self {
        let text = text::printable(text);
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
        char => char.len_utf8(),
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
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(Extract::new("a\u{1b}[31mb\u{202e}c\u{7}", 100).head, "abc");
    }
}
