//! Renders the messages of a task.

use openhands_client::collections::inserted;
use std::collections::{BTreeMap, BTreeSet};

use openhands_client::ids::RunId;
use openhands_client::secret::Secret;

use crate::input::payload::Payload;
use crate::input::task::Task;
use crate::input::task::places::TextPlace;
use crate::input::template::{Template, Values};
use crate::plan::context::Context;
use crate::problem::{Problem, did_you_mean};

/// Renders the messages, and plans the context before the first one. Errors in them or in the parameters are added to `problems`.
pub(super) fn messages(
    task: &Task,
    payload: &Payload,
    given: &[(String, String)],
    run: Option<&RunId>,
    key: Option<&Secret>,
    problems: &mut Vec<Problem>,
) -> (Vec<String>, Context) {
    let is_template = task.origin.has_fields && task.template != Some(false);
    let templates: Vec<Template<'_>> = if is_template { templates(task) } else { Vec::new() };
    let names: BTreeSet<String> = inserted(templates.iter().flat_map(Template::names));
    let of_event = |name: &String| name.split('.').next() == Some("event");

    let takes_event = templates.iter().any(|template| template.names_of_values().iter().any(of_event));
    let context = Context::new(payload, takes_event, run, key);
    if matches!(payload, Payload::Malformed(_)) {
        // A text that needs the event is rejected as well; a text that only checks whether there is an event is not.
        tracing::warn!("{}", payload.why_no_event());
    }
    let params = params(task, given, &names, problems);
    if !is_template {
        return (task.messages().map(str::to_owned).collect(), context);
    }
    let (row, config) = (task.row.as_ref(), task.config.as_ref());
    let values = Values { payload, params, row, config, nonce: context.nonce() };
    let mut texts = Vec::new();
    for template in templates {
        match template.render(&values) {
            Ok(text) if text.trim().is_empty() => problems.push(Problem::new(
                template.place,
                "the message is empty after its template is filled in",
                "write what the agent should do in any case",
            )),
            Ok(text) => texts.push(text),
            Err(problem) => problems.push(problem),
        }
    }
    (texts, context)
}

fn templates(task: &Task) -> Vec<Template<'_>> {
    let file = &task.origin.file;
    let prompt = template(file, "prompt".to_owned(), Some(&task.origin.prompt), &task.prompt);
    let then = task.then.iter().enumerate();
    let then = then.map(|(index, text)| template(file, format!("then[{index}]"), task.origin.then.get(index), text));
    std::iter::once(prompt).chain(then).collect()
}

fn template<'t>(file: &'t str, field: String, place: Option<&'t TextPlace>, text: &'t str) -> Template<'t> {
    let start = place.and_then(|place| place.start);
    Template {
        file,
        place: start.map_or_else(|| format!("{file}: {field}"), |start| format!("{file}:{start}")),
        lines: place.map(|place| place.lines.as_slice()).unwrap_or_default(),
        text,
    }
}

/// Returns the values of the parameters: given values override those of the task.
fn params(
    task: &Task,
    given: &[(String, String)],
    names: &BTreeSet<String>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, String> {
    let used = names.iter().filter_map(|name| name.strip_prefix("params.")).filter_map(|rest| rest.split('.').next());
    let known: BTreeSet<&str> = inserted(used.chain(task.params.keys().map(String::as_str)));
    // A text that iterates over all parameters may use any of them.
    let takes_any = names.contains("params");
    for (name, _) in given.iter().filter(|(name, _)| !takes_any && !known.contains(name.as_str())) {
        let (found, help) = if known.is_empty() {
            (
                "the task has no parameters".to_owned(),
                "name it in a message as `{{ params.NAME }}`, or remove it".to_owned(),
            )
        } else {
            (
                format!("the task has no parameter `{name}`"),
                did_you_mean(name, &known.iter().copied().collect::<Vec<_>>()),
            )
        };
        problems.push(Problem::new(format!("--param {name}"), found, help));
    }
    let mut values = BTreeMap::new();
    for (name, value) in &task.params {
        let given = given.iter().any(|(other, _)| other == name);
        match value {
            Some(value) => {
                values.insert(name.clone(), value.clone());
            }
            None if !given => problems.push(Problem::new(
                match task.origin.params.get(name) {
                    Some(place) => format!("{}:{place}", task.origin.file),
                    None => format!("{}: params.{name}", task.origin.file),
                },
                format!("the parameter `{name}` has no value"),
                format!("give it with `--param {name}=…`"),
            )),
            None => {}
        }
    }
    values.extend(given.iter().cloned());
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::task::parse::{TaskFormat, parse};

    fn texts(
        task: &str,
        format: TaskFormat,
        payload: Option<&str>,
        given: &[(&str, &str)],
    ) -> Result<Vec<String>, String> {
        let task = parse(task, format, "task.md").unwrap();
        let given: Vec<_> = given.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut problems = Vec::new();
        let (texts, context) = messages(&task, &Payload::parse(payload), &given, None, None, &mut problems);
        if !problems.is_empty() {
            return Err(crate::problem::Problems(problems).to_string());
        }
        Ok(std::iter::once(context.message(&[], &texts[0])).chain(texts[1..].iter().cloned()).collect())
    }

    const EVENT: &str = r#"{"event": {"issue": {"title": "T", "number": 7}}}"#;

    #[test]
    fn the_named_fields_take_the_place_of_the_whole_event() {
        let task = "---\nthen: ['Close #{{ event.issue.number }}.']\n---\nRead {{ event.issue.title }}.";
        assert_eq!(texts(task, TaskFormat::Markdown, Some(EVENT), &[]).unwrap(), ["Read T.", "Close #7."]);
    }

    #[test]
    fn a_text_that_only_asks_for_the_event_gets_the_whole() {
        let task = "---\nname: x\n---\n{% if event is defined %}An event came.{% endif %}";
        let text = &texts(task, TaskFormat::Markdown, Some(EVENT), &[]).unwrap()[0];
        assert!(text.starts_with("## Event Payload\n") && text.ends_with("\n\nAn event came."), "{text}");
    }

    #[test]
    fn the_example_is_filled_in_from_an_event_of_github() {
        let task = include_str!("../../examples/review-pull-request.md");
        let payload = r#"{"event": {"action": "opened", "repository": {"full_name": "octo/alpha"}, "sender": {"login": "octocat"},
            "pull_request": {"number": 7, "title": "T", "base": {"ref": "main"}}}}"#;
        let text = &texts(task, TaskFormat::Markdown, Some(payload), &[("depth", "thorough")]).unwrap()[0];
        assert!(
            text.starts_with("Review pull request #7 of octo/alpha into\n`main`. How thorough: thorough.\n"),
            "{text}"
        );
        assert!(text.contains("\nT\n</data-from-outside "), "{text}");
    }

    #[test]
    fn what_is_nothing_but_text_is_sent_as_it_is_with_the_whole_event() {
        for format in [TaskFormat::Verbatim, TaskFormat::Markdown] {
            let texts = texts("Use ${{ x }} {% y %}", format, Some(EVENT), &[]).unwrap();
            assert!(texts[0].starts_with("## Event Payload\n"), "{texts:?}");
            assert!(texts[0].ends_with("\n\n## Task\n\nUse ${{ x }} {% y %}"), "{texts:?}");
        }
        let switched_off = "template: false\nprompt: 'Use ${{ x }}'\n";
        assert_eq!(texts(switched_off, TaskFormat::Yaml, None, &[]).unwrap(), ["Use ${{ x }}"]);
    }

    #[test]
    fn parameters_are_checked_both_ways() {
        let task = "---\nparams: {branch: main, who: null, number: 3}\n---\n{{ params.branch }} {{ params.who }}\n\
            {{ params.extra }} {{ params.number }}";
        let given = [("who", "me"), ("extra", "x"), ("branch", "next")];
        assert_eq!(texts(task, TaskFormat::Markdown, None, &given).unwrap(), ["next me\nx 3"]);
        let error = texts(task, TaskFormat::Markdown, None, &[("brnch", "x"), ("who", "me")]).unwrap_err();
        assert!(error.starts_with("2 problems:"), "{error}");
        assert!(error.contains("--param brnch: the task has no parameter `brnch`; did you mean `branch`?"), "{error}");
        assert!(error.contains("task.md:5:11: the parameter `extra` has no value"), "{error}");
        let error = texts(task, TaskFormat::Markdown, None, &[("extra", "x")]).unwrap_err();
        assert!(
            error.contains("task.md:2:24: the parameter `who` has no value; give it with `--param who=…`"),
            "{error}"
        );
        let error = texts("Do it.", TaskFormat::Verbatim, None, &[("a", "b")]).unwrap_err();
        assert!(error.starts_with("--param a: the task has no parameters"), "{error}");
        let any = "prompt: '{% for name in params %}{{ name }}{% endfor %}'";
        assert_eq!(texts(any, TaskFormat::Yaml, None, &[("a", "b")]).unwrap(), ["a"]);
    }

    #[test]
    fn a_malformed_payload_matters_only_to_a_text_that_needs_it() {
        assert_eq!(texts("prompt: x", TaskFormat::Yaml, Some("{"), &[]).unwrap(), ["x"]);
        let error = texts("prompt: |\n  a\n  {{ event.x }}", TaskFormat::Yaml, Some("{"), &[]).unwrap_err();
        assert!(error.starts_with("task.md:3:6: there is no event: AUTOMATION_EVENT_PAYLOAD is not JSON"), "{error}");
    }

    #[test]
    fn a_message_of_which_nothing_is_left_is_refused() {
        let task = "prompt: '{% if event is defined %}x{% endif %}'";
        assert!(texts(task, TaskFormat::Yaml, None, &[]).unwrap_err().contains("the message is empty after"));
    }
}
