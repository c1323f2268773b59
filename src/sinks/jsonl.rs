//! A run as lines of JSON: the events as the server sent them, and records of our own whose `kind` starts with `runner.`.

use std::borrow::Cow;

use openhands_client::secret::Redactor;
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::{Duty, Record};
use crate::outcome::{CommandResult, RunResult, without_secrets};

/// The line of a record, without secrets and without its line break; `None` for a record that has none.
#[must_use]
pub(crate) fn line<'r>(record: &'r Record<'_>, redactor: &Redactor) -> Option<Cow<'r, str>> {
    let line: Cow<'r, str> = match record {
        Record::Conversation { id, new } => {
            json!({"kind": "runner.conversation", "conversation_id": id.to_string(), "new": new}).to_string().into()
        }
        Record::Turn { number, of, message } => {
            json!({"kind": "runner.turn", "number": number, "of": of, "message": message}).to_string().into()
        }
        Record::CommandEnded { duty, result } => command(*duty, result, redactor).into(),
        Record::Stage(_) | Record::Command { .. } | Record::Amended(_) => return None,
        Record::Event { event, .. } => one_line(event.raw()),
        // Its texts have lost their secrets already.
        Record::Result(result) => return Some(terminal(result).into()),
    };
    Some(match masked(&line, redactor) {
        Some(masked) => masked.into(),
        None => line,
    })
}

/// The line of a command of the task file.
fn command(duty: Duty, result: &CommandResult, redactor: &Redactor) -> String {
    let mut own = match duty {
        Duty::Setup => json!({"kind": "runner.setup"}),
        Duty::Check { attempt } => json!({"kind": "runner.check", "attempt": attempt}),
    };
    extend(&mut own, &result.without_secrets(redactor));
    own.to_string()
}

/// The last line of a run.
#[must_use]
pub(crate) fn terminal(result: &RunResult) -> String {
    let mut own = json!({"kind": "runner.result"});
    extend(&mut own, result);
    own.to_string()
}

/// Adds the fields of an object.
fn extend(own: &mut Value, fields: &impl Serialize) {
    if let (Value::Object(own), Ok(Value::Object(fields))) = (own, serde_json::to_value(fields)) {
        own.extend(fields);
    }
}

/// The line of an event of the log, without secrets.
#[must_use]
pub(crate) fn event<'e>(raw: &'e str, redactor: &Redactor) -> Cow<'e, str> {
    let line = one_line(raw);
    match masked(&line, redactor) {
        Some(masked) => masked.into(),
        None => line,
    }
}

/// JSON on one line. Servers send it so; where one does not, the line breaks between its tokens are taken out.
fn one_line(raw: &str) -> Cow<'_, str> {
    if raw.contains(['\n', '\r']) {
        // Inside a JSON text a line break is always white space between tokens.
        raw.replace(['\n', '\r'], " ").into()
    } else {
        raw.into()
    }
}

/// The line with its secrets masked, where it has any. It stays JSON, whatever a secret looks like.
fn masked(line: &str, redactor: &Redactor) -> Option<String> {
    let Cow::Owned(masked) = redactor.redact(line) else { return None };
    if serde_json::from_str::<IgnoredAny>(&masked).is_ok() {
        return Some(masked);
    }
    // A secret of digits, or one that looks like what stands between two texts.
    let by_value = serde_json::from_str(line).map(|value| without_secrets(&value, redactor).to_string());
    Some(by_value.unwrap_or_else(|_| json!({"kind": "runner.unreadable"}).to_string()))
}

#[cfg(test)]
mod tests {
    use openhands_client::secret::Secret;

    use super::*;

    #[test]
    fn a_pretty_event_becomes_one_line_and_a_plain_one_stays() {
        assert_eq!(one_line(r#"{"a": "x\ny"}"#), r#"{"a": "x\ny"}"#);
        assert_eq!(one_line("{\n\"a\": 1\r\n}"), "{ \"a\": 1  }");
    }

    #[test]
    fn an_event_stays_json_whatever_the_secret_in_it_looks_like() {
        for (secret, raw, shown) in [
            ("s3cret-value", r#"{"id":"1","text":"it is s3cret-value"}"#, r#"{"id":"1","text":"it is ***"}"#),
            ("12345678", r#"{"id":"1","number":12345678}"#, r#"{"id":"1","number":"***"}"#),
            (r#"","text":""#, r#"{"id":"1","text":"x"}"#, r#"{"id":"1***x"}"#),
            (r#"1","text""#, r#"{"id":"1","text":"x"}"#, r#"{"id":"1","text":"x"}"#),
        ] {
            let redactor = Redactor::default();
            redactor.learn(&Secret::new(secret));
            assert_eq!(event(raw, &redactor), shown);
        }
    }
}
