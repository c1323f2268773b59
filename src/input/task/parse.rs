//! The text of a task file -> [`Task`], with file, line and field in every error.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use serde_path_to_error::Segment;

use super::{Origin, Task};
use crate::input::problem::{Problem, did_you_mean};

/// How a task is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskFormat {
    /// Markdown with an optional YAML front matter; the text under it is the prompt.
    Markdown,
    /// YAML with the text under `prompt`.
    Yaml,
    /// JSON with the text under `prompt`.
    Json,
    /// The prompt byte for byte, as the automation service packs it.
    Verbatim,
}

impl TaskFormat {
    /// The format that a file's name tells; Markdown when it tells none.
    #[must_use]
    pub(crate) fn of_name(name: &str) -> Self {
        let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
        match extension.as_deref() {
            _ if name == "prompt.txt" => Self::Verbatim,
            Some("yaml" | "yml") => Self::Yaml,
            Some("json") => Self::Json,
            _ => Self::Markdown,
        }
    }
}

/// Reads a task. `file` names it in errors.
///
/// # Errors
/// A [`Problem`] that names file, line and field, what was found and what to do.
pub(crate) fn parse(text: &str, format: TaskFormat, file: &str) -> Result<Task, Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut task = match format {
        TaskFormat::Verbatim => Task { prompt: text.to_owned(), ..Task::default() },
        TaskFormat::Yaml => with_fields(yaml(text, 0, file)?),
        TaskFormat::Json => with_fields(json(text, file)?),
        TaskFormat::Markdown => markdown(text, file)?,
    };
    file.clone_into(&mut task.origin.file);
    if task.prompt.trim().is_empty() {
        let (found, help) = match format {
            TaskFormat::Yaml | TaskFormat::Json => {
                ("`prompt` is missing or empty", "say what the agent should do under `prompt`")
            }
            TaskFormat::Markdown | TaskFormat::Verbatim => ("no text", "write what the agent should do"),
        };
        return Err(Problem::new(file, found, help));
    }
    if let Some(empty) = task.then.iter().position(|message| message.trim().is_empty()) {
        return Err(Problem::new(
            format!("{file}: then[{empty}]"),
            "an empty message",
            "write a message or take it out",
        ));
    }
    Ok(task)
}

/// Reads a list or an object that the automation service has packed beside the prompt. Fields that are not known are left
/// out with a warning: a newer service may have added them, and nobody could mend the file.
///
/// # Errors
/// As [`parse`], for everything else.
pub(crate) fn data<T: DeserializeOwned>(text: &str, file: &str) -> Result<T, Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let strict = match json(text, file) {
        Ok(data) => return Ok(data),
        Err(problem) => problem,
    };
    let Ok(mut value) = serde_json::from_str::<Value>(text) else { return Err(strict) };
    loop {
        let error = match located(&value.to_string()) {
            Ok(data) => return Ok(data),
            Err(error) => error,
        };
        let path = error.path().to_string();
        if !error.inner().to_string().starts_with(UNKNOWN_FIELD) {
            // The strict reading knows the line, unless it stopped at another place.
            let found = refusal(file, None, &path, &error.into_inner().to_string());
            return Err(if strict.found == found.found { strict } else { found });
        }
        if !remove(&mut value, error.path()) {
            return Err(strict);
        }
        tracing::warn!(file, field = path, "leaving out a field that is not known");
    }
}

fn remove(value: &mut Value, path: &serde_path_to_error::Path) -> bool {
    let mut place = value;
    let mut segments = path.iter().peekable();
    while let Some(segment) = segments.next() {
        let next = match segment {
            Segment::Seq { index } => place.get_mut(index),
            Segment::Map { key } if segments.peek().is_none() => {
                return place.as_object_mut().is_some_and(|object| object.remove(key).is_some());
            }
            Segment::Map { key } => place.get_mut(key),
            Segment::Enum { .. } | Segment::Unknown => None,
        };
        let Some(next) = next else { return false };
        place = next;
    }
    false
}

fn with_fields(task: Task) -> Task {
    Task { origin: Origin { has_fields: true, ..task.origin }, ..task }
}

const FENCE: &str = "---";
/// How serde begins.
const UNKNOWN_FIELD: &str = "unknown field ";

fn markdown(text: &str, file: &str) -> Result<Task, Problem> {
    let mut lines = text.split_inclusive('\n');
    if lines.next().map(str::trim_end) != Some(FENCE) {
        return Ok(Task { prompt: text.trim().to_owned(), ..Task::default() });
    }
    let mut front_matter = String::new();
    let closed = lines.by_ref().any(|line| {
        let is_fence = line.trim_end() == FENCE;
        if !is_fence {
            front_matter.push_str(line);
        }
        is_fence
    });
    if !closed {
        return Err(Problem::new(
            format!("{file}:1"),
            "a front matter that does not end",
            "close it with a line `---` above the prompt",
        ));
    }
    let task: Task = if front_matter.trim().is_empty() { Task::default() } else { yaml(&front_matter, 1, file)? };
    if !task.prompt.is_empty() {
        return Err(Problem::new(
            format!("{file}: prompt"),
            "a prompt in the front matter",
            "write the prompt under the closing `---`",
        ));
    }
    let body: String = lines.collect();
    let blank_lines = body[..body.len() - body.trim_start().len()].matches('\n').count();
    // Two fences lie around the front matter, and lines count from 1.
    let prompt_line = front_matter.lines().count() + 3 + blank_lines;
    let origin = Origin { prompt_line: Some(prompt_line), has_fields: true, ..task.origin };
    Ok(Task { prompt: body.trim().to_owned(), origin, ..task })
}

fn yaml<T: DeserializeOwned>(text: &str, lines_before: usize, file: &str) -> Result<T, Problem> {
    serde_path_to_error::deserialize(yaml_serde::Deserializer::from_str(text)).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        let line = error.location().map(|place| place.line() + lines_before);
        refusal(file, line, &path, &error.to_string())
    })
}

fn json<T: DeserializeOwned>(text: &str, file: &str) -> Result<T, Problem> {
    // What comes behind the value is looked for first: the reading below does not.
    let whole: Result<&RawValue, _> = serde_json::from_str(text);
    whole.map_err(|error| refusal(file, Some(error.line()), ".", &error.to_string()))?;
    located(text).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        refusal(file, Some(error.line()), &path, &error.to_string())
    })
}

fn located<T: DeserializeOwned>(text: &str) -> Result<T, serde_path_to_error::Error<serde_json::Error>> {
    serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(text))
}

/// Turns a parser's message into our three parts. Both parsers end theirs with "at line L column C" and may begin with
/// the field's path, which the place says already.
fn refusal(file: &str, line: Option<usize>, path: &str, message: &str) -> Problem {
    let line = line.filter(|line| *line > 0).map(|line| format!(":{line}")).unwrap_or_default();
    let field = if path == "." || path == "?" { String::new() } else { format!(": {path}") };
    let place = format!("{file}{line}{field}");

    let message = message.split(" at line ").next().unwrap_or(message);
    let parent = path.rsplit_once('.').map_or("", |(parent, _)| parent);
    let message = [path, parent]
        .into_iter()
        .find_map(|prefix| message.strip_prefix(prefix)?.strip_prefix(": "))
        .unwrap_or(message);

    if let Some(rest) = message.strip_prefix(UNKNOWN_FIELD) {
        let mut names = rest.split('`').skip(1).step_by(2);
        let written = names.next().unwrap_or_default();
        let known: Vec<&str> = names.collect();
        return Problem::new(place, format!("unknown field `{written}`"), did_you_mean(written, &known));
    }
    match message.split_once(", expected ") {
        Some((found, expected)) => {
            let expected = if expected.starts_with("struct ") { "fields with values" } else { expected };
            Problem::new(place, found, format!("expected {expected}"))
        }
        None => Problem::new(place, message, "mend it, or see `openhands-runner schema`"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn problem(text: &str, format: TaskFormat) -> String {
        parse(text, format, "task.md").unwrap_err().to_string()
    }

    const EXAMPLE: &str = "---\nname: three-facts\nllm: { profile: fast, temperature: 0.2 }\nsecrets: [GITHUB_TOKEN]\n\
        limits: { timeout: 30m, cost: 2.50, iterations: 200 }\nthen: [ \"Great!\" ]\n---\nRead the repo.\n";

    #[test]
    fn markdown_with_front_matter() {
        let task = parse(EXAMPLE, TaskFormat::Markdown, "task.md").unwrap();
        assert_eq!(task.messages().collect::<Vec<_>>(), ["Read the repo.", "Great!"]);
        assert_eq!(task.llm.profile.as_deref(), Some("fast"));
        assert_eq!(Value::from(task.llm.fields), json!({"temperature": 0.2}));
        assert_eq!(task.secrets.unwrap(), ["GITHUB_TOKEN"]);
        assert_eq!(task.limits.timeout, Some(Duration::from_secs(1800)));
        assert_eq!(task.limits.cost, Some(2.5));
        assert_eq!(task.limits.iterations, Some(200));
    }

    #[test]
    fn the_three_formats_agree() {
        let without_origin = |task: Task| Task { origin: Origin::default(), ..task };
        let markdown = without_origin(parse(EXAMPLE, TaskFormat::Markdown, "t").unwrap());
        let yaml = "name: three-facts\nllm: { profile: fast, temperature: 0.2 }\nsecrets: [GITHUB_TOKEN]\n\
            limits: { timeout: 30m, cost: 2.50, iterations: 200 }\nthen: [ \"Great!\" ]\nprompt: Read the repo.\n";
        let json = json!({"name": "three-facts", "llm": {"profile": "fast", "temperature": 0.2},
            "secrets": ["GITHUB_TOKEN"], "limits": {"timeout": "30m", "cost": 2.5, "iterations": 200},
            "then": ["Great!"], "prompt": "Read the repo."});
        assert_eq!(without_origin(parse(yaml, TaskFormat::Yaml, "t").unwrap()), markdown);
        assert_eq!(without_origin(parse(&json.to_string(), TaskFormat::Json, "t").unwrap()), markdown);
    }

    #[test]
    fn plain_text_is_a_task() {
        let task = parse("\n Just do it.\n\n---\nreally\n", TaskFormat::Markdown, "t").unwrap();
        assert_eq!(task.prompt, "Just do it.\n\n---\nreally");
    }

    #[test]
    fn a_verbatim_prompt_keeps_every_byte() {
        let text = "---\nname: x\n---\n hello \n\n";
        assert_eq!(parse(text, TaskFormat::Verbatim, "t").unwrap().prompt, text);
    }

    #[test]
    fn errors_name_file_line_field_and_the_nearest_known_field() {
        for (text, format, expected) in [
            (
                "---\nname: x\nlimits:\n  cost: 1\n  tmieout: 30m\n---\nDo it.",
                TaskFormat::Markdown,
                "task.md:5: limits.tmieout: unknown field `tmieout`; did you mean `timeout`? \
                 Known are `timeout`, `cost` and `iterations`",
            ),
            (
                "---\nlimits: { cost: abc }\n---\nDo it.",
                TaskFormat::Markdown,
                "task.md:2: limits.cost: invalid type: string \"abc\"; expected f64",
            ),
            (
                "{\n  \"prompt\": \"x\",\n  \"limits\": {\"iterations\": -1}\n}",
                TaskFormat::Json,
                "task.md:3: limits.iterations: invalid value: integer `-1`; expected u32",
            ),
            (
                "prompt: x\nlimits: 3\n",
                TaskFormat::Yaml,
                "task.md:2: limits: invalid type: integer `3`; expected fields with values",
            ),
        ] {
            assert_eq!(problem(text, format), expected, "{text}");
        }
    }

    #[test]
    fn bad_values_say_what_would_be_right() {
        for (text, part) in [
            (
                "prompt: x\nlimits: {timeout: 30}\n",
                "task.md:2: limits.timeout: `30` is not a duration: write a time with its unit",
            ),
            ("prompt: x\nlimits: {cost: -1}\n", "leaves nothing to spend"),
            ("prompt: x\nlimits: {iterations: 0}\n", "give 1 or more"),
            ("prompt: x\ntags: {Bad_Key: v}\n", "the tag key `Bad_Key` may hold only lower-case letters and digits"),
            ("prompt: x\nthen: ['']\n", "task.md: then[0]: an empty message"),
            ("then: [x]\n", "`prompt` is missing or empty"),
            ("name: [\n", "task.md:1: name"),
        ] {
            let problem = problem(text, TaskFormat::Yaml);
            assert!(problem.contains(part), "{text:?} gives {problem}");
        }
    }

    #[test]
    fn front_matter_must_end_and_hold_no_prompt() {
        assert!(
            problem("---\nname: x\nDo it.", TaskFormat::Markdown)
                .starts_with("task.md:1: a front matter that does not end")
        );
        assert!(problem("---\nprompt: y\n---\nx", TaskFormat::Markdown).contains("a prompt in the front matter"));
        assert!(problem("---\nname: x\n---\n \n", TaskFormat::Markdown).contains("no text"));
        assert!(problem("", TaskFormat::Markdown).contains("no text"));
    }

    #[test]
    fn the_prompts_line_in_the_file_is_known() {
        let task = parse("---\nname: x\nthen: [y]\n---\n\n\nDo it.", TaskFormat::Markdown, "task.md").unwrap();
        assert_eq!(task.origin, Origin { file: "task.md".to_owned(), prompt_line: Some(7), has_fields: true });
        assert!(!parse("Do it.", TaskFormat::Markdown, "task.md").unwrap().origin.has_fields);
    }

    #[test]
    fn what_a_run_is_made_of_is_checked_field_by_field() {
        for (text, expected) in [
            (
                "prompt: x\nrepos:\n  - url: octo/a\n    provider: github\n  - {url: octo/b, provder: github}\n",
                "task.md:5: repos[1].provder: unknown field `provder`; did you mean `provider`? \
                 Known are `url`, `ref`, `provider`, `optional` and `timeout`",
            ),
            (
                "prompt: x\nrepos:\n  - ftp://h/x\n",
                "task.md:3: repos[0]: an address that starts with `ftp:`; expected another: \
                 write owner/repo with a provider, https://…, ssh://…, git@host:path or file:///…",
            ),
            (
                "prompt: x\nrepos: [{url: 'https://h/x', ref: -x}]\n",
                "task.md:2: repos[0].ref: `-x` is not the name of a branch, a tag or a commit; mend it, or see \
                 `openhands-runner schema`",
            ),
            (
                "prompt: x\nskills: {pubic: false}\n",
                "task.md:2: skills.pubic: unknown field `pubic`; did you mean `public`? \
                 Known are `public`, `user`, `org` and `project`",
            ),
            (
                "prompt: x\nmcp: {a: {url: 'http://h', command: c}}\n",
                "task.md:2: mcp.a: an MCP server; expected one of `url` and `command` in it",
            ),
            ("prompt: x\nparams: {a: [1]}\n", "task.md:2: params.a: several values; expected one text"),
            (
                "prompt: x\nexperiment: {experiment_id: e, variants: [{name: A, weight: 0}]}\n",
                "task.md:2: experiment.variants[0].weight: a weight of 0 is never chosen: give 1 or more, or take the \
                 variant out; mend it, or see `openhands-runner schema`",
            ),
        ] {
            assert_eq!(problem(text, TaskFormat::Yaml), expected, "{text}");
        }
    }

    #[test]
    fn json_ends_where_it_ends() {
        assert!(problem("{\"prompt\": \"x\"} tail", TaskFormat::Json).contains("trailing characters"));
    }
}
