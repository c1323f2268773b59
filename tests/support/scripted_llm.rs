//! An OpenAI-compatible endpoint that plays fixed answers.
//!
//! A script is chosen by a marker: the last user message that holds a script's marker counts, and the number of the
//! agent's messages after it is the step. So the server keeps no state, and a repeated request gets the same answer.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "support code, of which tests and the demo use different parts"
)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response};
use serde_json::{Value, json};

use super::http_listener::{self, Handler, HttpListener};

/// One answer of the LLM.
#[derive(Debug, Clone)]
pub enum Step {
    /// A text without a tool call, which ends the agent's turn.
    Say(String),
    /// A call of one tool.
    Call { tool: String, arguments: Value },
    /// An HTTP error.
    Fail { status: u16, message: String },
    /// The answer comes this much later.
    After(Duration, Box<Step>),
}

impl Step {
    pub fn say(text: &str) -> Self {
        Self::Say(text.to_owned())
    }

    pub fn terminal(command: &str) -> Self {
        Self::call("terminal", json!({ "command": command }))
    }

    /// A command that may be silent for longer than the 30 s after which the tool asks the agent what to do.
    pub fn patient_terminal(command: &str) -> Self {
        Self::call("terminal", json!({"command": command, "timeout": 150}))
    }

    pub fn finish(message: &str) -> Self {
        Self::call("finish", json!({ "message": message }))
    }

    pub fn call(tool: &str, arguments: Value) -> Self {
        Self::Call { tool: tool.to_owned(), arguments }
    }

    pub fn fail(status: u16, message: &str) -> Self {
        Self::Fail { status, message: message.to_owned() }
    }

    pub fn after(self, delay: Duration) -> Self {
        Self::After(delay, Box::new(self))
    }
}

#[derive(Debug)]
struct Script {
    marker: String,
    steps: Vec<Step>,
}

/// The endpoint; give agents `url()` as `base_url` and `openai/scripted` as model.
pub struct ScriptedLlm {
    listener: HttpListener,
    scripts: Arc<Mutex<Vec<Script>>>,
    calls: Arc<Mutex<Vec<Instant>>>,
}

impl ScriptedLlm {
    pub async fn start(port: u16) -> std::io::Result<Self> {
        Self::start_at("127.0.0.1", port).await
    }

    /// The same on another address of this machine.
    pub async fn start_at(host: &str, port: u16) -> std::io::Result<Self> {
        let (scripts, calls) = (Arc::default(), Arc::default());
        let answers = Answers { scripts: Arc::clone(&scripts), calls: Arc::clone(&calls) };
        let listener = HttpListener::start_at(host, port, answers).await?;
        Ok(Self { listener, scripts, calls })
    }

    /// When it was called, the oldest first.
    pub fn calls(&self) -> Vec<Instant> {
        self.calls.lock().expect("no test panics here").clone()
    }

    pub fn url(&self) -> String {
        self.listener.url("/v1")
    }

    /// Plays these steps for messages that hold the marker; after the last one the last one again.
    pub fn script(&self, marker: &str, steps: impl IntoIterator<Item = Step>) {
        let script = Script { marker: marker.to_owned(), steps: steps.into_iter().collect() };
        self.scripts.lock().expect("no test panics here").push(script);
    }
}

struct Answers {
    scripts: Arc<Mutex<Vec<Script>>>,
    calls: Arc<Mutex<Vec<Instant>>>,
}

impl Handler for Answers {
    async fn answer(&self, request: Request<Bytes>) -> Response<Full<Bytes>> {
        self.calls.lock().expect("no test panics here").push(Instant::now());
        let Ok(body) = serde_json::from_slice::<Value>(request.body()) else {
            return http_listener::json(400, &json!({"error": {"message": "not JSON"}}));
        };
        let mut step = self.step(&body);
        while let Step::After(delay, next) = step {
            tokio::time::sleep(delay).await;
            step = *next;
        }
        let message = match step {
            Step::Say(text) => json!({"role": "assistant", "content": text}),
            Step::Call { tool, arguments } => json!({"role": "assistant", "content": null, "tool_calls": [{
                "id": format!("call_{}", uuid::Uuid::new_v4().simple()),
                "type": "function",
                "function": {"name": tool, "arguments": arguments.to_string()},
            }]}),
            Step::Fail { status, message } => {
                return http_listener::json(status, &json!({"error": {"message": message, "type": "scripted"}}));
            }
            Step::After(..) => unreachable!("the loop above takes these apart"),
        };
        let finish_reason = if message.get("tool_calls").is_some() { "tool_calls" } else { "stop" };
        let is_stream = body.get("stream") == Some(&Value::Bool(true));
        let answer = |said: &str, message: Value| {
            json!({
                "id": format!("chatcmpl-{}", uuid::Uuid::new_v4().simple()),
                "object": if is_stream { "chat.completion.chunk" } else { "chat.completion" },
                "created": 0,
                "model": body.get("model").cloned().unwrap_or_default(),
                "choices": [{"index": 0, said: message, "finish_reason": finish_reason}],
                "usage": {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010},
            })
        };
        if is_stream {
            // All in one piece; the place of a call in the message tells the pieces of a call apart.
            let mut delta = message;
            if let Some(call) = delta.pointer_mut("/tool_calls/0").and_then(Value::as_object_mut) {
                call.insert("index".to_owned(), 0.into());
            }
            return http_listener::event_stream(&answer("delta", delta));
        }
        http_listener::json(200, &answer("message", message))
    }
}

impl Answers {
    fn step(&self, body: &Value) -> Step {
        // The server's own calls, for a title or a summary, bring no tools.
        if body.get("tools").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            return Step::say("A scripted text");
        }
        let messages = body.get("messages").and_then(Value::as_array).cloned().unwrap_or_default();
        let scripts = self.scripts.lock().expect("no test panics here");
        let role = |message: &Value| message.get("role").and_then(Value::as_str).unwrap_or_default().to_owned();
        let chosen = messages.iter().enumerate().rev().filter(|(_, message)| role(message) == "user").find_map(
            |(at, message)| {
                let text = message.get("content").map(Value::to_string).unwrap_or_default();
                scripts.iter().rev().find(|script| text.contains(&script.marker)).map(|script| (at, script))
            },
        );
        let Some((at, script)) = chosen else { return Step::say("No script for this message.") };
        let number = messages[at..].iter().filter(|message| role(message) == "assistant").count();
        script.steps.get(number).or(script.steps.last()).cloned().unwrap_or_else(|| Step::say("An empty script."))
    }
}
