//! Splits a Markdown text into front matter and body.

use openhands_client::text::is_invisible;

use crate::problem::Problem;

const FENCE: &str = "---";

/// Fields of a task file that identify a misplaced front matter.
const TELLING: &[&str] =
    &["name", "secrets", "limits", "llm", "repos", "then", "params", "skills", "mcp", "result", "tags"];

/// The parts of a Markdown text.
pub(super) struct Parts<'t> {
    /// The number of lines before the front matter: blank ones and comments.
    pub(super) before: usize,
    /// The text between the fences.
    pub(super) front_matter: Option<String>,
    /// The text after the front matter, or the whole text.
    pub(super) body: &'t str,
}

impl<'t> Parts<'t> {
    /// Splits a Markdown text. Blank lines and HTML comments are allowed before the front matter.
    ///
    /// # Errors
    /// The front matter does not end, or other text comes before it: its limits would be ignored.
    pub(super) fn of(text: &'t str, file: &str) -> Result<Self, Problem> {
        let start = start_of_text(text);
        if text[start..].starts_with(FENCE) && text.contains('\r') && !text.contains('\n') {
            return Err(Problem::new(
                format!("{file}:1"),
                "lines that end with a carriage return alone",
                "save it with the line ends LF or CRLF",
            ));
        }
        let before = text[..start].matches('\n').count();
        let mut lines = text[start..].split_inclusive('\n');
        let first = lines.next().unwrap_or_default();
        if first.trim_matches(is_blank) != FENCE {
            if let Some(line) = misplaced(text) {
                return Err(Problem::new(
                    format!("{file}:{line}"),
                    "a front matter below other text",
                    "move its first `---` to the first line of the file, or use `--plain` if it is part of the prompt",
                ));
            }
            if let Some(fence) = other_fence(first, lines) {
                return Err(Problem::new(
                    format!("{file}:{}", before + 1),
                    format!("a front matter between lines `{fence}`"),
                    "put it between lines of three hyphens, `---`, and write it as YAML; or use `--plain` if it is part of the prompt",
                ));
            }
            if misplaced(&format!("{FENCE}\n{}", &text[start..])).is_some() {
                return Err(Problem::new(
                    format!("{file}:{}", before + 1),
                    "a front matter without a line `---` above it",
                    "put such a line above its first field, or use `--plain` if it is part of the prompt",
                ));
            }
            if is_task_without_text(&text[start..]) {
                return Err(Problem::new(
                    format!("{file}:{}", before + 1),
                    "fields of a task that stand in no front matter",
                    "put them as YAML between two lines `---` above the text, name the file .yaml or .json if it has a `prompt`, \
                     or use `--plain` if they are part of the prompt",
                ));
            }
            return Ok(Self { before, front_matter: None, body: text });
        }
        let mut front_matter = String::new();
        let mut end = start + first.len();
        let closed = lines.any(|line| {
            end += line.len();
            let is_fence = line.trim_end_matches(is_blank) == FENCE;
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
        let body = &text[end..];
        if misplaced(&format!("{FENCE}\n{}", body.trim_start())).is_some() {
            return Err(Problem::new(
                format!("{file}:{}", text[..end].matches('\n').count()),
                "a line `---` in the middle of a front matter",
                "remove it, or use `--plain` if the front matter is part of the prompt",
            ));
        }
        Ok(Self { before, front_matter: Some(front_matter), body })
    }
}

/// Returns whether this character is invisible, whatever editor inserted it.
fn is_blank(char: char) -> bool {
    char.is_whitespace() || is_invisible(char)
}

/// Returns the start of the first line that is neither blank nor part of an HTML comment.
fn start_of_text(text: &str) -> usize {
    let mut start = 0;
    loop {
        let rest = &text[start..];
        let visible = start + (rest.len() - rest.trim_start_matches(is_blank).len());
        match text[visible..].strip_prefix("<!--").and_then(|comment| comment.split_once("-->")) {
            Some((_, after)) => start = text.len() - after.len(),
            None => return visible,
        }
    }
}

/// Fields that restrict a run. If they are ignored, the run can do more than its author intended.
const RESTRAINING: &[&str] = &["limits", "secrets", "llm"];

/// Returns the line of a front matter that comes after headings, `#` comments and YAML directives, or after any text if it
/// restricts the run.
fn misplaced(text: &str) -> Option<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let is_fence = |line: &&str| line.trim_end() == FENCE;
    let first = lines.iter().position(is_fence)?;
    let length = lines[first + 1..].iter().position(is_fence)?;
    let between = &lines[first + 1..=first + length];
    let is_above = lines[..first].iter().all(|line| line.trim().is_empty() || line.starts_with(['#', '%']));
    let telling = if is_above { TELLING } else { RESTRAINING };
    let has_field = |line: &&str| has_field(line, ':', telling);
    let is_yaml = |line: &&str| line.is_empty() || line.contains(':') || line.starts_with([' ', '#', '-']);
    (between.iter().any(has_field) && between.iter().all(is_yaml)).then_some(first + 1)
}

/// Returns the fence that is used instead of `---` around a front matter that begins with this line: `+++` of TOML, another line
/// of marks, `---` with the name of a format, or the dashes that a word processor makes of hyphens.
fn other_fence<'t>(first: &'t str, mut rest: impl Iterator<Item = &'t str>) -> Option<&'t str> {
    let fence = first.trim();
    let is_mark =
        |char| matches!(char, '-' | '+' | '*' | '=' | '_' | '~' | ';' | '`' | '\u{2010}'..='\u{2015}' | '\u{2212}');
    let is_format = |word: &str| matches!(word.trim(), "yaml" | "yml" | "toml" | "json");
    // A block of code, in which a chat may show a front matter, ends like one.
    let named = [FENCE, "```"].into_iter().find(|mark| fence.strip_prefix(mark).is_some_and(is_format));
    let end = named.unwrap_or(fence);
    // A prompt may begin with a block of code that contains a `name`.
    let is_code = end.starts_with('`');
    let telling = if is_code { RESTRAINING } else { TELLING };
    let mut has_any = false;
    let closed = !end.is_empty()
        && end.chars().all(is_mark)
        && rest.any(|line| {
            has_any |= has_field(line, ':', telling) || has_field(line, '=', telling) || (!is_code && is_table(line));
            line.trim() == end
        });
    (closed && has_any).then_some(fence)
}

/// Returns whether a text begins with the fields of a task, as JSON, or as YAML with a `prompt`.
fn is_task_without_text(text: &str) -> bool {
    let telling = || RESTRAINING.iter().copied().chain(["prompt"]);
    if text.starts_with('{') {
        let first = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>().next();
        return matches!(first, Some(Ok(fields)) if telling().any(|name| fields.get(name).is_some()));
    }
    let mut fields = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with([' ', '\t', '#', '-']));
    let begins =
        fields.clone().next().is_some_and(|line| has_field(line, ':', TELLING) || has_field(line, ':', &["prompt"]));
    begins
        && fields.clone().any(|line| has_field(line, ':', &["prompt"]))
        && fields.any(|line| has_field(line, ':', TELLING))
}

/// Returns whether the line sets one of these fields.
fn has_field(line: &str, mark: char, fields: &[&str]) -> bool {
    line.split_once(mark).is_some_and(|(name, _)| fields.contains(&name.trim_end().trim_matches('"')))
}

/// Returns whether the line begins a field of a task file in TOML.
fn is_table(line: &str) -> bool {
    let name = line.trim().trim_start_matches('[').trim_end_matches(']');
    line.starts_with('[') && TELLING.contains(&name.split('.').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Result<Option<String>, String> {
        Parts::of(text, "task.md").map(|parts| parts.front_matter).map_err(|problem| problem.to_string())
    }

    #[test]
    fn what_is_invisible_may_stand_before_the_front_matter() {
        for before in [
            "\u{feff}\u{feff}",
            "\u{200b}",
            "\u{a0}\r\n",
            "\u{c}\n",
            "\u{2060}\u{2028}",
            "\u{3000}\n<!-- c -->\u{200b}\n",
        ] {
            assert_eq!(
                parts(&format!("{before}---\u{200b}\nname: x\n---\u{a0}\nText.")),
                Ok(Some("name: x\n".to_owned())),
                "{before:?}"
            );
        }
    }

    #[test]
    fn fields_that_stand_in_no_front_matter_are_refused() {
        for text in [
            "{\"limits\": {\"cost\": 1}}\nDo it.",
            "\n{\n  \"prompt\": \"Do it.\"\n}\n",
            "name: x\nlimits:\n  cost: 1\nprompt: Do it.\n",
            "# A task\nprompt: |\n  Do it.\nsecrets: []\n",
        ] {
            let error = parts(text).unwrap_err();
            assert!(error.contains("fields of a task that stand in no front matter"), "{text}: {error}");
        }
        for text in [
            "{\"name\": \"x\"}\nCorrect this JSON.",
            "{not JSON, limits: 1}",
            "name: the field that is wrong\nCorrect it.",
            "Correct this file:\nprompt: x\nlimits: y\n",
            "prompt: what is a prompt?\n",
        ] {
            assert_eq!(parts(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn a_front_matter_between_other_lines_is_refused() {
        for (text, fence) in [
            ("----\nlimits: {cost: 1}\n----\nText.", "----"),
            ("\n+++\nname = 'x'\n+++\nText.", "+++"),
            ("+++\n[limits]\ncost = 1\n+++\nText.", "+++"),
            ("+++\n[[repos]]\nurl = 'x'\n+++\nText.", "+++"),
            ("---yaml\nlimits: {cost: 1}\n---\nText.", "---yaml"),
            ("--- json\n\"limits\": {\"cost\": 1}\n---\nText.", "--- json"),
            ("***\nsecrets: []\n***\nText.", "***"),
            ("```yaml\nsecrets: []\n```\nText.", "```yaml"),
            ("```\nlimits: {cost: 1}\n```\nText.", "```"),
            ("=====\nsecrets: []\n=====\nText.", "====="),
            (";;;\nsecrets: []\n;;;\nText.", ";;;"),
            ("\u{2014}\nname: x\n\u{2014}\nText.", "\u{2014}"),
            ("\u{2013}-\r\nname: x\r\n\u{2013}-\r\nText.", "\u{2013}-"),
        ] {
            let problem = parts(text).unwrap_err();
            assert!(problem.contains(&format!("a front matter between lines `{fence}`; put it")), "{problem}");
        }
        for text in [
            "---x\nText: y\n---\nText.",
            "***\nA heading: one\n***\nText.",
            "```yaml\nname: CI\n```\nText.",
            "[limits]\nText.",
        ] {
            assert_eq!(parts(text), Ok(None), "{text:?}");
        }
        for text in ["----\nA heading: one\n----\nText.", "----\nname: x\nText.", "- name: x\n- name: y\n", "\n\n"] {
            assert_eq!(parts(text), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn a_front_matter_in_two_parts_is_refused() {
        let problem = parts("---\nname: x\n---\n\nlimits: {cost: 1}\n---\nText.").unwrap_err();
        assert!(problem.starts_with("task.md:3: a line `---` in the middle of a front matter"), "{problem}");
        assert!(parts("---\nname: x\n---\nText: one\n---\nlimits: more text\n").is_ok());
    }

    #[test]
    fn a_front_matter_at_a_wrong_place_is_refused() {
        for (text, found) in [
            ("limits: {cost: 1}\n---\nText.", "task.md:1: a front matter without a line `---` above it"),
            ("\n\nsecrets: []\nname: x\n---\n", "task.md:3: a front matter without"),
            ("# Title\n---\nname: x\n---\nText.", "task.md:2: a front matter below other text"),
            ("%YAML 1.2\n---\nname: x\n---\nText.", "task.md:2: a front matter below other text"),
            ("Text.\n\n---\nlimits: {cost: 1}\n---\n", "task.md:3: a front matter below other text"),
            ("Text.\n---\nsecrets: []\n---\nText.", "task.md:2: a front matter below other text"),
        ] {
            assert!(parts(text).unwrap_err().starts_with(found), "{text:?}: {:?}", parts(text));
        }
        for text in [
            "Write a file:\n---\nname: x\ntags: a\n---\nText.",
            "Text\n---\nMore: text\n---\n",
            "The limits: none\n---\nText.",
            "A heading\n---\nText.",
        ] {
            assert_eq!(parts(text), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn lines_that_end_with_a_carriage_return_alone_are_refused() {
        assert!(parts("---\rname: x\r---\rText.").unwrap_err().starts_with("task.md:1: lines that end with"));
        assert_eq!(parts("Text.\rMore."), Ok(None));
    }
}
