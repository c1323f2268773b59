//! Reads a story from the lines of a run, one after the other.

use std::collections::{HashMap, VecDeque};

use jiff::civil::DateTime;
use openhands_client::agent_server::Event;
use openhands_client::agent_server::event::{Action, Meaning};
use openhands_client::agent_server::wire::Usage;
use openhands_client::ids::ConversationId;
use serde_json::{Map, Value};

use super::extract::{Extract, line};
use super::story::{Check, Ending, LimitReached, Patch, Step, StepKind, Story};
use super::timeline::{Costs, Timeline};
use crate::agent_work::{AgentWork, Spent};

/// The numbers of steps whose texts are kept: at the beginning, at the end, and failed ones in between.
const FIRST: usize = 300;
const LAST: usize = 300;
const FAILED: usize = 200;
/// Bytes of HTML for the texts of one step.
const STEP_BUDGET: usize = 16 << 10;
/// Bytes of HTML for the texts of all steps.
const STEPS_BUDGET: usize = 2 << 20;
/// Bytes of HTML for all messages to the agent.
const MESSAGES_BUDGET: usize = 256 << 10;
/// Bytes of HTML for the answer.
const ANSWER_BUDGET: usize = 128 << 10;
/// Bytes of HTML for the reason of a failure.
const DETAIL_BUDGET: usize = 16 << 10;
/// The longest line of a title, in characters.
const LONGEST_TITLE: usize = 200;
/// The largest number of messages to the agent that are shown.
const MOST_MESSAGES: usize = 50;
/// The largest number of checks that are shown, and of files of a check.
const MOST_CHECKS: usize = 50;
/// The largest number of warnings that are shown.
const MOST_WARNINGS: usize = 50;
/// Takes the lines of a run, one after the other.
#[derive(Debug, Default)]
pub(crate) struct StoryReader {
    known: bool,
    is_conversation: bool,
    result: Map<String, Value>,
    messages: Vec<Extract>,
    messages_left_out: usize,
    answer: Option<String>,
    steps: Vec<Step>,
    /// Steps whose tool has not answered, by the id of their event.
    open: HashMap<String, usize>,
    /// The last steps, whose texts are kept until others come.
    recent: VecDeque<usize>,
    failed_kept: usize,
    first: Option<DateTime>,
    last: f64,
    work: AgentWork,
    usage: Usage,
    costs: Vec<(f64, f64, u64)>,
    patch: Option<Patch>,
}

impl StoryReader {
    /// Takes a line. What is not an event of a run, and what is unknown, says nothing.
    pub(crate) fn line(&mut self, line: &str) {
        let Some(event) = Event::parse(line) else { return };
        if let Some(own) = event.kind.strip_prefix("runner.") {
            self.known = true;
            if let Ok(Value::Object(fields)) = serde_json::from_str(line) {
                self.own(own, fields);
            }
            return;
        }
        if !event.kind.ends_with("Event") {
            return;
        }
        self.known = true;
        let at = self.time(event.timestamp.as_deref());
        let spent = self.work.see(&event).filter(|_| at.is_some());
        let llm = match spent {
            Some(Spent::Llm(seconds)) => Some(seconds),
            _ => None,
        };
        match event.meaning() {
            Meaning::Action(action) => self.action(&event, action, at, llm),
            Meaning::Observation(observation) => {
                let failed = observation.is_error || observation.exit_code.is_some_and(|code| code != 0);
                self.answered(&event, observation.exit_code, failed, at);
            }
            Meaning::AgentError(error) => self.refused(&event, error, at),
            Meaning::Error(error) => {
                let title = format!("{}: {}", error.code(), error.detail());
                self.said(StepKind::Error, &title, at);
            }
            Meaning::UserMessage(message) => self.said(StepKind::User, message, at),
            Meaning::AgentMessage(message) => {
                self.answer = Some(message.clone());
                self.said(StepKind::Agent, message, at);
            }
            Meaning::Stats(usage) | Meaning::FullState { usage, .. } if !usage.is_empty() => self.used(usage, at),
            _ => {}
        }
    }

    /// Takes the beginning of the changes in the repositories, which have this many bytes in all.
    pub(crate) fn patch(&mut self, patch: &str, size: u64) {
        self.patch = (!patch.trim().is_empty()).then(|| Patch::new(patch, size));
    }

    /// Whether the lines say how the run ended.
    pub(crate) fn has_result(&self) -> bool {
        self.result.contains_key("status")
    }

    /// Takes the result if no line has it.
    pub(crate) fn result(&mut self, result: Map<String, Value>) {
        self.known = true;
        self.result.extend(result);
    }

    /// The lines are those of a conversation, and this is its usage. They do not say how a run ended.
    pub(crate) fn conversation(&mut self, id: ConversationId, usage: &Usage) {
        self.is_conversation = true;
        self.result.insert("conversation_id".to_owned(), id.to_string().into());
        if !usage.is_empty() {
            self.usage = usage.clone();
        }
    }

    /// A line of our own.
    fn own(&mut self, kind: &str, fields: Map<String, Value>) {
        match kind {
            "turn" => {
                let Some(message) = fields.get("message").and_then(Value::as_str) else { return };
                if self.messages.len() < MOST_MESSAGES {
                    self.messages.push(Extract::new(message, MESSAGES_BUDGET));
                } else {
                    self.messages_left_out += 1;
                }
            }
            "setup" | "check" => self.command(kind, &fields),
            "result" | "conversation" | "run" => self.result.extend(fields),
            _ => {}
        }
    }

    /// A command of the task file, as a step.
    fn command(&mut self, tool: &str, fields: &Map<String, Value>) {
        let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
        self.push(Step {
            number: 0,
            kind: StepKind::Tool,
            at: None,
            llm: None,
            tool_seconds: fields.get("seconds").and_then(Value::as_f64),
            tool: tool.to_owned(),
            title: line(text("name"), LONGEST_TITLE),
            command: None,
            output: Some(text("output")).filter(|text| !text.is_empty()).map(|text| Extract::new(text, STEP_BUDGET)),
            exit_code: fields.get("exit_code").and_then(Value::as_i64),
            failed: text("status") != "passed",
            left_out: false,
        });
    }

    /// The seconds of a time since the first one. A time before that counts as the first.
    fn time(&mut self, timestamp: Option<&str>) -> Option<f64> {
        let time: DateTime = timestamp?.parse().ok()?;
        let first = *self.first.get_or_insert(time);
        let seconds = time.duration_since(first).as_secs_f64().max(0.0);
        self.last = self.last.max(seconds);
        Some(seconds)
    }

    fn action(&mut self, event: &Event, action: &Action, at: Option<f64>, llm: Option<f64>) {
        if action.is_finish {
            self.answer.clone_from(&action.detail);
        }
        let detail = action.detail.as_deref().unwrap_or_default();
        let title = action.own_summary().filter(|summary| !summary.trim().is_empty()).unwrap_or(detail);
        let index = self.push(Step {
            number: 0,
            kind: StepKind::Tool,
            at,
            llm,
            tool_seconds: None,
            tool: line(&action.tool, 40),
            title: line(title, LONGEST_TITLE),
            command: (!detail.is_empty()).then(|| Extract::new(detail, STEP_BUDGET)),
            output: None,
            exit_code: None,
            failed: false,
            left_out: false,
        });
        self.open.insert(event.id.clone(), index);
    }

    /// The step that an event answers.
    fn answered_step(&mut self, fields: &Map<String, Value>, at: Option<f64>) -> Option<&mut Step> {
        let action = fields.get("action_id").and_then(Value::as_str);
        // What names no action answers the last one.
        let index = match action {
            Some(action) => self.open.remove(action)?,
            None => self.steps.len().checked_sub(1)?,
        };
        let step = self.steps.get_mut(index)?;
        step.tool_seconds = at.zip(step.at).map(|(end, start)| (end - start).max(0.0));
        Some(step)
    }

    fn answered(&mut self, event: &Event, exit_code: Option<i64>, failed: bool, at: Option<f64>) {
        let Ok(fields) = serde_json::from_str::<Map<String, Value>>(event.raw()) else { return };
        let Some(step) = self.answered_step(&fields, at) else { return };
        (step.exit_code, step.failed) = (exit_code, failed);
        if !step.left_out {
            let output = fields.get("observation").map(content).unwrap_or_default();
            step.output = (!output.trim().is_empty()).then(|| Extract::new(&output, STEP_BUDGET));
        }
    }

    fn refused(&mut self, event: &Event, error: &str, at: Option<f64>) {
        let fields = serde_json::from_str::<Map<String, Value>>(event.raw()).unwrap_or_default();
        match self.answered_step(&fields, at) {
            Some(step) => {
                step.failed = true;
                step.output = Some(Extract::new(error, STEP_BUDGET));
            }
            None => self.said(StepKind::Error, error, at),
        }
    }

    fn said(&mut self, kind: StepKind, message: &str, at: Option<f64>) {
        let title = line(message, LONGEST_TITLE);
        let whole = Extract::new(message, STEP_BUDGET);
        let command = (whole.head != title).then_some(whole);
        self.push(Step {
            number: 0,
            kind,
            at,
            llm: None,
            tool_seconds: None,
            tool: String::new(),
            title,
            command,
            output: None,
            exit_code: None,
            failed: kind == StepKind::Error,
            left_out: false,
        });
    }

    /// Adds a step; the texts of one that is neither among the first nor among the last any more are left out.
    fn push(&mut self, step: Step) -> usize {
        let index = self.steps.len();
        self.steps.push(Step { number: index + 1, ..step });
        if index >= FIRST {
            self.recent.push_back(index);
        }
        if self.recent.len() > LAST
            && let Some(old) = self.recent.pop_front()
            && let Some(old) = self.steps.get_mut(old)
        {
            if old.failed && self.failed_kept < FAILED {
                self.failed_kept += 1;
            } else {
                (old.command, old.output, old.left_out) = (None, None, true);
                old.title = String::new();
            }
        }
        index
    }

    fn used(&mut self, usage: &Usage, at: Option<f64>) {
        self.usage = usage.clone();
        let tokens = usage.tokens();
        if let (Some(cost), Some(at)) = (usage.cost().known(), at) {
            self.costs.push((at, cost, tokens.prompt.saturating_add(tokens.completion)));
        }
    }

    /// The story, if there were lines of a run.
    pub(crate) fn end(mut self) -> Option<Story> {
        if !self.known {
            return None;
        }
        if self.messages.is_empty() {
            let told = self.steps.iter().filter(|step| step.kind == StepKind::User);
            let whole = |step: &Step| Extract::new(&step.title, MESSAGES_BUDGET);
            let shown = told.clone().take(MOST_MESSAGES);
            self.messages = shown.map(|step| step.command.clone().unwrap_or_else(|| whole(step))).collect();
            self.messages_left_out = told.count() - self.messages.len();
        }
        let budget = MESSAGES_BUDGET / self.messages.len().max(1);
        let messages = self.messages.iter().map(|message| message.within(budget)).collect();
        let answer = self.result.get("message").and_then(Value::as_str).map(str::to_owned).or(self.answer.take());
        let timeline = Timeline::new(&self.steps, self.last);
        let count = self.steps.len();
        let mut steps: Vec<Step> = std::mem::take(&mut self.steps).into_iter().filter(|step| !step.left_out).collect();
        let budget = (STEPS_BUDGET / steps.len().max(1)).min(STEP_BUDGET);
        for step in &mut steps {
            let half = budget / 2;
            step.command = step.command.take().map(|text| text.within(half));
            step.output = step.output.take().map(|text| text.within(budget - half));
        }
        let verdict = self.verdict();
        let (checks, all_checks) = self.checks();
        let checks_shown = checks.len();
        let code = verdict.as_ref().and_then(|verdict| verdict.code.as_deref());
        let (warnings, all_warnings) = self.warnings();
        Some(Story {
            messages,
            messages_left_out: self.messages_left_out,
            limit: code.and_then(|code| LimitReached::of(code, self.last)),
            verdict,
            is_conversation: self.is_conversation,
            facts: self.facts(),
            checks,
            checks_left_out: all_checks - checks_shown,
            warnings_left_out: all_warnings - warnings.len(),
            warnings,
            answer: answer.map(|answer| Extract::new(&answer, ANSWER_BUDGET)).filter(|answer| !answer.head.is_empty()),
            left_out: count - steps.len(),
            count,
            steps,
            seconds: self.last,
            llm_seconds: self.work.llm,
            tool_seconds: self.work.tools,
            timeline,
            costs: Costs::new(&self.costs, self.last),
            patch: self.patch,
        })
    }

    fn text(&self, name: &str) -> Option<String> {
        let text = self.result.get(name)?.as_str()?;
        Some(line(text, LONGEST_TITLE))
    }

    /// The first warnings, and how many there are.
    fn warnings(&self) -> (Vec<String>, usize) {
        let all = self.result.get("warnings").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let texts = all.iter().filter_map(Value::as_str).take(MOST_WARNINGS);
        (texts.map(|text| line(text, 2 * LONGEST_TITLE)).collect(), all.len())
    }

    fn verdict(&self) -> Option<Ending> {
        let status = self.text("status")?;
        let error = self.result.get("error");
        let of_error = |name: &str| error?.get(name)?.as_str();
        let code = of_error("code").map(|code| line(code, LONGEST_TITLE));
        let detail = of_error("detail").map(|detail| Extract::new(detail, DETAIL_BUDGET));
        let help = of_error("help").map(|help| line(help, LONGEST_TITLE));
        Some(Ending { completed: status == "COMPLETED", status, code, detail, help })
    }

    /// The first checks of the task, as the result has them, and how many there are.
    fn checks(&self) -> (Vec<Check>, usize) {
        let all = self.result.get("checks").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let check = |check: &Value| {
            let text = |name: &str| check.get(name).and_then(Value::as_str).unwrap_or_default();
            let changed = check.get("changed").and_then(Value::as_array).into_iter().flatten();
            Check {
                name: line(text("name"), LONGEST_TITLE),
                passed: text("status") == "passed",
                ending: match (text("status"), check.get("exit_code").and_then(Value::as_u64)) {
                    ("passed", _) => "passed".to_owned(),
                    (_, Some(code)) => format!("exit {code}"),
                    _ => "too long".to_owned(),
                },
                changed: changed
                    .filter_map(Value::as_str)
                    .take(MOST_CHECKS)
                    .map(|path| line(path, LONGEST_TITLE))
                    .collect(),
            }
        };
        (all.iter().take(MOST_CHECKS).map(check).collect(), all.len())
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let tokens = self.usage.tokens();
        let cost = self.result.get("cost").and_then(Value::as_f64).or(self.usage.cost().known());
        let used = |count: u64| (count > 0).then(|| count.to_string());
        let names = [
            ("Model", self.text("model")),
            ("Profile", self.text("profile")),
            ("Agent-server", self.text("server_version")),
            ("Cost", cost.map(|cost| format!("${cost:.4}"))),
            ("Prompt tokens", used(tokens.prompt)),
            ("Cached tokens", used(tokens.cache_read)),
            ("Completion tokens", used(tokens.completion)),
            ("Changes", self.result.get("patch").map(changes)),
            ("Exit code", self.result.get("exit_code").and_then(Value::as_u64).map(|code| code.to_string())),
            ("Run", self.text("run_id")),
            ("Conversation", self.text("conversation_id")),
            ("Sandbox", self.text("sandbox_id")),
        ];
        names.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// The size of a patch.
fn changes(patch: &Value) -> String {
    let [files, insertions, deletions] = ["files", "insertions", "deletions"].map(|name| patch.get(name));
    match (files.and_then(Value::as_u64), insertions, deletions) {
        (Some(0), ..) => "none".to_owned(),
        (Some(files), Some(insertions), Some(deletions)) => format!("{files} files, +{insertions} -{deletions} lines"),
        _ => String::new(),
    }
}

/// The text of a tool's result.
fn content(observation: &Value) -> String {
    let parts = observation.get("content").and_then(Value::as_array);
    let texts: Vec<&str> =
        parts.into_iter().flatten().filter_map(|part| part.get("text").and_then(Value::as_str)).collect();
    if texts.is_empty() {
        return observation.get("output").and_then(Value::as_str).unwrap_or_default().to_owned();
    }
    texts.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn story(lines: impl IntoIterator<Item = Value>) -> Story {
        let mut reader = StoryReader::default();
        lines.into_iter().for_each(|line| reader.line(&line.to_string()));
        reader.end().unwrap()
    }

    fn time(second: usize) -> String {
        format!("2026-01-01T{:02}:{:02}:{:02}.5", second / 3600, second / 60 % 60, second % 60)
    }

    fn action(number: usize, second: usize) -> Value {
        json!({"kind": "ActionEvent", "id": format!("a{number}"), "timestamp": time(second), "tool_name": "terminal",
            "summary": format!("step {number}"), "action": {"kind": "TerminalAction", "command": "make\ntest"}})
    }

    fn observation(number: usize, second: usize, exit_code: i64, output: &str) -> Value {
        json!({"kind": "ObservationEvent", "id": format!("o{number}"), "timestamp": time(second), "tool_name": "terminal",
            "action_id": format!("a{number}"),
            "observation": {"exit_code": exit_code, "content": [{"type": "text", "text": output}]}})
    }

    fn message(source: &str, second: usize, text: &str) -> Value {
        json!({"kind": "MessageEvent", "id": format!("m{second}"), "source": source, "timestamp": time(second),
            "llm_message": {"content": [{"type": "text", "text": text}]}})
    }

    #[test]
    fn steps_have_their_command_output_and_times() {
        let story = story([
            message("user", 0, "Do it."),
            action(1, 3),
            observation(1, 5, 2, "broken\n"),
            action(2, 6),
            observation(2, 16, 0, "fine\n"),
            json!({"kind": "runner.result", "status": "FAILED", "cost": 0.5, "exit_code": 1, "message": "No.",
                "error": {"code": "AgentStuck", "detail": "it repeats itself"}, "warnings": ["no skills"]}),
        ]);
        assert_eq!(story.messages[0].head, "Do it.");
        let [_, first, second] = &story.steps[..] else { panic!("{:?}", story.steps) };
        assert_eq!((first.title.as_str(), first.exit_code, first.failed), ("step 1", Some(2), true));
        assert_eq!(first.command.as_ref().unwrap().head, "make\ntest");
        assert_eq!(first.output.as_ref().unwrap().head, "broken");
        assert_eq!((first.at, first.llm, first.tool_seconds), (Some(3.0), Some(3.0), Some(2.0)));
        assert_eq!((second.llm, second.tool_seconds, second.failed), (Some(1.0), Some(10.0), false));
        assert_eq!((story.seconds, story.llm_seconds, story.tool_seconds), (16.0, 4.0, 12.0));
        let verdict = story.verdict.unwrap();
        assert_eq!((verdict.completed, verdict.code.as_deref()), (false, Some("AgentStuck")));
        assert_eq!(story.answer.unwrap().head, "No.");
        assert!(story.facts.contains(&("Cost", "$0.5000".to_owned())), "{:?}", story.facts);
        assert_eq!(story.warnings, ["no skills"]);
    }

    #[test]
    fn two_calls_at_once_are_two_steps() {
        let story = story([
            message("user", 0, "x"),
            action(1, 1),
            action(2, 1),
            observation(2, 3, 0, "two"),
            observation(1, 4, 1, "one"),
        ]);
        let output = |step: &Step| step.output.as_ref().unwrap().head.clone();
        assert_eq!((output(&story.steps[1]), output(&story.steps[2])), ("one".to_owned(), "two".to_owned()));
        assert!((story.steps[1].failed, story.steps[2].failed) == (true, false));
        assert!((story.llm_seconds - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_long_run_keeps_its_beginning_its_end_and_its_failures() {
        let lines = (0..1500).flat_map(|number| {
            let code = i64::from(number == 700);
            [action(number, number), observation(number, number, code, &"<".repeat(20_000))]
        });
        let story = story(lines);
        assert_eq!(story.count, 1500);
        assert_eq!(story.steps.len(), FIRST + LAST + 1);
        assert_eq!(story.left_out, 1500 - story.steps.len());
        assert!(story.steps.iter().any(|step| step.number == 701 && step.failed));
    }

    #[test]
    fn what_is_left_out_is_counted_and_a_limit_is_marked() {
        let turns = (0..MOST_MESSAGES + 3).map(|number| json!({"kind": "runner.turn", "message": number.to_string()}));
        let end = json!({"kind": "runner.result", "status": "FAILED", "error": {"code": "Timeout", "detail": "too long", "help": "raise it"},
            "warnings": vec!["odd"; MOST_WARNINGS + 7], "checks": vec![json!({"name": "c", "status": "passed"}); MOST_CHECKS + 2]});
        let story = story(turns.chain([action(1, 0), observation(1, 9, 0, "x"), end]));
        assert_eq!((story.messages.len(), story.messages_left_out), (MOST_MESSAGES, 3));
        assert_eq!((story.warnings.len(), story.warnings_left_out), (MOST_WARNINGS, 7));
        assert_eq!((story.checks.len(), story.checks_left_out), (MOST_CHECKS, 2));
        let limit = story.limit.clone().unwrap();
        assert_eq!((limit.name, limit.at), ("Time limit reached", 9.0));
        let page = crate::report::page(&story).unwrap();
        for part in [
            ">3 messages are left out.",
            ">7 warnings are left out here.",
            ">2 checks are left out.",
            "<p><b>What to do:</b> raise it</p>",
            "class=\"limit\"",
            "Time limit reached, 9.0 s",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        let text = crate::report::plain(&story, 80);
        for part in [
            "\n7 warnings are left out\n",
            "\n  2 checks are left out\n",
            "\n  3 messages are left out\n",
            "\n       Time limit reached: 9.0 s\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn lines_of_something_else_make_no_story() {
        let mut reader = StoryReader::default();
        for line in ["", "text", "[1]", "{}", r#"{"kind": 7}"#, r#"{"kind":"Deployment"}"#] {
            reader.line(line);
        }
        assert!(reader.end().is_none());
    }

    #[test]
    fn a_run_without_a_result_has_no_verdict() {
        let story = story([message("user", 0, "x"), message("agent", 2, "y")]);
        assert!(story.verdict.is_none());
        assert_eq!(story.answer.unwrap().head, "y");
    }
}
