//! What the agent is asked to give at its end, besides a message: a task outcome, or an object of the user's schema.
//!
//! The agent-server adds the asked fields to its finish tool; a stop hook ([`crate::process::hook`]) sends an agent back that stops
//! without the tool. Nothing here knows HTTP.

mod references;
pub(crate) mod schema;

use openhands_client::automation::completion::TaskOutcome;
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use self::schema::ResultSchema;

/// What the agent is asked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum ResultSpec {
    /// A message.
    #[default]
    Message,
    /// A message, and how the task went.
    TaskOutcome,
    /// A message, and an object of this schema.
    Schema(ResultSchema),
}

/// Whether the finish tool has the question's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FinishFields {
    /// It has: they were asked for, of a server that takes them.
    Asked,
    /// It may have: the conversation may be another run's.
    Unknown,
    /// It has not: the server takes none.
    None,
}

impl FinishFields {
    /// What is known of the finish tool, of a server that takes fields or not, in a conversation of the run's own or not.
    #[must_use]
    pub(crate) fn known(server_takes_them: bool, continued: bool) -> Self {
        match (server_takes_them, continued) {
            (false, _) => Self::None,
            (true, true) => Self::Unknown,
            (true, false) => Self::Asked,
        }
    }
}

/// What the agent gave.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AgentResult {
    /// How the task went.
    TaskOutcome(TaskOutcome),
    /// An object of the user's schema.
    Object(Map<String, Value>),
}

/// The agent's answer is not what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AgentResultError {
    /// There is none.
    #[error("the agent finished without the result that the task asks for")]
    Missing,
    /// It does not fit the schema.
    #[error("the agent's result does not fit the schema: {}", .0.join("; "))]
    Violations(Vec<String>),
}

impl ResultSpec {
    /// JSON Schema of the fields that the finish tool gets besides `message`.
    #[must_use]
    pub(crate) fn finish_schema(&self) -> Option<Value> {
        match self {
            Self::Message => None,
            Self::TaskOutcome => Some(json!({
                "title": "TaskOutcome",
                "type": "object",
                "properties": {
                    "status": {
                        "type": "string",
                        "enum": ["success", "partial_success", "blocked", "failed", "unknown"],
                        "description": "How the task went, by your own judgement.",
                    },
                    "outcome_summary": {
                        "type": "string",
                        "description": "What was done, what was in the way, and what has to be done next. Be brief.",
                    },
                },
                "required": ["status", "outcome_summary"],
            })),
            Self::Schema(schema) => Some(schema.value().clone()),
        }
    }

    /// The question in words, for finish tools of which it is not known that they take its fields. A task outcome is not
    /// asked for in words: no one relies on it.
    ///
    /// A run that starts again says the same, though it may find other fields in the tool than it did at first.
    #[must_use]
    pub(crate) fn in_words(&self, fields: FinishFields) -> Option<String> {
        let Self::Schema(schema) = self else { return None };
        let message = "final message must be one JSON object and nothing else. It must fit this JSON Schema:";
        let order = match fields {
            FinishFields::Asked => return None,
            FinishFields::Unknown => format!(
                "When you are done, give a result: if your finish tool has parameters for its fields, there; if it has none, \
                 your {message}"
            ),
            FinishFields::None => format!("When you are done, your {message}"),
        };
        Some(format!("{order}\n{}", schema.value()))
    }

    /// Reads the answer out of the arguments of the agent's last finish, or out of its final message: out of the first of
    /// them that fits.
    ///
    /// # Errors
    /// [`AgentResultError`], for a schema of the user's; a missing task outcome is no error.
    pub(crate) fn read(
        &self,
        finish: Option<&Map<String, Value>>,
        message: Option<&str>,
        fields: FinishFields,
    ) -> Result<Option<AgentResult>, AgentResultError> {
        match self {
            Self::Message => Ok(None),
            Self::TaskOutcome => {
                let outcome = finish.and_then(|fields| TaskOutcome::deserialize(Value::Object(fields.clone())).ok());
                Ok(outcome.map(AgentResult::TaskOutcome))
            }
            Self::Schema(schema) => {
                let own = |name: &str| schema.names().any(|own| own == name);
                let of_finish = finish.map(|fields| {
                    let fields = fields.iter().filter(|(name, _)| own(name));
                    fields.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>()
                });
                let of_finish = of_finish.filter(|fields| !fields.is_empty());
                // Nothing at all is an object too, where nothing is required of an agent that was asked for fields.
                let nothing = finish.filter(|_| fields == FinishFields::Asked).map(|_| Map::new());
                let given = [of_finish, message.and_then(object_in)].into_iter().flatten();
                let mut violations = Vec::new();
                for object in given {
                    match schema.violations(&Value::Object(object.clone())) {
                        fits if fits.is_empty() => return Ok(Some(AgentResult::Object(object))),
                        others if violations.is_empty() => violations = others,
                        _ => {}
                    }
                }
                match nothing {
                    _ if !violations.is_empty() => Err(AgentResultError::Violations(violations)),
                    Some(nothing) if schema.violations(&nothing.clone().into()).is_empty() => {
                        Ok(Some(AgentResult::Object(nothing)))
                    }
                    _ => Err(AgentResultError::Missing),
                }
            }
        }
    }
}

/// The JSON object of a message that holds one, with or without a fence around it.
fn object_in(message: &str) -> Option<Map<String, Value>> {
    let (start, end) = (message.find('{')?, message.rfind('}')?);
    serde_json::from_str(message.get(start..=end)?).ok()
}

#[cfg(test)]
mod tests {
    use openhands_client::automation::completion::TaskStatus;

    use super::*;

    fn fields(value: Value) -> Map<String, Value> {
        let Value::Object(fields) = value else { panic!("no object: {value}") };
        fields
    }

    fn count() -> ResultSpec {
        let schema = json!({"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]});
        ResultSpec::Schema(ResultSchema::new(schema).unwrap())
    }

    #[test]
    fn a_task_outcome_is_read_from_the_finish_and_may_be_missing() {
        let finish = fields(json!({"message": "m", "status": "partial_success", "outcome_summary": "half"}));
        let expected = TaskOutcome { status: TaskStatus::PartialSuccess, summary: "half".to_owned() };
        let read = |finish: Option<&_>, message| ResultSpec::TaskOutcome.read(finish, message, FinishFields::Asked);
        assert_eq!(read(Some(&finish), None), Ok(Some(AgentResult::TaskOutcome(expected))));
        assert_eq!(read(Some(&fields(json!({"message": "m"}))), None), Ok(None));
        assert_eq!(read(None, Some("{}")), Ok(None));
    }

    #[test]
    fn an_object_is_read_from_the_finish_then_from_the_message() {
        let three = Ok(Some(AgentResult::Object(fields(json!({"count": 3})))));
        let read = |finish: Option<&_>, message| count().read(finish, message, FinishFields::Asked);
        assert_eq!(read(Some(&fields(json!({"message": "m", "count": 3}))), None), three);
        assert_eq!(read(None, Some("Here:\n```json\n{\"count\": 3}\n```")), three);
        assert_eq!(read(Some(&fields(json!({"message": "m"}))), Some("none")), Err(AgentResultError::Missing));
        let finish = fields(json!({"message": "m", "count": "3"}));
        assert_eq!(read(Some(&finish), Some("{\"count\": 3}")), three);
        for message in [None, Some("{\"count\": null}")] {
            let misfit = read(Some(&finish), message).unwrap_err().to_string();
            assert!(misfit.ends_with(": count: a string, not an integer"), "{misfit}");
        }
    }

    #[test]
    fn a_finish_with_its_message_alone_is_an_empty_object_where_nothing_is_required() {
        let schema = json!({"type": "object", "properties": {"count": {"type": "integer"}}});
        let result_spec = ResultSpec::Schema(ResultSchema::new(schema).unwrap());
        let finish = fields(json!({"message": "m"}));
        let read = |finish, message| result_spec.read(finish, message, FinishFields::Asked);
        assert_eq!(read(Some(&finish), Some("m")), Ok(Some(AgentResult::Object(Map::new()))));
        let three = Ok(Some(AgentResult::Object(fields(json!({"count": 3})))));
        assert_eq!(read(Some(&finish), Some("{\"count\": 3}")), three);
        assert_eq!(read(None, Some("m")), Err(AgentResultError::Missing));
        // Who was not asked for fields has not left them out.
        for fields in [FinishFields::Unknown, FinishFields::None] {
            assert_eq!(result_spec.read(Some(&finish), Some("m"), fields), Err(AgentResultError::Missing));
        }
    }

    #[test]
    fn it_is_asked_in_words_unless_the_tool_has_the_fields() {
        assert_eq!(count().in_words(FinishFields::Asked), None);
        let [none, unknown] =
            [FinishFields::None, FinishFields::Unknown].map(|fields| count().in_words(fields).unwrap());
        assert!(none.contains("your final message must be one JSON object") && !none.contains("finish tool"), "{none}");
        assert!(unknown.contains("if your finish tool has parameters for its fields, there"), "{unknown}");
        assert!(unknown.ends_with("\"required\":[\"count\"]}"), "{unknown}");
        assert_eq!(ResultSpec::TaskOutcome.in_words(FinishFields::None), None);
    }

    #[test]
    fn the_asked_task_outcome_is_one_that_can_be_read() {
        let schema = ResultSchema::new(ResultSpec::TaskOutcome.finish_schema().unwrap()).unwrap();
        for status in ["success", "partial_success", "blocked", "failed", "unknown"] {
            let finish = json!({"status": status, "outcome_summary": "s"});
            assert!(schema.violations(&finish).is_empty());
            assert!(ResultSpec::TaskOutcome.read(Some(&fields(finish)), None, FinishFields::Asked).unwrap().is_some());
        }
    }
}
