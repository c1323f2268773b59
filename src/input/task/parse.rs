//! Parses the text of a task file into a [`Task`]. Every error has file, line, column and field.

use openhands_client::collections::inserted;
use serde::de::DeserializeOwned;

use super::fields::{Fields, Wrong};
use super::front_matter::Parts;
use super::places::{Place, TextPlace};
use super::refusal::known_names;
use super::tolerant::{Part, Step, Tolerance};
use super::{Origin, Task, foreign};
use crate::input::rows::Row;
use crate::problem::{Problem, Problems};

/// The maximum number of errors that are reported for a file.
const MOST: usize = 20;

/// The format of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskFormat {
    /// Markdown with optional YAML front matter. The text after it is the prompt.
    Markdown,
    /// YAML with the prompt in the field `prompt`.
    Yaml,
    /// JSON with the prompt in the field `prompt`.
    Json,
    /// The whole text is the prompt, byte for byte, as the automation service packs it.
    Verbatim,
}

impl TaskFormat {
    /// Returns the format that a file name implies; otherwise Markdown.
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

/// Parses a task. `file` is its name in errors.
///
/// # Errors
/// [`Problems`]: all errors, each with file, line and column, what was found and what to do.
pub(crate) fn parse(text: &str, format: TaskFormat, file: &str) -> Result<Task, Problems> {
    parse_for(text, format, file, None)
}

/// Parses a task whose fields may take their values from a row.
///
/// # Errors
/// The errors of [`parse`], and a value of the row that is invalid for its field, with the places of both.
pub(crate) fn parse_for(text: &str, format: TaskFormat, file: &str, row: Option<&Row>) -> Result<Task, Problems> {
    parse_checked(text, format, file, row, &|_| Vec::new())
}

/// Finds the errors in the messages of a task.
pub(crate) type CheckMessages<'c> = &'c dyn Fn(&Task) -> Vec<Problem>;

/// Does the same. If a field is wrong, `check_messages` adds the errors in the messages, so that all are reported together.
///
/// # Errors
/// The errors of [`parse_for`].
pub(crate) fn parse_checked(
    text: &str,
    format: TaskFormat,
    file: &str,
    row: Option<&Row>,
    check_messages: CheckMessages<'_>,
) -> Result<Task, Problems> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (task, mut problems) = match format {
        TaskFormat::Verbatim => (Some(Task { prompt: text.to_owned(), ..Task::default() }), Vec::new()),
        TaskFormat::Yaml | TaskFormat::Json => with_fields(text, format, file, row)?,
        TaskFormat::Markdown => markdown(text, file, row)?,
    };
    let Some(mut task) = task else { return Err(Problems(problems)) };
    if task.prompt.trim().is_empty() && !problems.iter().any(|problem| problem.found.contains("`prompt`")) {
        let (found, help) = match format {
            TaskFormat::Yaml | TaskFormat::Json => {
                ("`prompt` is missing or empty", "write what the agent should do under `prompt`")
            }
            TaskFormat::Markdown | TaskFormat::Verbatim => ("no text", "write what the agent should do"),
        };
        problems.push(Problem::new(file, found, help));
    }
    file.clone_into(&mut task.origin.file);
    task.row = row.cloned();
    if problems.is_empty() {
        return Ok(task);
    }
    // Parameters that could not be read would be reported as missing in the messages.
    if !problems.iter().any(|problem| ["`params", "`prompt`"].iter().any(|field| problem.found.contains(field))) {
        problems.extend(check_messages(&task));
    }
    Err(Problems(problems))
}

/// Reads a list or an object that the automation service has packed next to the prompt. Unknown fields are left out with a
/// warning: a newer service may have added them, and no user could correct the file.
///
/// # Errors
/// The errors of [`parse`], except for unknown fields.
pub(crate) fn data<T: DeserializeOwned>(text: &str, file: &str) -> Result<T, Problems> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let fields = Fields { text, format: TaskFormat::Json, file, row: None };
    let (data, wrong) = fields.read(&Tolerance { most: usize::MAX, explains: |error| known_names(error).is_none() })?;
    let (unknown, wrong): (Vec<_>, Vec<_>) = wrong.into_iter().partition(|wrong| wrong.unknown_field().is_some());
    match data {
        Some(data) if wrong.is_empty() => {
            for field in &unknown {
                tracing::warn!(file, field = %field.part, "ignoring an unknown field");
            }
            Ok(data)
        }
        _ => Err(Problems(wrong.iter().take(MOST).map(Wrong::problem).collect())),
    }
}

/// The content of a file: the task, as far as it is valid, and the errors.
type Read = (Option<Task>, Vec<Problem>);

fn with_fields(text: &str, format: TaskFormat, file: &str, row: Option<&Row>) -> Result<Read, Problem> {
    let fields = Fields { text, format, file, row };
    let (task, wrong) = fields.read::<Task>(&Tolerance { most: MOST, explains: |_| true })?;
    let mut problems: Vec<Problem> = wrong.iter().map(Wrong::problem).collect();
    let at_top = wrong.iter().filter(|wrong| wrong.part.path.len() == 1).filter_map(Wrong::unknown_field);
    if let Some(problem) = foreign::problem(file, &at_top.collect::<Vec<_>>()) {
        problems.insert(0, problem);
    }
    for (index, _) in task.iter().flat_map(|task| &task.then).enumerate().filter(|(_, text)| text.trim().is_empty()) {
        let path = vec![Step::Field("then".to_owned()), Step::Item(index)];
        let place = fields.place(&Part { path, is_name: false });
        problems.push(Problem::new(
            place,
            format!("`then[{index}]` is an empty message"),
            "write a message, or remove it",
        ));
    }
    let task = task.map(|task| Task { origin: origin(&fields, &task), ..task });
    Ok((task, problems))
}

/// Returns the places of the texts that are rendered later.
fn origin(fields: &Fields<'_>, task: &Task) -> Origin {
    let field = |name: &str| Step::Field(name.to_owned());
    let then = task.then.iter().enumerate();
    let without_value = task.params.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name);
    let param = |name: &String| {
        let part = Part { path: vec![field("params"), field(name)], is_name: true };
        Some((name.clone(), fields.position(&part)?))
    };
    Origin {
        file: String::new(),
        prompt: fields.text_place(vec![field("prompt")], &task.prompt),
        then: then.map(|(index, text)| fields.text_place(vec![field("then"), Step::Item(index)], text)).collect(),
        params: inserted(without_value.filter_map(param)),
        has_fields: true,
    }
}

fn markdown(text: &str, file: &str, row: Option<&Row>) -> Result<Read, Problem> {
    let Parts { before, front_matter: Some(front_matter), body } = Parts::of(text, file)? else {
        return Ok((Some(Task { prompt: text.trim().to_owned(), ..Task::default() }), Vec::new()));
    };
    // The lines above are kept as empty lines, so that line numbers are those of the file.
    let fields = "\n".repeat(before + 1) + &front_matter;
    let (task, mut problems) = match front_matter.trim() {
        "" => (Some(Task::default()), Vec::new()),
        _ => with_fields(&fields, TaskFormat::Yaml, file, row)?,
    };
    if task.as_ref().is_some_and(|task| !task.prompt.is_empty()) {
        let part = Part { path: vec![Step::Field("prompt".to_owned())], is_name: true };
        let place = Fields { text: &fields, format: TaskFormat::Yaml, file, row }.place(&part);
        problems.push(Problem::new(place, "`prompt` in the front matter", "write the prompt below the closing `---`"));
    }
    let in_body = Place::of_byte(body, body.len() - body.trim_start().len());
    // The front matter has two fences.
    let start = Place { line: before + front_matter.lines().count() + 2 + in_body.line, column: in_body.column };
    let prompt = body.trim();
    let task = task.map(|task| {
        let origin = Origin { prompt: TextPlace::of_rest(start, prompt), has_fields: true, ..task.origin };
        Task { prompt: prompt.to_owned(), origin, ..task }
    });
    Ok((task, problems))
}

/// Returns the text after the front matter of a Markdown file, or the whole text of another file, as the prompt. It is not
/// parsed.
///
/// # Errors
/// [`Problems`] if there is no text.
pub(crate) fn plain(text: &str, format: TaskFormat, file: &str) -> Result<Task, Problems> {
    let body = match format {
        TaskFormat::Markdown => Parts::of(text, file).map_or(text, |parts| parts.body).trim(),
        TaskFormat::Yaml | TaskFormat::Json | TaskFormat::Verbatim => text,
    };
    parse(body, TaskFormat::Verbatim, file)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    fn problem(text: &str, format: TaskFormat) -> String {
        parse(text, format, "task.md").unwrap_err().to_string()
    }

    const EXAMPLE: &str = "---\nname: three-facts\nllm: { profile: fast, temperature: 0.2 }\nsecrets: [GITHUB_TOKEN]\n\
        limits: { timeout: 30m, cost: 2.50, iterations: 200 }\nthen: [ \"Great!\" ]\n---\nRead the repo.\n";

    #[test]
    fn a_secret_list_and_a_limit_without_a_value_are_refused() {
        let nothing = ["", "null", "~"];
        for (before, after, field) in [
            ("secrets: ", "", "secrets"),
            ("limits: { cost: ", " }", "cost"),
            ("limits: { timeout: ", " }", "timeout"),
            ("limits: { iterations: ", " }", "iterations"),
        ] {
            for value in nothing {
                let text = format!("---\n{before}{value}{after}\n---\nDo it.");
                let error = problem(&text, TaskFormat::Markdown);
                assert!(error.contains(&format!("`{field}` has no value; give")), "{error}");
            }
        }
    }

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
    fn errors_name_place_field_and_the_nearest_known_field() {
        for (text, format, expected) in [
            (
                "---\nname: x\nlimits:\n  cost: 1\n  tmieout: 30m\n---\nDo it.",
                TaskFormat::Markdown,
                "task.md:5:3: unknown field `limits.tmieout`; did you mean `timeout`? \
                 Known are `timeout`, `cost`, `iterations` and `attempts`",
            ),
            (
                "---\nlimits: { cost: abc }\n---\nDo it.",
                TaskFormat::Markdown,
                "task.md:2:17: invalid value `abc` for `limits.cost`; expected a number of US dollars, such as 2.50",
            ),
            (
                "{\n  \"prompt\": \"x\",\n  \"limits\": {\"iterations\": -1}\n}",
                TaskFormat::Json,
                "task.md:3:28: invalid value `-1` for `limits.iterations`; expected a whole number of 1 or more, such as 200",
            ),
            (
                "prompt: x\nlimits: 3\n",
                TaskFormat::Yaml,
                "task.md:2:9: invalid value `3` for `limits`; expected fields with values, such as `name: value`",
            ),
            (
                "prompt: x\nlimits: {cost: 1}\nlimits: {cost: 2}\n",
                TaskFormat::Yaml,
                "task.md:2:9: `limits` is given twice; remove one of the two",
            ),
            (
                "prompt: x\nplugins:\n  - {ref: v1}\n",
                TaskFormat::Yaml,
                "task.md:3:5: `source` is missing in `plugins[0]`; add `source`",
            ),
        ] {
            assert_eq!(problem(text, format), expected, "{text}");
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once_each_at_its_place_and_none_that_follows_from_another() {
        let yaml = "limits:\n  tmieout: 30m\n  cost: abc\n  iterations: [2]\nnmae: x\nsecrets: TOKEN\ntags: {Bad_Key: v, good: 1}\n\
            repos:\n  - {url: 'o/r', provider: githup}\n  - 'ftp://h/x'\n  - {url: 'https://h/x', ref: main}\n\
            then: ['', [x]]\nexperiment: {experiment_id: e, variants: [{name: A, weight: 0}, {name: B}]}\n";
        let json = r#"{"limits": {"cost": "abc", "iterations": 2.5},
  "params": {"a": 3.10, "b": [1]},
  "then": [" "]}"#;
        for (text, format, expected) in [
            (
                format!("---\n{yaml}---\nDo it."),
                TaskFormat::Markdown,
                &[
                    "task.md:3:3: unknown field `limits.tmieout`",
                    "task.md:4:9: invalid value `abc` for `limits.cost`",
                    "task.md:5:15: invalid value for `limits.iterations`: a list",
                    "task.md:6:1: unknown field `nmae`",
                    "task.md:7:10: invalid value `TOKEN` for `secrets`",
                    "task.md:8:8: `tags.Bad_Key`: invalid tag key `Bad_Key`",
                    "task.md:10:28: invalid value `githup` for `repos[0].provider`",
                    "task.md:11:5: `repos[1]`: an address that starts with `ftp:`",
                    "task.md:13:12: invalid value for `then[1]`: a list",
                    "task.md:14:61: `experiment.variants[0].weight`: a variant of weight 0 is never chosen",
                    "task.md:14:65: `weight` is missing in `experiment.variants[1]`",
                    "task.md:13:8: `then[0]` is an empty message",
                ][..],
            ),
            (
                json.to_owned(),
                TaskFormat::Json,
                &[
                    "task.md:1:21: invalid value `abc` for `limits.cost`",
                    "task.md:1:42: invalid value `2.5` for `limits.iterations`",
                    "task.md:2:30: invalid value for `params.b`: a list",
                    "task.md:3:12: `then[0]` is an empty message",
                    "task.md: `prompt` is missing or empty",
                ],
            ),
        ] {
            let problems = parse(&text, format, "task.md").unwrap_err().0;
            let told: Vec<_> = problems.iter().map(|problem| format!("{}: {}", problem.place, problem.found)).collect();
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn many_numbers_as_parameters_hide_no_mistake() {
        let params: Vec<_> = (0..2 * MOST).map(|number| format!("\"p{number}\": {number}")).collect();
        let text = |rest: &str| format!("{{\"prompt\": \"x\", \"params\": {{{}}}{rest}}}", params.join(", "));
        assert_eq!(parse(&text(""), TaskFormat::Json, "t").unwrap().params["p7"].as_deref(), Some("7"));
        let wrong = problem(&text(", \"limits\": {\"cost\": -1}"), TaskFormat::Json);
        assert!(wrong.contains("`limits.cost`"), "{wrong}");
    }

    #[test]
    fn more_mistakes_than_are_told_are_no_task() {
        let fields: Vec<_> = (0..2 * MOST).map(|number| format!("  x{number}: 1\n")).collect();
        let text = format!("prompt: x\nlimits:\n{}", fields.concat());
        assert_eq!(parse(&text, TaskFormat::Yaml, "t").unwrap_err().0.len(), MOST);
    }

    #[test]
    fn a_text_with_wrong_syntax_is_told_as_that_and_at_its_place() {
        for (text, format, expected) in [
            (
                "---\nname: x\nlimits: [1\n---\nDo it.",
                TaskFormat::Markdown,
                "task.md:3:9: a list that is not closed; put a `,` between its items and a `]` at its end",
            ),
            (
                "{\"prompt\": \"x\",\n \"limits\": 3",
                TaskFormat::Json,
                "task.md:2:12: the text ends inside an object; close it with `}`",
            ),
        ] {
            assert_eq!(problem(text, format), expected);
        }
    }

    #[test]
    fn bad_values_say_what_would_be_right() {
        for (text, part) in [
            (
                "prompt: x\nlimits: {timeout: 30}\n",
                "task.md:2:19: `limits.timeout`: `30` is not a duration; write a time with its unit",
            ),
            ("prompt: x\nlimits: {cost: -1}\n", "leaves nothing to spend; give a number of US dollars above 0"),
            ("prompt: x\nlimits: {iterations: 0}\n", "give a whole number of 1 or more"),
            ("prompt: x\ntags: {Bad_Key: v}\n", "invalid tag key `Bad_Key`; use only lower-case letters and digits"),
            ("prompt: x\nthen: ['']\n", "task.md:2:8: `then[0]` is an empty message"),
            ("then: [x]\n", "`prompt` is missing or empty"),
            ("prompt: 3\nname: [1]\n", "task.md:2:7: invalid value for `name`: a list; expected a text"),
            (
                "prompt: x\nresult: {schema: {type: object}}\n",
                "`result`: no `properties` at `schema`; name at least one",
            ),
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
        assert!(
            problem("---\nprompt: y\n---\nx", TaskFormat::Markdown)
                .starts_with("task.md:2:1: `prompt` in the front matter")
        );
        assert!(problem("---\nname: x\n---\n \n", TaskFormat::Markdown).contains("no text"));
        assert!(problem("", TaskFormat::Markdown).contains("no text"));
    }

    #[test]
    fn the_prompts_line_in_the_file_is_known() {
        let task = parse("---\nname: x\nthen: [y]\n---\n\n\nDo it.", TaskFormat::Markdown, "task.md").unwrap();
        assert_eq!(task.origin.prompt.start, Some(Place { line: 7, column: 1 }));
        assert_eq!(task.origin.then[0].start, Some(Place { line: 3, column: 8 }));
        assert!(task.origin.has_fields && task.origin.file == "task.md");
        assert!(!parse("Do it.", TaskFormat::Markdown, "task.md").unwrap().origin.has_fields);
    }

    #[test]
    fn what_a_run_is_made_of_is_checked_field_by_field() {
        for (text, expected) in [
            (
                "prompt: x\nrepos:\n  - url: octo/a\n    provider: github\n  - {url: octo/b, provder: github}\n",
                "task.md:5:19: unknown field `repos[1].provder`; did you mean `provider`? \
                 Known are `url`, `ref`, `provider`, `optional`, `submodules`, `lfs` and `timeout`",
            ),
            (
                "prompt: x\nrepos:\n  - ftp://h/x\n",
                "task.md:3:5: `repos[0]`: an address that starts with `ftp:`; \
                 write owner/repo with a provider, https://…, ssh://…, git@host:path or file:///…",
            ),
            (
                "prompt: x\nrepos: [{url: 'https://h/x', ref: -x}]\n",
                "task.md:2:35: `repos[0].ref`: `-x` is not the name of a branch, a tag or a commit; \
                 write a name that git accepts, such as `main`",
            ),
            (
                "prompt: x\nskills: {pubic: false}\n",
                "task.md:2:10: unknown field `skills.pubic`; did you mean `public`? \
                 Known are `public`, `user`, `org` and `project`",
            ),
            (
                "prompt: x\nmcp: {a: {url: 'http://h', command: c}}\n",
                "task.md:2:10: `mcp.a`: both `url` and `command`; an MCP server has one of the two: `url` for a remote one, \
                 `command` for one that is started",
            ),
            (
                "prompt: x\nmcp: {a: {command: [npx, -y, x]}}\n",
                "task.md:2:10: `mcp.a`: a list as `command`; write the program as `command`, and what follows as `args: […]`",
            ),
            (
                "prompt: x\nnotify: ['https://hooks.example.com/abc']\n",
                "task.md:2:10: invalid value for `notify[0]`; expected fields such as `{url: \"https://hooks.example.com/x\"}`",
            ),
            (
                "prompt: x\nmcp: {a: {url: mcp.example.com/mcp}}\n",
                "task.md:2:10: `mcp.a`: not an address; write one that starts with http:// or https://",
            ),
            (
                "prompt: x\nmcp: {a: {url: 'ftp://h/mcp'}}\n",
                "task.md:2:10: `mcp.a`: not an address; write one that starts with http:// or https://",
            ),
            (
                "prompt: x\nmcp: {a: {url: 'https://h/a b'}}\n",
                "task.md:2:10: `mcp.a`: not an address; write one that starts with http:// or https://",
            ),
            (
                "prompt: x\nllm: {model: m, base_url: 'localhost:11434'}\n",
                "task.md:2:27: `llm.base_url`: not an address; write one that starts with http:// or https://",
            ),
            ("prompt: x\nparams: {a: [1]}\n", "task.md:2:13: invalid value for `params.a`: a list; expected one text"),
            (
                "prompt: x\nexperiment: {experiment_id: e, variants: [{name: A, weight: 0}]}\n",
                "task.md:2:61: `experiment.variants[0].weight`: a variant of weight 0 is never chosen; give 1 or more, or \
                 remove the variant",
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
            assert_eq!(task.origin.prompt.start, Some(Place { line, column: 1 }), "{before:?}");
            let wrong = problem(&text.replace("cost", "cots"), TaskFormat::Markdown);
            assert!(wrong.starts_with(&format!("task.md:{}:10: unknown field `limits.cots`", line - 2)), "{wrong}");
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
    fn a_file_of_another_tool_is_recognised_and_its_fields_get_their_names_here() {
        for (front_matter, kind, advice) in [
            (
                "on: push\nengine: copilot\ntimeout_minutes: 5",
                "a GitHub agentic workflow",
                "here it is `limits.timeout`",
            ),
            ("description: x\nallowed-tools: Bash\nmodel: m", "a slash command", "here it is `llm.model`"),
            ("mode: agent\ntools: [x]", "a prompt file of an editor", "unknown field `mode`"),
            ("triggers: [x]\ntype: knowledge", "an OpenHands skill", "unknown field `triggers`"),
            ("title: x\nparameters: []\nextensions: []", "a goose recipe", "here it is `params`"),
        ] {
            let error = problem(&format!("---\n{front_matter}\n---\nDo it."), TaskFormat::Markdown);
            assert!(error.contains(&format!("this looks like {kind}")) && error.contains(advice), "{error}");
            assert!(error.contains("`--plain`"), "{error}");
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
        let error = problem("{\"prompt\": \"x\"} tail", TaskFormat::Json);
        assert!(error.starts_with("task.md:1:17: trailing characters"), "{error}");
    }
}
