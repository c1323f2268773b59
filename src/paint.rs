//! Kinds of lines, and how they look.

use anstyle::{AnsiColor, Style};

/// A line for people, without secrets and without what a terminal obeys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    /// Whether it may take several rows.
    pub(crate) is_whole: bool,
}

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A turn begins.
    Heading,
    /// A step that went well, or anything else.
    Plain,
    /// A step that failed.
    Warning,
    /// The run completed.
    Success,
    /// The run failed.
    Failure,
}

impl Line {
    /// A line that is cut to the width of the terminal.
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), is_whole: false }
    }

    /// A line that is shown complete.
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

    /// The text as it is written.
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
