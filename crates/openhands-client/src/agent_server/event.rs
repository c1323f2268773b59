//! One event of a conversation: kept as the server sent it, read only where we decide on it.
//!
//! Of an event only `id` and `kind` are relied on. Every other field may be missing, null or of another type (events of
//! newer servers leave null fields out); such a field then counts as absent. An unknown kind is never an error.

use crate::http::json;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::wire::{Cost, Status};

/// An event as it arrived, with the head that every event has.
#[derive(Debug, Clone)]
pub struct Event {
    raw: String,
    /// Unique in the conversation; empty where the server sent none.
    pub id: String,
    /// The server's class name, such as `ActionEvent`.
    pub kind: String,
    /// Naive server-local time, such as `2026-11-22T08:15:35.652534`.
    pub timestamp: Option<String>,
}

#[derive(Deserialize)]
struct Head<'e> {
    #[serde(borrow)]
    id: Option<&'e RawValue>,
    kind: Option<&'e RawValue>,
    timestamp: Option<&'e RawValue>,
}

fn text(raw: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(raw?.get()).ok()
}

impl Event {
    /// Takes an event; `None` when the text is not a JSON object.
    #[must_use]
    pub fn parse(raw: impl Into<String>) -> Option<Self> {
        let raw = raw.into();
        let head: Head<'_> = serde_json::from_str(&raw).ok()?;
        Some(Self {
            id: text(head.id).unwrap_or_default(),
            kind: text(head.kind).unwrap_or_default(),
            timestamp: text(head.timestamp),
            raw,
        })
    }

    /// The event byte for byte.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// What the event means to a run.
    #[must_use]
    pub fn meaning(&self) -> Meaning {
        match self.kind.as_str() {
            "ConversationStateUpdateEvent" => self.state_update(),
            "ConversationErrorEvent" => {
                self.fields().map_or(Meaning::Other, |event| Meaning::Error(ServerError(event)))
            }
            "ActionEvent" => self.action(),
            "ObservationEvent" => self.observation(),
            "AgentErrorEvent" => {
                let error = self.fields().and_then(|event| event.get("error")?.as_str().map(str::to_owned));
                Meaning::AgentError(error.unwrap_or_default())
            }
            "MessageEvent" => self.message(),
            _ => Meaning::Other,
        }
    }

    /// The arguments of a call of the finish tool as the agent gave them. The event's `action` has only `message` of them.
    #[must_use]
    pub fn finish_arguments(&self) -> Option<Map<String, Value>> {
        let event = self.fields()?;
        let call = event.get("tool_call")?;
        let is_finish = event.get("tool_name")?.as_str()? == "finish";
        let text = call.get("arguments").or_else(|| call.get("function")?.get("arguments"))?.as_str()?;
        is_finish.then(|| serde_json::from_str(text).ok())?
    }

    fn fields(&self) -> Option<Map<String, Value>> {
        // Python writes half of a surrogate pair, which no text here can hold.
        let readable = || serde_json::from_str(&json::without_lone_surrogates(&self.raw));
        serde_json::from_str(&self.raw).or_else(|_| readable()).ok()
    }

    fn state_update(&self) -> Meaning {
        #[derive(Deserialize)]
        struct Update<'e> {
            key: String,
            #[serde(borrow)]
            value: &'e RawValue,
        }
        #[derive(Deserialize)]
        struct FullState {
            execution_status: Option<Status>,
            stats: Option<Value>,
        }
        let Ok(update) = serde_json::from_str::<Update<'_>>(&self.raw) else { return Meaning::Other };
        let value = update.value.get();
        match update.key.as_str() {
            "execution_status" => serde_json::from_str(value).map_or(Meaning::Other, Meaning::Status),
            "stats" => serde_json::from_str::<Value>(value)
                .map_or(Meaning::Other, |stats| Meaning::Stats(Cost::of_stats(Some(&stats)))),
            "full_state" => serde_json::from_str::<FullState>(value).map_or(Meaning::Other, |state| {
                Meaning::FullState { status: state.execution_status, cost: Cost::of_stats(state.stats.as_ref()) }
            }),
            _ => Meaning::Other,
        }
    }

    fn action(&self) -> Meaning {
        let Some(event) = self.fields() else { return Meaning::Other };
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let action = event.get("action");
        let field = |name: &str| text(action.and_then(|action| action.get(name)));
        let detail = match (field("command"), field("path")) {
            (Some(command), Some(path)) => Some(format!("{command} {path}")),
            (command, path) => {
                command.or(path).or_else(|| ["message", "thought", "query", "url"].into_iter().find_map(field))
            }
        };
        Meaning::Action(Action {
            tool: text(event.get("tool_name")).unwrap_or_else(|| "tool".to_owned()),
            summary: text(event.get("summary")),
            detail,
            is_finish: text(action.and_then(|action| action.get("kind"))).as_deref() == Some("FinishAction"),
        })
    }

    fn observation(&self) -> Meaning {
        let Some(event) = self.fields() else { return Meaning::Other };
        let observation = event.get("observation");
        let field = |name: &str| observation.and_then(|observation| observation.get(name));
        Meaning::Observation(Observation {
            tool: event.get("tool_name").and_then(Value::as_str).unwrap_or("tool").to_owned(),
            exit_code: field("exit_code").and_then(Value::as_i64),
            is_error: field("is_error").and_then(Value::as_bool).unwrap_or(false),
        })
    }

    fn message(&self) -> Meaning {
        let Some(event) = self.fields() else { return Meaning::Other };
        let text = event.get("llm_message").map(message_text).unwrap_or_default();
        match event.get("source").and_then(Value::as_str) {
            Some("user") => Meaning::UserMessage(text),
            Some("agent") => Meaning::AgentMessage(text),
            _ => Meaning::Other,
        }
    }
}

/// The text of a message: its text parts, one under the other.
fn message_text(message: &Value) -> String {
    match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| part.get("text")?.as_str()).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

/// What an event means to a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    /// The conversation's status has changed.
    Status(Status),
    /// The conversation's usage has changed.
    Stats(Cost),
    /// The whole state: the first event of every subscription, and from 1.22.1 also the last event of a run.
    FullState {
        /// The status, when it is told.
        status: Option<Status>,
        /// The cost so far.
        cost: Cost,
    },
    /// The run has failed; the reason in the server's words.
    Error(ServerError),
    /// A tool refused the agent's call, or was cut.
    AgentError(String),
    /// The agent uses a tool.
    Action(Action),
    /// A tool has answered.
    Observation(Observation),
    /// A message from our side.
    UserMessage(String),
    /// A message of the agent.
    AgentMessage(String),
    /// Anything else, or of an unexpected shape.
    Other,
}

/// A tool call of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// The tool's name, such as `terminal`.
    pub tool: String,
    /// What the agent says that it does.
    pub summary: Option<String>,
    /// The command, path or message.
    pub detail: Option<String>,
    /// Whether the agent says with it that it has finished; the detail is its final message.
    pub is_finish: bool,
}

impl Action {
    /// The agent's own words. Where the LLM gives no summary, the server makes one of the tool's name and its arguments;
    /// that one does not count.
    #[must_use]
    pub fn own_summary(&self) -> Option<&str> {
        self.summary.as_deref().filter(|summary| !summary.starts_with(&format!("{}: {{", self.tool)))
    }
}

/// The answer of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The tool's name, such as `terminal`.
    pub tool: String,
    /// The exit code of a command.
    pub exit_code: Option<i64>,
    /// Whether the tool calls it an error.
    pub is_error: bool,
}

/// The server's own conversation error event, whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct ServerError(pub Map<String, Value>);

impl ServerError {
    /// The server's name of the error, such as `MaxIterationsReached` or `LLMAuthenticationError`.
    #[must_use]
    pub fn code(&self) -> &str {
        self.0.get("code").and_then(Value::as_str).unwrap_or("ConversationError")
    }

    /// The server's explanation.
    #[must_use]
    pub fn detail(&self) -> &str {
        self.0.get("detail").and_then(Value::as_str).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(raw: &str) -> Meaning {
        Event::parse(raw).unwrap().meaning()
    }

    #[test]
    fn the_raw_text_is_kept() {
        let raw = r#"{ "kind" : "New", "id":"1",  "extra": [1, 2.50] }"#;
        let event = Event::parse(raw).unwrap();
        assert_eq!(event.raw(), raw);
        assert_eq!((event.id.as_str(), event.kind.as_str()), ("1", "New"));
        assert_eq!(event.meaning(), Meaning::Other);
    }

    #[test]
    fn only_objects_are_events() {
        for raw in ["", "null", "[1]", "{", "\"x\"", "[null]"] {
            assert!(Event::parse(raw).is_none(), "{raw}");
        }
    }

    #[test]
    fn fields_of_another_type_count_as_absent() {
        let event = Event::parse(r#"{"id": 7, "kind": null, "timestamp": {}}"#).unwrap();
        assert_eq!((event.id.as_str(), event.kind.as_str(), &event.timestamp), ("", "", &None));
        assert_eq!(
            meaning(r#"{"kind":"ConversationStateUpdateEvent","key":"execution_status","value":3}"#),
            Meaning::Other
        );
        assert_eq!(meaning(r#"{"kind":"ConversationStateUpdateEvent"}"#), Meaning::Other);
        let action = Action { tool: "tool".to_owned(), summary: None, detail: None, is_finish: false };
        assert_eq!(meaning(r#"{"kind":"ActionEvent","action":[],"tool_name":1}"#), Meaning::Action(action));
    }

    #[test]
    fn state_updates_are_told_apart() {
        let update = |key: &str, value: &str| {
            meaning(&format!(r#"{{"kind":"ConversationStateUpdateEvent","id":"1","key":"{key}","value":{value}}}"#))
        };
        assert_eq!(update("execution_status", r#""finished""#), Meaning::Status(Status::Finished));
        assert_eq!(update("execution_status", r#""dreaming""#), Meaning::Status(Status::Other("dreaming".to_owned())));
        let stats =
            r#"{"usage_to_metrics":{"default":{"accumulated_cost":0.5},"condenser":{"accumulated_cost":0.25}}}"#;
        assert_eq!(update("stats", stats), Meaning::Stats(Cost::dollars(0.75)));
        let full_state = format!(r#"{{"execution_status":"error","stats":{stats},"agent":{{}}}}"#);
        let expected = Meaning::FullState { status: Some(Status::Error), cost: Cost::dollars(0.75) };
        assert_eq!(update("full_state", &full_state), expected);
    }

    #[test]
    fn messages_tell_their_sender() {
        let message = |source: &str| {
            meaning(&format!(
                r#"{{"kind":"MessageEvent","source":"{source}","llm_message":{{"content":[{{"type":"text","text":"a"}},{{"type":"text","text":"b"}}]}}}}"#
            ))
        };
        assert_eq!(message("user"), Meaning::UserMessage("a\nb".to_owned()));
        assert_eq!(message("agent"), Meaning::AgentMessage("a\nb".to_owned()));
        assert_eq!(message("environment"), Meaning::Other);
    }
}
