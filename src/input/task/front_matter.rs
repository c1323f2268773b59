//! A Markdown text as front matter and body.

use crate::problem::Problem;

const FENCE: &str = "---";

/// Fields of a task file by which a front matter is known that stands at the wrong place.
const TELLING: &[&str] =
    &["name", "secrets", "limits", "llm", "repos", "then", "params", "skills", "mcp", "result", "tags"];

/// A Markdown text in its parts.
pub(super) struct Parts<'t> {
    /// Lines before the front matter: blank ones and comments.
    pub(super) before: usize,
    /// What stands between the fences.
    pub(super) front_matter: Option<String>,
    /// What stands below, or all of the text.
    pub(super) body: &'t str,
}

impl<'t> Parts<'t> {
    /// Splits a Markdown text. Blank lines and HTML comments may stand before the front matter.
    ///
    /// # Errors
    /// A front matter that does not end, or that stands below other text: its limits would not hold.
    pub(super) fn of(text: &'t str, file: &str) -> Result<Self, Problem> {
        let start = start_of_text(text);
        let before = text[..start].matches('\n').count();
        let mut lines = text[start..].split_inclusive('\n');
        let first = lines.next().unwrap_or_default();
        if first.trim() != FENCE {
            if let Some(line) = misplaced(text) {
                return Err(Problem::new(
                    format!("{file}:{line}"),
                    "a front matter below other text",
                    "move its first `---` to the first line of the file, or use `--plain` if it is part of the prompt",
                ));
            }
            return Ok(Self { before, front_matter: None, body: text });
        }
        let mut front_matter = String::new();
        let mut end = start + first.len();
        let closed = lines.any(|line| {
            end += line.len();
            let is_fence = line.trim_end() == FENCE;
            if !is_fence {
                front_matter.push_str(line);
            }
            is_fence
        });
        if !closed {
            return Err(Problem::new(
                format!("{file}:{}", before + 1),
                "a front matter that does not end",
                "close it with a line `---` above the prompt",
            ));
        }
        Ok(Self { before, front_matter: Some(front_matter), body: &text[end..] })
    }
}

/// Where the first line starts that is neither blank nor part of an HTML comment.
fn start_of_text(text: &str) -> usize {
    let mut start = 0;
    loop {
        let rest = &text[start..];
        let visible = start + (rest.len() - rest.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).len());
        match text[visible..].strip_prefix("<!--").and_then(|comment| comment.split_once("-->")) {
            Some((_, after)) => start = text.len() - after.len(),
            None => return visible,
        }
    }
}

/// The line of a front matter that stands below headings or comments with `#`.
fn misplaced(text: &str) -> Option<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let is_fence = |line: &&str| line.trim_end() == FENCE;
    let first = lines.iter().position(is_fence)?;
    let length = lines[first + 1..].iter().position(is_fence)?;
    let between = &lines[first + 1..=first + length];
    let is_above = lines[..first].iter().all(|line| line.trim().is_empty() || line.starts_with('#'));
    let has_field = |line: &&str| line.split_once(':').is_some_and(|(name, _)| TELLING.contains(&name));
    let is_yaml = |line: &&str| line.is_empty() || line.contains(':') || line.starts_with([' ', '#', '-']);
    (is_above && between.iter().any(has_field) && between.iter().all(is_yaml)).then_some(first + 1)
}
