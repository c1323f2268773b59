//! The agent's steps in the Agent Trajectory Interchange Format (ATIF 1.7, which newer readers take too).
//!
//! The models of PyPI's `harbor` 0.26.0 (`harbor/models/trajectories`) say what is valid: no unknown fields, steps counted from 1, results
//! that name a call of their own step. The log is read line by line, so that only one step is in memory.

use std::io::{self, BufRead, Write};

use openhands_client::conversation::ServerError;
use serde_json::{Map, Value, json};

/// Writes the trajectory of a log.
///
/// # Errors
/// Failed to read or write.
pub(super) fn write(events: impl BufRead, result: &Value, to: &mut impl Write) -> io::Result<()> {
    let agent = without_nulls(json!({
        "name": "openhands",
        "version": result["server_version"].as_str().unwrap_or("unknown"),
        "model_name": result["model"],
    }));
    let session = result["conversation_id"].as_str().or(result["run_id"].as_str());
    write!(to, "{{\"schema_version\":\"ATIF-v1.7\",\"session_id\":{},", json!(session))?;
    write!(to, "\"agent\":{agent},\"steps\":[")?;
    let mut steps = StepWriter { to, written: 0, current: None };
    for line in events.lines() {
        // Half a line is left out.
        if let Ok(event) = serde_json::from_str::<Value>(&line?) {
            steps.see(&event)?;
        }
    }
    steps.finish(result)?;
    let total = steps.written;
    let metrics = without_nulls(json!({
        "total_prompt_tokens": result["tokens"]["prompt"],
        "total_completion_tokens": result["tokens"]["completion"],
        "total_cached_tokens": result["tokens"]["cache_read"],
        "total_cost_usd": result["cost"],
        "total_steps": total,
    }));
    let mut outcome = result.as_object().cloned().unwrap_or_default();
    outcome.retain(|field, _| ["status", "error", "exit_code", "warnings"].contains(&field.as_str()));
    writeln!(to, "],\"final_metrics\":{metrics},\"extra\":{}}}", json!({"outcome": outcome}))
}

/// The steps, as they are written.
struct StepWriter<'t, W> {
    to: &'t mut W,
    written: u64,
    current: Option<Step>,
}

/// A step to which more may come.
struct Step {
    fields: Map<String, Value>,
    /// Which response of the LLM it is.
    response: Option<String>,
    calls: Vec<Value>,
    results: Vec<Value>,
}

impl<W: Write> StepWriter<'_, W> {
    fn see(&mut self, event: &Value) -> io::Result<()> {
        let time = &event["timestamp"];
        match event["kind"].as_str().unwrap_or_default() {
            "SystemPromptEvent" => self.plain("system", time, &content(&event["system_prompt"])),
            "MessageEvent" => {
                let message = content(&event["llm_message"]["content"]);
                match event["source"].as_str() {
                    Some("agent") => {
                        self.plain("agent", time, &message)?;
                        self.add("reasoning_content", &event["llm_message"]["reasoning_content"]);
                        self.add("llm_call_count", &json!(1));
                        Ok(())
                    }
                    Some("user") => self.plain("user", time, &message),
                    _ => self.plain("system", time, &message),
                }
            }
            "ActionEvent" => self.action(event),
            "ObservationEvent" | "UserRejectObservation" => {
                let observation = &event["observation"];
                let text = content(&observation["content"]);
                let text = if text.is_empty() { content(&event["rejection_reason"]) } else { text };
                let known = ["exit_code", "is_error"].into_iter().filter(|field| !observation[field].is_null());
                let extra: Map<String, Value> =
                    known.map(|field| (field.to_owned(), observation[field].clone())).collect();
                self.result(event, &text, extra)
            }
            "AgentErrorEvent" => {
                self.result(event, &content(&event["error"]), Map::from_iter([("is_error".to_owned(), true.into())]))
            }
            "ConversationErrorEvent" => {
                let error = ServerError(event.as_object().cloned().unwrap_or_default());
                self.plain("system", time, &format!("{}: {}", error.code(), error.detail()))
            }
            _ => Ok(()),
        }
    }

    /// A step that is complete, unless something is added to it.
    fn plain(&mut self, source: &str, time: &Value, message: &str) -> io::Result<()> {
        self.flush()?;
        let mut fields = Map::new();
        if is_time(time) {
            fields.insert("timestamp".to_owned(), time.clone());
        }
        fields.insert("source".to_owned(), source.into());
        fields.insert("message".to_owned(), message.into());
        self.current = Some(Step { fields, response: None, calls: Vec::new(), results: Vec::new() });
        Ok(())
    }

    fn add(&mut self, field: &str, value: &Value) {
        if let (Some(step), false) = (&mut self.current, value.is_null()) {
            step.fields.insert(field.to_owned(), value.clone());
        }
    }

    /// The calls of one response are one step.
    fn action(&mut self, event: &Value) -> io::Result<()> {
        let response = event["llm_response_id"].as_str();
        let is_same = |step: &Step| response.is_some() && step.response.as_deref() == response;
        if !self.current.as_ref().is_some_and(is_same) {
            self.plain("agent", &event["timestamp"], &content(&event["thought"]))?;
            self.add("reasoning_content", &json!(event["reasoning_content"].as_str()));
            self.add("llm_call_count", &json!(1));
        }
        let call = without_nulls(json!({
            "tool_call_id": event["tool_call_id"].as_str().or(event["id"].as_str()).unwrap_or_default(),
            "function_name": event["tool_name"].as_str().unwrap_or("tool"),
            "arguments": arguments(event),
            "extra": event["summary"].as_str().map(|summary| json!({ "summary": summary })),
        }));
        if let Some(step) = &mut self.current {
            step.response = response.map(str::to_owned);
            step.calls.push(call);
        }
        Ok(())
    }

    /// The result of a call of the current step; of another one, a step of its own.
    fn result(&mut self, event: &Value, text: &str, extra: Map<String, Value>) -> io::Result<()> {
        let call = &event["tool_call_id"];
        let is_known = |step: &Step| step.calls.iter().any(|known| known["tool_call_id"] == *call);
        let is_known = self.current.as_ref().is_some_and(is_known);
        if !is_known {
            self.plain("system", &event["timestamp"], "")?;
        }
        let mut result = Map::new();
        if is_known {
            result.insert("source_call_id".to_owned(), call.clone());
        }
        result.insert("content".to_owned(), text.into());
        if !extra.is_empty() {
            result.insert("extra".to_owned(), extra.into());
        }
        if let Some(step) = &mut self.current {
            step.results.push(result.into());
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(step) = self.current.take() else { return Ok(()) };
        self.written += 1;
        let mut fields = Map::from_iter([("step_id".to_owned(), self.written.into())]);
        fields.extend(step.fields);
        if !step.calls.is_empty() {
            fields.insert("tool_calls".to_owned(), step.calls.into());
        }
        if !step.results.is_empty() {
            fields.insert("observation".to_owned(), json!({"results": step.results}));
        }
        write!(self.to, "{}\n{}", if self.written > 1 { "," } else { "" }, Value::Object(fields))
    }

    /// A trajectory has a step at least.
    fn finish(&mut self, result: &Value) -> io::Result<()> {
        if self.written == 0 && self.current.is_none() {
            let reason = result["error"]["detail"].as_str().unwrap_or("no events");
            self.plain("system", &Value::Null, reason)?;
        }
        self.flush()
    }
}

/// The text of a message, a thought or an observation: a string, an object with a `text`, or a list of them.
fn content(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(content).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n"),
        Value::Object(fields) => fields.get("text").map(content).unwrap_or_default(),
        _ => String::new(),
    }
}

/// As the agent gave them; where they are no object, what the server made of them.
fn arguments(event: &Value) -> Map<String, Value> {
    let call = &event["tool_call"];
    let text = call["arguments"].as_str().or(call["function"]["arguments"].as_str());
    if let Some(Ok(arguments)) = text.map(serde_json::from_str) {
        return arguments;
    }
    let mut action = event["action"].as_object().cloned().unwrap_or_default();
    action.shift_remove("kind");
    action
}

fn is_time(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|time| time.parse::<jiff::civil::DateTime>().is_ok() || time.parse::<jiff::Timestamp>().is_ok())
}

fn without_nulls(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trajectory(events: &[Value], result: &Value) -> Value {
        let log: Vec<String> = events.iter().map(Value::to_string).collect();
        let mut written = Vec::new();
        write(log.join("\n").as_bytes(), result, &mut written).unwrap();
        serde_json::from_slice(&written).unwrap()
    }

    fn action(id: &str, response: &str) -> Value {
        json!({"kind": "ActionEvent", "timestamp": "2026-01-01T00:00:00.5", "tool_name": "terminal", "tool_call_id": id,
            "llm_response_id": response, "thought": [{"type": "text", "text": "hm"}],
            "tool_call": {"arguments": "{\"command\": \"ls\"}"}, "action": {"kind": "TerminalAction", "command": "ls"}})
    }

    fn observation(id: &str) -> Value {
        json!({"kind": "ObservationEvent", "tool_call_id": id, "observation": {"content": [{"text": "out"}], "exit_code": 0}})
    }

    #[test]
    fn the_calls_of_a_response_and_their_results_are_one_step() {
        let events = [
            action("a", "1"),
            action("b", "1"),
            observation("b"),
            observation("a"),
            action("c", "2"),
            observation("a"),
        ];
        let steps = trajectory(&events, &json!({"conversation_id": "x"}))["steps"].clone();
        let ids = |step: &Value| -> Vec<String> {
            step["tool_calls"].as_array().into_iter().flatten().map(|call| call["tool_call_id"].to_string()).collect()
        };
        assert_eq!(ids(&steps[0]), ["\"a\"", "\"b\""]);
        assert_eq!(steps[0]["observation"]["results"][0]["source_call_id"], "b");
        assert_eq!(steps[0]["tool_calls"][0]["arguments"], json!({"command": "ls"}));
        assert_eq!((ids(&steps[1]), &steps[1]["observation"]), (vec!["\"c\"".to_owned()], &Value::Null));
        // A result that comes too late names no call of its step.
        assert_eq!(
            (&steps[2]["source"], &steps[2]["observation"]["results"][0]["source_call_id"]),
            (&json!("system"), &Value::Null)
        );
        assert_eq!(
            steps.as_array().unwrap().iter().map(|step| step["step_id"].as_u64().unwrap()).collect::<Vec<_>>(),
            [1, 2, 3]
        );
    }

    #[test]
    fn a_run_without_events_has_its_reason_as_the_only_step() {
        let trajectory = trajectory(&[], &json!({"error": {"code": "Timeout", "detail": "too slow"}}));
        assert_eq!(trajectory["steps"], json!([{"step_id": 1, "source": "system", "message": "too slow"}]));
    }
}
