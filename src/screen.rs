//! Standard error with one line at its end that changes in place. Only the thread of the log writes on it, so that nothing tears that
//! line.
//!
//! The line is drawn narrower than the terminal. When the terminal becomes narrower, it wraps the line, and the rows that the line
//! takes by then are erased. The cursor is never hidden: a runner that is killed leaves a usable terminal.
//!
//! `indicatif` 0.18.6 does not do that. It erases the rows that the line had when it was drawn. In a tmux whose width went from 80 to 40
//! columns, rows of the old line stayed, with `{msg}` and with `{wide_msg}`, and a line above was lost.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::stdio::stderr;
use rustix::termios::tcgetwinsize;
use unicode_width::UnicodeWidthChar as _;

/// The width that is assumed if the terminal does not report one.
const DEFAULT_WIDTH: usize = 80;

/// A place for lines, and for one that changes.
pub(crate) struct Screen<W> {
    out: W,
    /// Columns of the terminal.
    width: fn() -> usize,
    live: String,
    /// Columns of the line that stands there now.
    drawn: usize,
}

impl<W: Write> Screen<W> {
    /// Without a live line, until there is one.
    pub(crate) fn new(out: W, width: fn() -> usize) -> Self {
        Self { out, width, live: String::new(), drawn: 0 }
    }

    /// Replaces the live line. An empty text takes it away.
    pub(crate) fn live(&mut self, line: String) {
        self.live = line;
        // A closed standard error is no reason to end.
        let _ = self.put(b"");
    }

    /// Writes text above the live line, in one piece with its erasing and drawing.
    fn put(&mut self, text: &[u8]) -> io::Result<()> {
        if self.drawn == 0 && self.live.is_empty() {
            return self.out.write_all(text);
        }
        let width = (self.width)();
        let mut piece = erase(self.drawn, width).into_bytes();
        piece.extend_from_slice(text);
        let line = cut(&self.live, width.saturating_sub(1));
        self.drawn = columns(&line);
        piece.extend_from_slice(line.as_bytes());
        self.out.write_all(&piece)?;
        self.out.flush()
    }
}

impl<W: Write> Write for Screen<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.put(text).map(|()| text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The columns of the terminal at standard error.
#[must_use]
pub(crate) fn width() -> usize {
    width_of(stderr())
}

/// The columns of a terminal.
#[must_use]
pub(crate) fn width_of(terminal: impl AsFd) -> usize {
    tcgetwinsize(terminal).map_or(DEFAULT_WIDTH, |size| match size.ws_col {
        0 => DEFAULT_WIDTH,
        columns => columns.into(),
    })
}

/// What erases a line of this many columns, at whose end the cursor is.
fn erase(drawn: usize, width: usize) -> String {
    if drawn == 0 {
        return String::new();
    }
    let mut sequence = "\r".to_owned();
    match drawn.div_ceil(width.max(1)) - 1 {
        0 => {}
        // Writing into a String cannot fail.
        above => _ = write!(sequence, "\u{1b}[{above}A"),
    }
    sequence + "\u{1b}[J"
}

fn columns(line: &str) -> usize {
    line.chars().filter_map(char::width).sum()
}

/// A line that takes at most this many columns.
#[must_use]
pub(crate) fn cut(line: &str, longest: usize) -> String {
    if columns(line) <= longest {
        return line.to_owned();
    }
    let mut taken = 0;
    let fits = |char: &char| {
        taken += char.width().unwrap_or_default();
        taken < longest
    };
    let mut shown: String = line.chars().take_while(fits).collect();
    if longest > 0 {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_by_columns_and_not_by_characters() {
        for (line, longest, shown) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("abc", 1, "…"),
            ("abc", 0, ""),
        ] {
            assert_eq!(cut(line, longest), shown, "{line} {longest}");
        }
    }

    #[test]
    fn a_line_that_a_narrower_terminal_has_wrapped_is_erased_whole() {
        for (drawn, width, sequence) in [
            (0, 80, ""),
            (79, 80, "\r\u{1b}[J"),
            (79, 40, "\r\u{1b}[1A\u{1b}[J"),
            (80, 40, "\r\u{1b}[1A\u{1b}[J"),
            (79, 20, "\r\u{1b}[3A\u{1b}[J"),
            (5, 0, "\r\u{1b}[4A\u{1b}[J"),
        ] {
            assert_eq!(erase(drawn, width), sequence, "{drawn} {width}");
        }
    }

    #[test]
    fn text_stands_above_the_live_line_and_without_one_is_untouched() {
        let mut screen = Screen::new(Vec::new(), || 10);
        screen.write_all(b"one\n").unwrap();
        screen.live("a long live line".to_owned());
        screen.write_all(b"two\n").unwrap();
        screen.live(String::new());
        screen.write_all(b"three\n").unwrap();
        let shown = String::from_utf8(screen.out).unwrap();
        assert_eq!(shown, "one\na long l…\r\u{1b}[Jtwo\na long l…\r\u{1b}[Jthree\n");
    }
}
