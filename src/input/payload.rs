//! The event that triggered a run, which the automation service passes in `AUTOMATION_EVENT_PAYLOAD`.

use serde_json::{Map, Value};

use super::python_json;

/// The payload. Strangers may have written its content.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Payload {
    /// There is no payload: no event triggered the run.
    #[default]
    Absent,
    /// The payload is invalid, for this reason.
    Malformed(String),
    /// The fields `trigger`, `automation_id`, `automation_name`, and, if they apply, `event` and `follow_up_turns`
    /// (`openhands-automation` 1.25.0).
    Given(Map<String, Value>),
}

impl Payload {
    /// Parses the variable's value, including what Python's `json` writes that is not valid JSON.
    #[must_use]
    pub(crate) fn parse(text: Option<&str>) -> Self {
        match text.map(python_json::parse) {
            None => Self::Absent,
            Some(Ok(Value::Object(fields))) => Self::Given(fields),
            Some(Ok(_)) => Self::Malformed("JSON, but not an object".to_owned()),
            Some(Err(error)) => Self::Malformed(format!("not JSON ({error})")),
        }
    }

    /// Returns the event; `None` for a run that no event triggered.
    #[must_use]
    pub(crate) fn event(&self) -> Option<&Value> {
        self.field("event")
    }

    /// Returns the messages on the same subject that arrived while the run was queued.
    #[must_use]
    pub(crate) fn follow_up_turns(&self) -> Vec<String> {
        let turns = self.field("follow_up_turns").and_then(Value::as_array);
        turns.into_iter().flatten().map(|turn| turn.as_str().map_or_else(|| turn.to_string(), str::to_owned)).collect()
    }

    /// Returns why there is no event, for people.
    #[must_use]
    pub(crate) fn why_no_event(&self) -> String {
        match self {
            Self::Absent => "there is no event: AUTOMATION_EVENT_PAYLOAD is not set".to_owned(),
            Self::Malformed(reason) => format!("there is no event: AUTOMATION_EVENT_PAYLOAD is {reason}"),
            Self::Given(fields) => {
                let trigger = fields.get("trigger").and_then(Value::as_str).unwrap_or("not an event");
                format!("there is no event: the run's trigger is {trigger}")
            }
        }
    }

    fn field(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Given(fields) => fields.get(name),
            Self::Absent | Self::Malformed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_object_is_malformed_and_has_no_event() {
        for (text, reason) in [("[]", "not an object"), ("{", "not JSON"), ("null", "not an object")] {
            let payload = Payload::parse(Some(text));
            assert!(payload.why_no_event().contains(reason), "{payload:?}");
            assert_eq!(payload.event(), None);
        }
        assert_eq!(Payload::parse(None), Payload::Absent);
    }

    #[test]
    fn an_event_is_read_as_pythons_json_writes_it() {
        let deep = format!("{}1{}", "[".repeat(150), "]".repeat(150));
        let text = format!(
            r#"{{"event": {{"half": "Fix the \ud83d", "nan": NaN, "most": [Infinity, -Infinity], "text": "NaN \" NaN",
            "deep": {deep}, "big": 12345678901234567890123, "cost": 3.10}}}}"#
        );
        let payload = Payload::parse(Some(&text));
        let event = payload.event().unwrap();
        assert_eq!(event["half"], "Fix the \u{fffd}");
        assert_eq!((&event["nan"], &event["most"]), (&json!(null), &json!([null, null])));
        assert_eq!(event["text"], "NaN \" NaN");
        assert_eq!(
            (event["big"].to_string(), event["cost"].to_string()),
            ("12345678901234567890123".into(), "3.10".into())
        );
        assert_eq!(event["deep"].to_string(), deep);
    }

    #[test]
    fn what_is_nested_too_deeply_is_malformed() {
        let deep = format!("{{\"event\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(Payload::parse(Some(&deep)).why_no_event().contains("nested more than"));
    }

    #[test]
    fn an_event_that_is_null_is_one() {
        let payload = Payload::parse(Some(r#"{"event": null, "follow_up_turns": ["a", 1]}"#));
        assert_eq!(payload.event(), Some(&json!(null)));
        assert_eq!(payload.follow_up_turns(), ["a", "1"]);
    }
}
