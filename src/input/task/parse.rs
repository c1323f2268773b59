//! The text of a task file -> [`Task`], with file, line and field in every error.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use super::foreign::{self, Unknown, remove};
use super::front_matter::Parts;
use super::refusal::{UNKNOWN_FIELD, refusal};
use super::{Origin, Task};
use crate::input::problem::Problem;

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
        TaskFormat::Yaml => with_fields(yaml_task(text, 0, file)?),
        TaskFormat::Json => with_fields(json_task(text, file)?),
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
/// out with a warning: a newer service may have added them, and no user could correct the file.
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

fn with_fields(task: Task) -> Task {
    Task { origin: Origin { has_fields: true, ..task.origin }, ..task }
}

fn markdown(text: &str, file: &str) -> Result<Task, Problem> {
    let Parts { before, front_matter: Some(front_matter), body } = Parts::of(text, file)? else {
        return Ok(Task { prompt: text.trim().to_owned(), ..Task::default() });
    };
    let task = match front_matter.trim() {
        "" => Task::default(),
        _ => yaml_task(&front_matter, before + 1, file)?,
    };
    if !task.prompt.is_empty() {
        return Err(Problem::new(
            format!("{file}: prompt"),
            "a prompt in the front matter",
            "write the prompt under the closing `---`",
        ));
    }
    let blank_lines = body[..body.len() - body.trim_start().len()].matches('\n').count();
    // Two fences lie around the front matter, and lines count from 1.
    let prompt_line = before + front_matter.lines().count() + 3 + blank_lines;
    let origin = Origin { prompt_line: Some(prompt_line), has_fields: true, ..task.origin };
    Ok(Task { prompt: body.trim().to_owned(), origin, ..task })
}

/// The text below the front matter of a Markdown file, or all of another file, as the prompt. Nothing in it is read.
///
/// # Errors
/// A [`Problem`] where there is no text.
pub(crate) fn plain(text: &str, format: TaskFormat, file: &str) -> Result<Task, Problem> {
    let body = match format {
        TaskFormat::Markdown => Parts::of(text, file).map_or(text, |parts| parts.body).trim(),
        TaskFormat::Yaml | TaskFormat::Json | TaskFormat::Verbatim => text,
    };
    parse(body, TaskFormat::Verbatim, file)
}

fn yaml_task(text: &str, lines_before: usize, file: &str) -> Result<Task, Problem> {
    yaml(text, lines_before, file).map_err(|problem| {
        let value = yaml_serde::from_str(text).ok();
        value.and_then(|value| all_unknown(value, &("\n".repeat(lines_before) + text), file)).unwrap_or(problem)
    })
}

fn json_task(text: &str, file: &str) -> Result<Task, Problem> {
    json(text, file).or_else(|problem| {
        let Ok(mut value) = serde_json::from_str::<Value>(text) else { return Err(problem) };
        if let Some(problem) = all_unknown(value.clone(), text, file) {
            return Err(problem);
        }
        // In JSON the values of parameters may be numbers, which are taken as they are written.
        let params = value.get_mut("params").and_then(Value::as_object_mut);
        for param in params.into_iter().flat_map(|params| params.values_mut()) {
            if param.is_number() || param.is_boolean() {
                *param = Value::String(param.to_string());
            }
        }
        located(&value.to_string()).map_err(|_| problem)
    })
}

/// One problem for all unknown fields of a task, where there are more than one, or where another tool has a name for it.
fn all_unknown(mut value: Value, text: &str, file: &str) -> Option<Problem> {
    let mut unknown: Vec<Unknown> = Vec::new();
    while let Err(error) = located::<Task>(&value.to_string()) {
        let message = error.inner().to_string();
        let Some(names) = message.strip_prefix(UNKNOWN_FIELD) else { break };
        let known = names.split('`').skip(1).step_by(2).skip(1).map(str::to_owned).collect();
        unknown.push(Unknown { path: error.path().to_string(), known });
        if !remove(&mut value, error.path()) {
            break;
        }
    }
    let is_renamed = |field: &Unknown| foreign::renamed(&field.path).is_some();
    (unknown.len() > 1 || unknown.iter().any(is_renamed)).then(|| foreign::problem(file, text, &unknown))
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
                "task.md:2: limits.cost: the text `abc`; expected a number",
            ),
            (
                "{\n  \"prompt\": \"x\",\n  \"limits\": {\"iterations\": -1}\n}",
                TaskFormat::Json,
                "task.md:3: limits.iterations: the number -1; expected a whole number of 0 or more",
            ),
            (
                "prompt: x\nlimits: 3\n",
                TaskFormat::Yaml,
                "task.md:2: limits: the number 3; expected fields with values",
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
                 Known are `url`, `ref`, `provider`, `optional`, `submodules`, `lfs` and `timeout`",
            ),
            (
                "prompt: x\nrepos:\n  - ftp://h/x\n",
                "task.md:3: repos[0]: an address that starts with `ftp:`; expected another: \
                 write owner/repo with a provider, https://…, ssh://…, git@host:path or file:///…",
            ),
            (
                "prompt: x\nrepos: [{url: 'https://h/x', ref: -x}]\n",
                "task.md:2: repos[0].ref: `-x` is not the name of a branch, a tag or a commit; see \
                 `openhands-runner schema` for what may stand there",
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
                 variant out; see `openhands-runner schema` for what may stand there",
            ),
        ] {
            assert_eq!(problem(text, TaskFormat::Yaml), expected, "{text}");
        }
    }

    #[test]
    fn a_front_matter_is_found_below_blank_lines_and_comments() {
        for before in ["\n", "\u{feff}\n\r\n", "<!-- a note\nof two lines -->\n", " \n<!-- x -->\n\n"] {
            let text = format!("{before}---\nsecrets: []\nlimits: {{cost: 1}}\n---\nDo it.");
            let task = parse(&text, TaskFormat::Markdown, "t").unwrap();
            assert_eq!((task.secrets, task.limits.cost, task.prompt.as_str()), (Some(Vec::new()), Some(1.0), "Do it."));
            let line = text.lines().position(|line| line == "Do it.").unwrap() + 1;
            assert_eq!(task.origin.prompt_line, Some(line), "{before:?}");
            let wrong = problem(&text.replace("cost", "cots"), TaskFormat::Markdown);
            assert!(wrong.starts_with(&format!("task.md:{}: limits.cots", line - 2)), "{wrong}");
        }
    }

    #[test]
    fn a_front_matter_below_a_heading_is_an_error() {
        let error = problem("# My task\n\n---\nlimits: {cost: 1}\n---\nDo it.", TaskFormat::Markdown);
        assert!(error.starts_with("task.md:3: a front matter below other text; move its first"), "{error}");
        for text in ["# Title\n---\nSome words: and more\n---\nx", "# Title\n---\nx", "Title\n---\nname: x\n---\n"] {
            assert_eq!(parse(text, TaskFormat::Markdown, "t").unwrap().prompt, text.trim());
        }
    }

    #[test]
    fn all_unknown_fields_are_told_at_once_each_with_its_place() {
        let error = problem("---\nnmae: x\nlimits:\n  tmieout: 3m\n---\nx", TaskFormat::Markdown);
        assert_eq!(
            error,
            "task.md: 2 unknown fields: `nmae` (line 2, did you mean `name`?), `limits.tmieout` (line 4, did you mean \
             `timeout`?); `openhands-runner schema` prints all fields"
        );
        assert!(problem(r#"{"prompt": "x", "a": 1, "b": 2}"#, TaskFormat::Json).contains("2 unknown fields: `a`"));
    }

    #[test]
    fn a_file_of_another_tool_is_recognised_and_its_fields_get_their_names_here() {
        for (front_matter, kind, advice) in [
            ("on: push\nengine: copilot\ntimeout_minutes: 5", "a GitHub agentic workflow", "here `limits.timeout`"),
            ("description: x\nallowed-tools: Bash\nmodel: m", "a slash command", "here `llm.model`"),
            ("mode: agent\ntools: [x]", "a prompt file of an editor", "`mode` (line 2)"),
            ("triggers: [x]\ntype: knowledge", "an OpenHands skill", "`triggers` (line 2)"),
            ("title: x\nparameters: []\nextensions: []", "a goose recipe", "here `params`"),
        ] {
            let error = problem(&format!("---\n{front_matter}\n---\nDo it."), TaskFormat::Markdown);
            assert!(error.contains(&format!("this looks like {kind}")) && error.contains(advice), "{error}");
            assert!(error.contains("`--plain`") && !error.contains("working_dir"), "{error}");
            let text = format!("---\n{front_matter}\n---\nDo {{{{ it }}}}.");
            let task = plain(&text, TaskFormat::Markdown, "t").unwrap();
            assert_eq!((task.prompt.as_str(), task.origin.has_fields), ("Do {{ it }}.", false));
        }
        assert!(parse("---\ndescription: what it is\n---\nx", TaskFormat::Markdown, "t").is_ok());
    }

    #[test]
    fn a_value_that_may_be_a_key_is_in_no_error() {
        for text in [
            "prompt: x\nllm: sk-ant-api03-abcdefgh\n",
            "prompt: x\nsecrets: ghp_0123456789abcdef\n",
            "prompt: x\nghp_0123456789abcdef: 1\n",
            "prompt: x\nlimits: {sk-ant-api03-abcdefgh: 1, ghp_0123456789abcdef: 2}\n",
            "prompt: x\nlimits: {timeout: sk-ant-api03-abcdefgh}\n",
            "prompt: x\nlimits: {iterations: 'a1b2c3d4e5f6a7b8'}\n",
            "prompt: x\ntags: {ghp0123456789abcdef_: v}\n",
            "prompt: x\nrepos: [{url: 'https://h/x', ref: 'ghp_0123456789abcdef~'}]\n",
            "prompt: x\nrepos: [{url: 'o/r', provider: ghp_0123456789abcdef}]\n",
        ] {
            let problem = problem(text, TaskFormat::Yaml);
            for key in ["sk-ant", "0123456789abcdef", "a1b2c3d4"] {
                assert!(!problem.contains(key), "{problem}");
            }
        }
    }

    #[test]
    fn texts_and_parameters_stay_as_they_are_written() {
        let yaml = "prompt: x\nname: 1.10\nllm: {model: 4.10, profile: 007, temperature: 0.50}\n\
            params: {a: 3.10, b: 1e3, c: 0x1F, d: 12345678901234567890123, e: yes, f: null, g: '~', h: ~, i: +1_0}\n";
        let task = parse(yaml, TaskFormat::Yaml, "t").unwrap();
        let params: Vec<_> = task.params.values().map(Option::as_deref).collect();
        let expected = ["3.10", "1e3", "0x1F", "12345678901234567890123", "yes"].map(Some);
        assert_eq!(params[..5], expected);
        assert_eq!(params[5..], [None, Some("~"), None, Some("+1_0")]);
        assert_eq!((task.name.as_deref(), task.llm.profile.as_deref()), (Some("1.10"), Some("007")));
        assert_eq!(Value::from(task.llm.fields), json!({"model": "4.10", "temperature": 0.5}));
        let json = r#"{"prompt": "x", "params": {"a": 3.10, "b": 12345678901234567890123, "c": true, "d": null}}"#;
        let params = parse(json, TaskFormat::Json, "t").unwrap().params;
        let params: Vec<_> = params.values().map(Option::as_deref).collect();
        assert_eq!(params, [Some("3.10"), Some("12345678901234567890123"), Some("true"), None]);
    }

    #[test]
    fn json_ends_where_it_ends() {
        assert!(problem("{\"prompt\": \"x\"} tail", TaskFormat::Json).contains("trailing characters"));
    }
}
