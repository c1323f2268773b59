//! One event of a conversation. The text is kept as the server sent it, and only the fields that the client needs are read.
//!
//! Only `id` and `kind` of an event are relied on. Any other field may be missing, null or of another type (newer servers leave
//! null fields out); such a field counts as absent. An unknown kind is not an error.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::wire::{Status, Usage};
use crate::http::json;

/// An event as it arrived, and its meaning. Its JSON is parsed once.
#[derive(Debug, Clone)]
pub struct Event {
    raw: String,
    /// The id, unique in the conversation; empty if the server sent none.
    pub id: String,
    /// The server's class name, such as `ActionEvent`.
    pub kind: String,
    /// The time of the event, in the server's local time without an offset, such as `2026-11-22T08:15:35.652534`.
    pub timestamp: Option<String>,
    meaning: Meaning,
}

/// The fields that are read, of any kind of event, each as its JSON text.
#[derive(Deserialize)]
struct Fields<'e> {
    #[serde(borrow)]
    id: Option<&'e RawValue>,
    kind: Option<&'e RawValue>,
    timestamp: Option<&'e RawValue>,
    source: Option<&'e RawValue>,
    key: Option<&'e RawValue>,
    value: Option<&'e RawValue>,
    tool_name: Option<&'e RawValue>,
    summary: Option<&'e RawValue>,
    action: Option<&'e RawValue>,
    observation: Option<&'e RawValue>,
    llm_message: Option<&'e RawValue>,
    error: Option<&'e RawValue>,
}

/// Reads a field as `T`. A field of another type counts as absent.
fn read<'e, T: Deserialize<'e>>(raw: Option<&'e RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

/// Reads a text field. Most texts have no escapes and need no copy.
fn text(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let text = raw?.get();
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
        // Python may write half of a surrogate pair, which a Rust string cannot hold.
        Some(_) => serde_json::from_str(text)
            .or_else(|_| serde_json::from_str(&json::without_lone_surrogates(text)))
            .ok()
            .map(Cow::Owned),
        None => None,
    }
}

fn owned(raw: Option<&RawValue>) -> Option<String> {
    text(raw).map(Cow::into_owned)
}

/// Returns a text for people. A value of another type is shown as JSON.
fn words(value: Option<&Value>) -> Cow<'_, str> {
    match value {
        None | Some(Value::Null) => Cow::Borrowed(""),
        Some(Value::String(text)) => Cow::Borrowed(text),
        Some(other) => Cow::Owned(other.to_string()),
    }
}

impl Event {
    /// Parses an event. Returns `None` if the text is not a JSON object.
    #[must_use]
    pub fn parse(raw: impl Into<String>) -> Option<Self> {
        let raw = raw.into();
        // Without this check, serde would also read the struct from an array.
        let fields: Fields<'_> = serde_json::from_str(&raw).ok().filter(|_| raw.trim_start().starts_with('{'))?;
        let kind = text(fields.kind).unwrap_or_default();
        let meaning = Meaning::new(&kind, &fields, &raw);
        let (id, kind) = (owned(fields.id).unwrap_or_default(), kind.into_owned());
        let timestamp = owned(fields.timestamp);
        Some(Self { raw, id, kind, timestamp, meaning })
    }

    /// Returns the event exactly as the server sent it.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// Returns the meaning of the event for a run.
    #[must_use]
    pub fn meaning(&self) -> &Meaning {
        &self.meaning
    }

    /// Returns all arguments of a call of the finish tool, as the agent gave them. The event's `action` contains only `message`.
    #[must_use]
    pub fn finish_arguments(&self) -> Option<Map<String, Value>> {
        let event: Map<String, Value> = serde_json::from_str(&self.raw).ok()?;
        let call = event.get("tool_call")?;
        let is_finish = event.get("tool_name")?.as_str()? == "finish";
        let text = call.get("arguments").or_else(|| call.get("function")?.get("arguments"))?.as_str()?;
        // A call with arguments that are not an object is still a call: the server rejects it.
        is_finish.then(|| serde_json::from_str(text).unwrap_or_default())
    }

    /// Returns the names of the tools from MCP servers, if this event lists the agent's tools with their kinds
    /// (`SystemPromptEvent`).
    #[must_use]
    pub fn mcp_tools(&self) -> Option<Vec<String>> {
        #[derive(Deserialize)]
        struct SystemPrompt {
            tools: Vec<Tool>,
        }
        #[derive(Deserialize)]
        struct Tool {
            kind: String,
            title: String,
        }
        if self.kind != "SystemPromptEvent" {
            return None;
        }
        let prompt: SystemPrompt = serde_json::from_str(&self.raw).ok()?;
        let of_mcp = prompt.tools.into_iter().filter(|tool| tool.kind == "MCPToolDefinition");
        Some(of_mcp.map(|tool| tool.title).collect())
    }
}

impl Meaning {
    fn new(kind: &str, fields: &Fields<'_>, raw: &str) -> Self {
        match kind {
            "ConversationStateUpdateEvent" => Self::of_state_update(fields),
            "ConversationErrorEvent" => {
                let readable = || serde_json::from_str(&json::without_lone_surrogates(raw));
                let event = serde_json::from_str(raw).or_else(|_| readable());
                event.map_or(Self::Other, |event| Self::Error(ServerError(event)))
            }
            "ActionEvent" => Self::Action(Action::new(fields)),
            "ObservationEvent" => Self::Observation(Observation::new(fields)),
            "AgentErrorEvent" => {
                let other = || fields.error.and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
                Self::AgentError(owned(fields.error).unwrap_or_else(|| words(other().as_ref()).into_owned()))
            }
            "MessageEvent" => Self::of_message(fields),
            _ => Self::Other,
        }
    }

    fn of_state_update(fields: &Fields<'_>) -> Self {
        #[derive(Deserialize)]
        struct FullState<'s> {
            #[serde(borrow)]
            execution_status: Option<&'s RawValue>,
            stats: Option<&'s RawValue>,
        }
        let usage = |stats: Option<&RawValue>| stats.map(|stats| Usage::parse(stats.get())).unwrap_or_default();
        match text(fields.key).as_deref() {
            Some("execution_status") => read(fields.value).map_or(Self::Other, Self::Status),
            Some("stats") => Self::Stats(usage(fields.value)),
            Some("full_state") => read::<FullState<'_>>(fields.value).map_or(Self::Other, |state| Self::FullState {
                status: read(state.execution_status),
                usage: usage(state.stats),
            }),
            _ => Self::Other,
        }
    }

    fn of_message(fields: &Fields<'_>) -> Self {
        #[derive(Deserialize)]
        struct Message<'m> {
            #[serde(borrow)]
            content: Option<&'m RawValue>,
        }
        #[derive(Deserialize)]
        struct Part<'p> {
            #[serde(borrow)]
            text: Option<&'p RawValue>,
        }
        let words = || {
            let content = read::<Message<'_>>(fields.llm_message).and_then(|message| message.content);
            let parts = || {
                let parts: Vec<&RawValue> = read(content)?;
                let texts = parts.into_iter().filter_map(|part| owned(read::<Part<'_>>(Some(part))?.text));
                Some(texts.collect::<Vec<_>>().join("\n"))
            };
            owned(content).or_else(parts).unwrap_or_default()
        };
        match text(fields.source).as_deref() {
            Some("user") => Self::UserMessage(words()),
            Some("agent") => Self::AgentMessage(words()),
            _ => Self::Other,
        }
    }
}

impl Action {
    fn new(fields: &Fields<'_>) -> Self {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Arguments<'a> {
            #[serde(borrow)]
            kind: Option<&'a RawValue>,
            command: Option<&'a RawValue>,
            path: Option<&'a RawValue>,
            message: Option<&'a RawValue>,
            thought: Option<&'a RawValue>,
            query: Option<&'a RawValue>,
            url: Option<&'a RawValue>,
        }
        let arguments: Arguments<'_> = read(fields.action).unwrap_or_default();
        let others = [arguments.message, arguments.thought, arguments.query, arguments.url];
        let detail = match (owned(arguments.command), owned(arguments.path)) {
            (Some(command), Some(path)) => Some(format!("{command} {path}")),
            (command, path) => command.or(path).or_else(|| others.into_iter().find_map(owned)),
        };
        Self {
            tool: owned(fields.tool_name).unwrap_or_else(|| "tool".to_owned()),
            summary: owned(fields.summary),
            detail,
            is_finish: text(arguments.kind).as_deref() == Some("FinishAction"),
        }
    }
}

impl Observation {
    fn new(fields: &Fields<'_>) -> Self {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Result<'r> {
            #[serde(borrow)]
            exit_code: Option<&'r RawValue>,
            is_error: Option<&'r RawValue>,
        }
        let result: Result<'_> = read(fields.observation).unwrap_or_default();
        Self {
            tool: owned(fields.tool_name).unwrap_or_else(|| "tool".to_owned()),
            exit_code: read(result.exit_code),
            is_error: read(result.is_error).unwrap_or(false),
        }
    }
}

/// The meaning of an event for a run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Meaning {
    /// The status of the conversation has changed.
    Status(Status),
    /// The usage of the conversation has changed.
    Stats(Usage),
    /// The whole state. It is the first event of every subscription, and from 1.22.1 also the last event of a run.
    FullState {
        /// The status, if the event has it.
        status: Option<Status>,
        /// The usage so far.
        usage: Usage,
    },
    /// The run has failed, with the server's reason.
    Error(ServerError),
    /// A tool rejected the agent's call, or its output was cut.
    AgentError(String),
    /// The agent uses a tool.
    Action(Action),
    /// The result of a tool.
    Observation(Observation),
    /// A user message.
    UserMessage(String),
    /// A message of the agent.
    AgentMessage(String),
    /// Anything else, or an event of an unexpected form.
    Other,
}

/// A tool call of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// The tool's name, such as `terminal`.
    pub tool: String,
    /// The agent's own description of the step.
    pub summary: Option<String>,
    /// The command, path or message.
    pub detail: Option<String>,
    /// Whether the agent finishes with this call. In that case the detail is its final message.
    pub is_finish: bool,
}

impl Action {
    /// Returns the summary that the agent wrote. If the LLM gives no summary, the server generates one from the tool's name and
    /// arguments; such a summary is ignored.
    #[must_use]
    pub fn own_summary(&self) -> Option<&str> {
        let is_call = |summary: &str| summary.strip_prefix(&self.tool).is_some_and(|rest| rest.starts_with(": {"));
        self.summary.as_deref().filter(|summary| !is_call(summary))
    }
}

/// The result of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The tool's name, such as `terminal`.
    pub tool: String,
    /// The exit code of a command.
    pub exit_code: Option<i64>,
    /// Whether the tool reports an error.
    pub is_error: bool,
}

/// The server's conversation error event with all its fields.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct ServerError(pub Map<String, Value>);

impl ServerError {
    /// Returns the server's name of the error, such as `MaxIterationsReached` or `LLMAuthenticationError`.
    #[must_use]
    pub fn code(&self) -> &str {
        self.0.get("code").and_then(Value::as_str).unwrap_or("ConversationError")
    }

    /// Returns the server's explanation. If it is not a text, it is shown as JSON.
    #[must_use]
    pub fn detail(&self) -> Cow<'_, str> {
        words(self.0.get("detail"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(raw: &str) -> Meaning {
        Event::parse(raw).unwrap().meaning().clone()
    }

    #[test]
    fn the_raw_text_is_kept() {
        let raw = r#"{ "kind" : "New", "id":"1",  "extra": [1, 2.50] }"#;
        let event = Event::parse(raw).unwrap();
        assert_eq!(event.raw(), raw);
        assert_eq!((event.id.as_str(), event.kind.as_str()), ("1", "New"));
        assert_eq!(event.meaning(), &Meaning::Other);
    }

    #[test]
    fn an_error_whose_detail_is_no_text_is_shown_as_json() {
        for (value, words) in [
            (r#""why""#, "why"),
            (r#"{"a": [1, null]}"#, r#"{"a":[1,null]}"#),
            (r#"["x"]"#, r#"["x"]"#),
            ("7", "7"),
            ("null", ""),
        ] {
            let error = meaning(&format!(r#"{{"kind":"ConversationErrorEvent","code":"X","detail":{value}}}"#));
            let Meaning::Error(error) = error else { panic!("{error:?}") };
            assert_eq!(error.detail(), words);
            let error = meaning(&format!(r#"{{"kind":"AgentErrorEvent","error":{value}}}"#));
            assert_eq!(error, Meaning::AgentError(words.to_owned()));
        }
    }

    #[test]
    fn only_objects_are_events() {
        for raw in ["", "null", "[1]", "{", "\"x\"", "[null]", "[1,2,3,4,5,6,7,8,9,10,11,12]"] {
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
        assert_eq!(update("stats", stats), Meaning::Stats(Usage::parse(stats)));
        let full_state = format!(r#"{{"execution_status":"error","stats":{stats},"agent":{{}}}}"#);
        let expected = Meaning::FullState { status: Some(Status::Error), usage: Usage::parse(stats) };
        assert_eq!(update("full_state", &full_state), expected);
    }

    #[test]
    fn the_tools_of_mcp_servers_are_told_from_the_others() {
        let tools = |raw: &str| Event::parse(raw).unwrap().mcp_tools();
        let prompt = r#"{"kind":"SystemPromptEvent","tools":[{"kind":"TerminalTool","title":"terminal"},{"kind":"MCPToolDefinition","title":"search_web"}]}"#;
        assert_eq!(tools(prompt), Some(vec!["search_web".to_owned()]));
        assert_eq!(tools(r#"{"kind":"SystemPromptEvent","tools":[]}"#), Some(Vec::new()));
        // Tools of an unknown form are ignored.
        assert_eq!(tools(r#"{"kind":"SystemPromptEvent","tools":[{"type":"function"}]}"#), None);
        assert_eq!(tools(r#"{"kind":"MessageEvent"}"#), None);
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
