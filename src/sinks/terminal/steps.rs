//! The permanent lines: one for each step of the agent, when its result is there.

use std::collections::VecDeque;
use std::mem;

use openhands_client::agent_server::event::{Action, Meaning, Observation};
use openhands_client::secret::Redactor;

use super::live::Live;
use crate::paint::{Kind, Line};
use crate::sinks::tally::stage_name;
use crate::sinks::{Record, shown_line};

/// The longest text of a line, in characters: more than terminals are wide.
const LONGEST: usize = 500;
/// The same for a command that is shown complete.
const LONGEST_COMPLETE: usize = 20_000;
/// Steps that wait for their results; a server that never sends results must not fill the memory.
const MOST_WAITING: usize = 64;

/// Makes lines of records.
#[derive(Debug)]
pub(super) struct Steps {
    redactor: Redactor,
    is_verbose: bool,
    /// Tools and lines of the actions without a result yet, the oldest first.
    waiting: VecDeque<(String, String)>,
    lines: Vec<Line>,
}

impl Steps {
    pub(super) fn new(redactor: Redactor, is_verbose: bool) -> Self {
        Self { redactor, is_verbose, waiting: VecDeque::new(), lines: Vec::new() }
    }

    /// The lines since the last call.
    pub(super) fn take(&mut self) -> Vec<Line> {
        mem::take(&mut self.lines)
    }

    /// Takes a record in. `iterations` are the agent's steps so far.
    pub(super) fn see(&mut self, record: &Record<'_>, live: &mut Live, iterations: u64) {
        match record {
            Record::Stage(stage) => stage_name(*stage).clone_into(&mut live.stage),
            Record::Conversation { id, new } => {
                let verb = if *new { "started" } else { "continued" };
                self.say(Kind::Plain, format!("conversation {id} {verb}"));
            }
            Record::Command { duty, number, of, name } => {
                live.stage = format!("{} {number}/{of}", duty.noun());
                live.doing = self.clean(name);
            }
            Record::CommandEnded { duty, result } => {
                live.doing.clear();
                let kind = if result.is_passed() { Kind::Plain } else { Kind::Warning };
                let mark = result.exit_code.map_or_else(|| "too long".to_owned(), |code| code.to_string());
                self.say(kind, format!("  [{mark}] {}: {}", duty.noun(), self.clean(&result.name)));
            }
            Record::Turn { number, of, message } => {
                live.stage = format!("turn {number}/{of}");
                live.doing.clear();
                live.earlier_iterations = iterations;
                self.say(Kind::Heading, format!("turn {number} of {of}: {}", self.clean(message)));
            }
            Record::Event { meaning, .. } => self.step(meaning, live),
            Record::Result(_) => self.flush(),
            Record::Amended(_) => {}
        }
    }

    fn step(&mut self, meaning: &Meaning, live: &mut Live) {
        match meaning {
            Meaning::Action(action) => {
                live.doing = self.clean(action.own_summary().or(action.detail.as_deref()).unwrap_or(&action.tool));
                // The summary shows the final message.
                if !action.is_finish {
                    if self.waiting.len() >= MOST_WAITING {
                        self.flush();
                    }
                    self.waiting.push_back((action.tool.clone(), self.action(action)));
                }
            }
            Meaning::Observation(observation) => self.result(observation),
            Meaning::AgentMessage(message) => {
                self.flush();
                self.say(Kind::Plain, format!("agent: {}", self.clean(message)));
            }
            Meaning::AgentError(error) => {
                self.flush();
                self.say(Kind::Warning, format!("agent error: {}", self.clean(error)));
            }
            Meaning::Error(error) => {
                self.flush();
                let (code, detail) = (self.clean(error.code()), self.clean(&error.detail()));
                self.say(Kind::Warning, format!("{code}: {detail}"));
            }
            _ => {}
        }
    }

    fn result(&mut self, observation: &Observation) {
        let at = self.waiting.iter().position(|(tool, _)| *tool == observation.tool);
        let Some((_, action)) = at.and_then(|at| self.waiting.remove(at)) else { return };
        let (kind, mark) = match (observation.exit_code, observation.is_error) {
            (Some(0), false) => (Kind::Plain, "[0]".to_owned()),
            (Some(code), _) => (Kind::Warning, format!("[{code}]")),
            (None, true) => (Kind::Warning, "[failed]".to_owned()),
            (None, false) => (Kind::Plain, "[ok]".to_owned()),
        };
        // In front, where no cut takes it away.
        self.say(kind, format!("  {mark} {action}"));
    }

    /// Says what has no result, and gets none.
    fn flush(&mut self) {
        for (_, action) in mem::take(&mut self.waiting) {
            self.say(Kind::Plain, format!("  [..] {action}"));
        }
    }

    fn action(&self, action: &Action) -> String {
        let tool = self.clean(&action.tool);
        match (action.own_summary(), action.detail.as_deref()) {
            (Some(summary), Some(detail)) => format!("{tool}: {}: {}", self.clean(summary), self.clean(detail)),
            (Some(only), None) | (None, Some(only)) => format!("{tool}: {}", self.clean(only)),
            (None, None) => tool,
        }
    }

    fn say(&mut self, kind: Kind, text: String) {
        self.lines.push(Line::new(kind, text));
    }

    fn clean(&self, text: &str) -> String {
        let longest = if self.is_verbose { LONGEST_COMPLETE } else { LONGEST };
        shown_line(text, longest, &self.redactor)
    }
}

#[cfg(test)]
mod tests {
    use openhands_client::agent_server::Event;
    use openhands_client::secret::Secret;
    use openhands_client::text;

    use super::*;

    fn see(steps: &mut Steps, raw: &str, live: &mut Live) -> Vec<String> {
        let event = Event::parse(raw).unwrap();
        steps.see(&Record::Event { event: &event, meaning: event.meaning() }, live, 1);
        steps.take().into_iter().map(|line| line.text).collect()
    }

    fn action(summary: &str, command: &str) -> String {
        let action = serde_json::json!({"kind": "ActionEvent", "tool_name": "terminal", "summary": summary,
            "action": {"kind": "TerminalAction", "command": command}});
        action.to_string()
    }

    fn result(fields: &str) -> String {
        format!(r#"{{"kind":"ObservationEvent","tool_name":"terminal","observation":{{{fields}}}}}"#)
    }

    #[test]
    fn a_step_is_one_line_with_its_exit_code_when_it_has_ended() {
        let (mut steps, mut live) = (Steps::new(Redactor::default(), false), Live::default());
        for (fields, line) in [
            (r#""exit_code":0"#, "  [0] terminal: list files: ls -la"),
            (r#""exit_code":2,"is_error":true"#, "  [2] terminal: list files: ls -la"),
            (r#""is_error":true"#, "  [failed] terminal: list files: ls -la"),
            ("", "  [ok] terminal: list files: ls -la"),
        ] {
            assert!(see(&mut steps, &action("list files", "ls\n -la"), &mut live).is_empty());
            assert_eq!(live.doing, "list files");
            assert_eq!(see(&mut steps, &result(fields), &mut live), [line]);
        }
        // A result without an action says nothing, and an action that is cut is not lost.
        assert!(see(&mut steps, &result(""), &mut live).is_empty());
        see(&mut steps, &action("wait", "sleep 9"), &mut live);
        let cut = see(&mut steps, r#"{"kind":"AgentErrorEvent","error":"cut"}"#, &mut live);
        assert_eq!(cut, ["  [..] terminal: wait: sleep 9", "agent error: cut"]);
    }

    #[test]
    fn a_hostile_agent_changes_nothing_but_its_own_text() {
        let (mut steps, mut live) = (Steps::new(Redactor::default(), true), Live::default());
        let hostile = "\u{1b}[2J\u{1b}]52;c;eA==\u{7}\u{9b}1A\u{202e}x\r\n::set-env name=A::b\n".to_owned();
        let huge = hostile.clone() + &"y".repeat(10_000_000);
        see(&mut steps, &action(&hostile, &huge), &mut live);
        let lines = see(&mut steps, &result(r#""exit_code":0"#), &mut live);
        assert_eq!(live.doing, "x ::set-env name=A::b");
        assert!(lines[0].starts_with("  [0] terminal: x ::set-env name=A::b: x ::set-env"), "{:.80}", lines[0]);
        assert!(lines.len() == 1 && lines[0].len() < 2 * LONGEST_COMPLETE);
        assert!(!lines[0].contains(text::is_invisible));
    }

    #[test]
    fn a_secret_is_masked_before_the_text_is_cut() {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("value-of-a-secret"));
        let steps = Steps::new(redactor, false);
        for before in LONGEST - 17..LONGEST {
            let line = steps.clean(&format!("{} value-of-a-secret", "x".repeat(before)));
            assert!(!line.contains('v'), "{line}");
        }
    }

    #[test]
    fn steps_without_results_do_not_fill_the_memory() {
        let (mut steps, mut live) = (Steps::new(Redactor::default(), false), Live::default());
        let said: usize = (0..1000).map(|_| see(&mut steps, &action("a", "b"), &mut live).len()).sum();
        assert!(said > 900 && steps.waiting.len() <= MOST_WAITING, "{said}");
    }
}
