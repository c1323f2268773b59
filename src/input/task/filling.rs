//! Fields and flags that take their values from a row: `repos: ["{{ row.repository }}"]`, `--image "{{ row.image }}"`.
//!
//! The messages are templates of their own. They are rendered later, with the event and the parameters.

use serde_json::Value;

use super::tolerant::Step;
use crate::input::payload::Payload;
use crate::input::rows::Row;
use crate::input::template::fence::Nonce;
use crate::input::template::{NO_ROW_HELP, Template, Values};
use crate::problem::{Mistake, Problem};

/// Fields whose texts are not rendered here.
const MESSAGES: &[&str] = &["prompt", "then"];

/// A field with its value for a row.
pub(super) type Filled = (Vec<Step>, Value);

/// A field without a value, with the reason.
pub(super) type Unfilled = (Vec<Step>, Mistake);

/// Returns the values of all fields that refer to a row.
///
/// # Errors
/// The fields that have no value.
pub(super) fn filled(fields: &Value, row: Option<&Row>) -> Result<Vec<Filled>, Vec<Unfilled>> {
    let mut filling = Filling { row, path: Vec::new(), filled: Vec::new(), unfilled: Vec::new() };
    if fields.get("template") != Some(&Value::Bool(false)) {
        filling.visit(fields);
    }
    if filling.unfilled.is_empty() { Ok(filling.filled) } else { Err(filling.unfilled) }
}

/// Returns the value of a flag for a row; `None` for an empty one.
///
/// # Errors
/// The flag refers to a column that the row does not have, or that is not a text.
pub(crate) fn flag_for(row: &Row, flag: &str, text: &str) -> Result<Option<String>, Problem> {
    let filling = Filling { row: Some(row), path: Vec::new(), filled: Vec::new(), unfilled: Vec::new() };
    let value = match filling.value(text).transpose() {
        Ok(None) => text.to_owned(),
        Ok(Some(Value::String(text))) => text,
        Ok(Some(value)) => value.to_string(),
        Err(mistake) => return Err(Problem::new(flag, mistake.found, mistake.help)),
    };
    Ok(Some(value).filter(|value| !value.is_empty()))
}

struct Filling<'r> {
    row: Option<&'r Row>,
    path: Vec<Step>,
    filled: Vec<Filled>,
    unfilled: Vec<Unfilled>,
}

impl Filling<'_> {
    fn visit(&mut self, value: &Value) {
        match value {
            Value::String(text) => match self.value(text) {
                None => {}
                Some(Ok(value)) => self.filled.push((self.path.clone(), value)),
                Some(Err(mistake)) => self.unfilled.push((self.path.clone(), mistake)),
            },
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.below(Step::Item(index), item);
                }
            }
            Value::Object(fields) => {
                let is_message = |name: &str| self.path.is_empty() && MESSAGES.contains(&name);
                let fields: Vec<_> = fields.iter().filter(|(name, _)| !is_message(name)).collect();
                for (name, field) in fields {
                    self.below(Step::Field(name.clone()), field);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn below(&mut self, step: Step, value: &Value) {
        self.path.push(step);
        self.visit(value);
        self.path.pop();
    }

    /// Returns the value of a text; `None` for a text that does not refer to a row, which stays as it is: a command may contain
    /// braces.
    fn value(&self, text: &str) -> Option<Result<Value, Mistake>> {
        let template = Template { file: "", place: String::new(), lines: &[], text };
        if !template.has_places() || !template.names().iter().any(|name| name.split('.').next() == Some("row")) {
            return None;
        }
        let Some(row) = self.row else { return Some(Err(Mistake::new("the value comes from a row", NO_ROW_HELP))) };
        let wrong = |found: &str, help| Err(Mistake::new(format!("{found}, from {}", row.place), help));
        // A field that consists only of a column gets the column's value with its type.
        if let Some(value) = column(text).and_then(|name| row.fields.get(name)) {
            return Some(match value {
                Value::Null => {
                    wrong("a value that is null", "give it a value in this row, or write `\"\"` for an empty text")
                }
                Value::Array(_) | Value::Object(_) => {
                    wrong("a list or an object", "give each part of it a column of its own")
                }
                value => Ok(value.clone()),
            });
        }
        let (payload, nonce) = (Payload::default(), Nonce::absent_from(&[], None, None));
        let values = Values {
            payload: &payload,
            params: std::collections::BTreeMap::new(),
            row: Some(row),
            config: None,
            nonce: &nonce,
        };
        let rendered = template.render(&values);
        Some(rendered.map(Value::String).map_err(|problem| Mistake::new(problem.found, problem.help)))
    }
}

/// Returns the column of a text that consists only of `{{ row.NAME }}`.
fn column(text: &str) -> Option<&str> {
    text.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim().strip_prefix("row.")
}

/// Converts the value to the type that the deserializer wants: a number in CSV is a text.
pub(super) fn suited(value: Value, wanted: &str) -> Value {
    let takes_text = matches!(wanted, "deserialize_str" | "deserialize_string");
    let takes_number = ["bool", "i", "u", "f"].iter().any(|kind| {
        let kind_of = wanted.strip_prefix("deserialize_").and_then(|name| name.strip_prefix(kind));
        kind_of.is_some_and(|bits| bits.chars().all(|c| c.is_ascii_digit()))
    });
    match value {
        Value::String(text) if takes_number => match serde_json::from_str(text.trim()) {
            Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
            _ => Value::String(text),
        },
        Value::Number(number) if takes_text => Value::String(number.to_string()),
        Value::Bool(bool) if takes_text => Value::String(bool.to_string()),
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::Task;
    use super::super::parse::{TaskFormat, parse_for};
    use crate::input::rows::Row;
    use crate::input::rows::tests::row;

    #[test]
    fn a_flag_takes_its_value_from_the_row() {
        let row = row(json!({"image": "python", "tag": 3, "none": "", "list": ["a"]}));
        let flag = |text: &str| super::flag_for(&row, "--image", text).map_err(|problem| problem.to_string());
        for (text, value) in [
            ("{{ row.image }}", Some("python")),
            ("registry/{{ row.image }}:{{ row.tag }}", Some("registry/python:3")),
            ("{{ row.tag }}", Some("3")),
            ("{{ row.none }}", None),
            ("plain", Some("plain")),
        ] {
            assert_eq!(flag(text), Ok(value.map(str::to_owned)), "{text}");
        }
        let missing = "--image: `row` has no `imag` at rows.csv:5; did you mean `image`? Known are ";
        assert!(flag("{{ row.imag }}").unwrap_err().starts_with(missing), "{:?}", flag("{{ row.imag }}"));
        let list = "--image: a list or an object, from rows.csv:5; give each part";
        assert!(flag("{{ row.list }}").unwrap_err().starts_with(list), "{:?}", flag("{{ row.list }}"));
    }

    fn task(front_matter: &str, row: Option<&Row>) -> Result<Task, String> {
        let text = format!("---\n{front_matter}---\nFix {{{{ row.repo }}}}.");
        parse_for(&text, TaskFormat::Markdown, "task.md", row).map_err(|problems| problems.to_string())
    }

    #[test]
    fn fields_take_their_values_from_the_row() {
        let texts =
            row(json!({"repo": "octo/app", "ref": "v1", "cost": "2.50", "steps": "7", "time": "5m", "ok": "true",
            "number": 3}));
        let types = row(json!({"repo": "octo/app", "ref": "v1", "cost": 2.50, "steps": 7, "time": "5m", "ok": true,
            "number": "3"}));
        for row in [texts, types] {
            let task = task(
                "name: \"Fix {{ row.repo }}\"\nrepos: [{url: \"{{ row.repo }}\", provider: github, ref: \"{{ row.ref }}\", optional: \"{{ row.ok }}\"}]\n\
                 limits: {cost: \"{{ row.cost }}\", iterations: \"{{ row.steps }}\", timeout: \"{{ row.time }}\"}\n\
                 setup: [\"pytest -k {{ row.ref }}\", \"docker inspect --format '{{.State}}' x\"]\n\
                 params: {number: \"{{ row.number }}\"}\nllm: {model: \"{{ row.model | default('m') }}\"}\n",
                Some(&row),
            )
            .unwrap();
            assert_eq!(task.name.as_deref(), Some("Fix octo/app"));
            assert_eq!(task.limits.cost, Some(2.5));
            assert_eq!((task.limits.iterations, task.limits.timeout), (Some(7), Some(Duration::from_secs(300))));
            assert!(task.repos[0].optional && task.repos[0].git_ref.as_deref() == Some("v1"));
            assert_eq!(task.setup[0].run, "pytest -k v1");
            assert_eq!(task.setup[1].run, "docker inspect --format '{{.State}}' x");
            assert_eq!(task.params["number"].as_deref(), Some("3"));
            assert_eq!(task.llm.fields["model"], "m");
            // The message is rendered together with the other values that it may refer to.
            assert_eq!(task.prompt, "Fix {{ row.repo }}.");
            assert_eq!(task.row.unwrap().fields["repo"], "octo/app");
        }
    }

    #[test]
    fn a_mistake_names_the_field_and_the_row() {
        let some = row(json!({"repo": "octo/app", "cost": "cheap", "empty": null, "list": ["a"]}));
        for (front_matter, row, expected) in [
            (
                "name: x\nlimits: { cost: \"{{ row.cost }}\" }\n",
                Some(&some),
                "task.md:3:17: invalid value `cheap` for `limits.cost`, from rows.csv:5; expected a number of US dollars",
            ),
            (
                "repos: [\"{{ row.repository }}\"]\n",
                Some(&some),
                "task.md:2:9: `repos[0]`: `row` has no `repository` at rows.csv:5; did you mean `repo`? Known are `repo`, `cost`, `empty` and `list`",
            ),
            (
                "limits: { cost: \"{{ row.empty }}\" }\n",
                Some(&some),
                "task.md:2:17: `limits.cost`: a value that is null, from rows.csv:5; give it a value",
            ),
            (
                "repos: \"{{ row.list }}\"\n",
                Some(&some),
                "task.md:2:8: `repos`: a list or an object, from rows.csv:5; give each part",
            ),
            (
                "limits: { cost: \"{{ row.cost }}\" }\n",
                None,
                "task.md:2:17: `limits.cost`: the value comes from a row; give the row with `run --rows FILE --row N`",
            ),
        ] {
            let problem = task(front_matter, row).unwrap_err();
            assert!(problem.starts_with(expected), "{problem}");
        }
    }

    #[test]
    fn a_task_that_is_no_template_stays_as_it_is() {
        let row = row(json!({"repo": "octo/app"}));
        let task = task("template: false\nname: \"{{ row.repo }}\"\n", Some(&row)).unwrap();
        assert_eq!(task.name.as_deref(), Some("{{ row.repo }}"));
    }
}
