//! Kinds of output lines, and their colours.

use anstyle::{AnsiColor, Style};

/// A line for people, without secrets and terminal control sequences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    /// Whether the line may be wrapped to several rows.
    pub(crate) is_whole: bool,
}

/// The kind of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A turn begins.
    Heading,
    /// A successful step, or any other line.
    Plain,
    /// A step that failed.
    Warning,
    /// The run completed.
    Success,
    /// The run failed.
    Failure,
}

impl Line {
    /// Creates a line that is cut to the width of the terminal.
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), is_whole: false }
    }

    /// Creates a line that is shown in full.
    pub(crate) fn whole(kind: Kind, text: impl Into<String>) -> Self {
        Self { is_whole: true, ..Self::new(kind, text) }
    }
}

impl Kind {
    const fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Heading => Style::new().bold(),
            Self::Warning => AnsiColor::Yellow.on_default(),
            Self::Success => AnsiColor::Green.on_default().bold(),
            Self::Failure => AnsiColor::Red.on_default().bold(),
        }
    }

    /// Returns the text with the colours of this kind.
    pub(crate) fn paint(self, text: &str, has_colors: bool) -> String {
        if !has_colors {
            return text.to_owned();
        }
        let style = self.style();
        format!("{style}{text}{style:#}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colors_a_line_has_no_escapes() {
        for kind in [Kind::Heading, Kind::Plain, Kind::Warning, Kind::Success, Kind::Failure] {
            assert_eq!(kind.paint("x", false), "x");
            assert_eq!(kind.paint("x", true).contains('\u{1b}'), kind != Kind::Plain, "{kind:?}");
        }
    }
}
