//! Standard error with lines at its end that change in place: one for a run, a table for a batch. Only the log thread writes to
//! it, so nothing breaks these lines.
//!
//! Each line is drawn narrower than the terminal. If the terminal becomes narrower, it wraps the lines, and all rows that they
//! then occupy are erased. The cursor is never hidden, so a killed runner leaves the terminal usable.
//!
//! `indicatif` 0.18.6 does not do this: it erases the number of rows that the line had when it was drawn. In tmux, when the width
//! changed from 80 to 40 columns, rows of the old line stayed, with `{msg}` and with `{wide_msg}`, and a line above was lost.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::stdio::stderr;
use rustix::termios::tcgetwinsize;
use unicode_width::UnicodeWidthChar as _;

/// Width and height to assume if the terminal does not report them.
const DEFAULT_WIDTH: usize = 80;
const DEFAULT_HEIGHT: usize = 24;

/// An output for lines, with lines below them that change.
pub(crate) struct Screen<W> {
    out: W,
    /// Returns the number of columns of the terminal.
    width: fn() -> usize,
    /// The lines that change; empty if there are none.
    live: String,
    /// The number of columns of each line that is currently drawn.
    drawn: Vec<usize>,
}

impl<W: Write> Screen<W> {
    /// Creates a screen without live lines.
    pub(crate) fn new(out: W, width: fn() -> usize) -> Self {
        Self { out, width, live: String::new(), drawn: Vec::new() }
    }

    /// Replaces the live lines. An empty text removes them.
    pub(crate) fn live(&mut self, lines: String) {
        self.live = lines;
        // The program continues if standard error is closed.
        let _ = self.put(b"");
    }

    /// Writes text above the live lines, in one write together with erasing and drawing them.
    fn put(&mut self, text: &[u8]) -> io::Result<()> {
        if self.drawn.is_empty() && self.live.is_empty() {
            return self.out.write_all(text);
        }
        let width = (self.width)();
        let mut piece = erase(&self.drawn, width).into_bytes();
        piece.extend_from_slice(text);
        self.drawn.clear();
        for line in self.live.lines() {
            if !self.drawn.is_empty() {
                piece.push(b'\n');
            }
            let line = cut(line, width.saturating_sub(1));
            self.drawn.push(columns(&line));
            piece.extend_from_slice(line.as_bytes());
        }
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

/// Returns the number of columns of the terminal at standard error.
#[must_use]
pub(crate) fn width() -> usize {
    width_of(stderr())
}

/// Returns the number of columns of a terminal.
#[must_use]
pub(crate) fn width_of(terminal: impl AsFd) -> usize {
    tcgetwinsize(terminal).map_or(DEFAULT_WIDTH, |size| match size.ws_col {
        0 => DEFAULT_WIDTH,
        columns => columns.into(),
    })
}

/// Returns the number of rows of the terminal at standard error.
#[must_use]
pub(crate) fn height() -> usize {
    tcgetwinsize(stderr()).map_or(DEFAULT_HEIGHT, |size| match size.ws_row {
        0 => DEFAULT_HEIGHT,
        rows => rows.into(),
    })
}

/// Returns the control sequence that erases lines of this many columns, with the cursor at their end.
fn erase(drawn: &[usize], width: usize) -> String {
    let rows: usize = drawn.iter().map(|columns| columns.div_ceil(width.max(1)).max(1)).sum();
    let mut sequence = "\r".to_owned();
    match rows {
        0 => return String::new(),
        1 => {}
        // Writing to a `String` cannot fail.
        rows => _ = write!(sequence, "\u{1b}[{}A", rows - 1),
    }
    sequence + "\u{1b}[J"
}

fn columns(line: &str) -> usize {
    line.chars().filter_map(char::width).sum()
}

/// Cuts a line to this many columns.
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
    fn lines_that_a_narrower_terminal_has_wrapped_are_erased_whole() {
        for (drawn, width, sequence) in [
            (&[][..], 80, ""),
            (&[79], 80, "\r\u{1b}[J"),
            (&[79], 40, "\r\u{1b}[1A\u{1b}[J"),
            (&[80], 40, "\r\u{1b}[1A\u{1b}[J"),
            (&[79], 20, "\r\u{1b}[3A\u{1b}[J"),
            (&[5], 0, "\r\u{1b}[4A\u{1b}[J"),
            (&[79, 0, 40], 80, "\r\u{1b}[2A\u{1b}[J"),
            (&[79, 0, 40], 40, "\r\u{1b}[3A\u{1b}[J"),
            (&[79, 0, 40], 39, "\r\u{1b}[5A\u{1b}[J"),
        ] {
            assert_eq!(erase(drawn, width), sequence, "{drawn:?} {width}");
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
    #[test]
    fn each_of_several_live_lines_is_cut_and_all_are_erased() {
        let mut screen = Screen::new(Vec::new(), || 10);
        screen.live("a long first line\nsecond".to_owned());
        screen.write_all(b"one\n").unwrap();
        screen.live("alone".to_owned());
        screen.live(String::new());
        let shown = String::from_utf8(screen.out).unwrap();
        let twice = "a long f…\nsecond";
        assert_eq!(shown, format!("{twice}\r\u{1b}[1A\u{1b}[Jone\n{twice}\r\u{1b}[1A\u{1b}[Jalone\r\u{1b}[J"));
    }
}
