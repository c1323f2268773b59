//! The time that the agent's LLM and its tools took, from the timestamps of the conversation's events.

use jiff::civil::DateTime;
use openhands_client::agent_server::Event;
use openhands_client::agent_server::event::Meaning;

/// What took the time before an event, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Spent {
    /// The LLM.
    Llm(f64),
    /// Tools.
    Tools(f64),
}

/// The meaning of an event for the agent's steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The end of a response of the LLM.
    Llm,
    /// The end of a tool.
    Tool,
    /// The beginning of the agent's work, or an event that took neither LLM time nor tool time.
    Other,
}

/// The agent's steps so far, without their times.
#[derive(Debug, Default)]
pub(crate) struct AgentSteps {
    /// The number of LLM responses.
    pub(crate) iterations: u64,
    /// The number of tools that are running.
    busy_tools: u32,
}

impl AgentSteps {
    /// Returns whether a tool is running. When it has ended, the LLM is called again.
    #[must_use]
    pub(crate) const fn is_at_tools(&self) -> bool {
        self.busy_tools > 0
    }

    /// Records that the pending action of a tool was not performed, for which there is no event.
    pub(crate) fn no_tool_is_at_work(&mut self) {
        self.busy_tools = 0;
    }

    /// Adds an event. Returns `None` if it is not a step, or is a step within another.
    pub(crate) fn see(&mut self, event: &Event) -> Option<Step> {
        match event.meaning() {
            // Several actions of one response run one after another.
            Meaning::Action(_) if self.is_at_tools() => {
                self.busy_tools += 1;
                None
            }
            Meaning::Action(action) => {
                self.iterations += 1;
                self.busy_tools = u32::from(!action.is_finish);
                Some(Step::Llm)
            }
            Meaning::AgentMessage(_) => {
                self.iterations += 1;
                self.busy_tools = 0;
                Some(Step::Llm)
            }
            Meaning::Observation(_) | Meaning::AgentError(_) if self.is_at_tools() => {
                self.busy_tools -= 1;
                Some(Step::Tool)
            }
            // A message starts the agent's work. A message in between does not affect it.
            Meaning::UserMessage(_) if self.is_at_tools() => None,
            Meaning::Observation(_) | Meaning::AgentError(_) | Meaning::UserMessage(_) => Some(Step::Other),
            _ => None,
        }
    }
}

/// The agent's work, measured by the timestamps of its events.
#[derive(Debug, Default)]
pub(crate) struct AgentWork {
    /// The agent's steps.
    pub(crate) steps: AgentSteps,
    /// LLM time in seconds.
    pub(crate) llm: f64,
    /// Tool time in seconds.
    pub(crate) tools: f64,
    /// Whether an event with a valid timestamp was seen.
    pub(crate) is_timed: bool,
    /// The start of the agent's current step.
    since: Option<DateTime>,
}

impl AgentWork {
    /// Adds an event. Returns what it completes, with the time that this took.
    pub(crate) fn see(&mut self, event: &Event) -> Option<Spent> {
        let step = self.steps.see(event)?;
        let now: Option<DateTime> = event.timestamp.as_deref().and_then(|time| time.parse().ok());
        self.is_timed |= now.is_some();
        let seconds = match (self.since, now) {
            (Some(since), Some(now)) => now.duration_since(since).as_secs_f64().max(0.0),
            _ => 0.0,
        };
        self.since = now.or(self.since);
        match step {
            Step::Llm => {
                self.llm += seconds;
                Some(Spent::Llm(seconds))
            }
            Step::Tool => {
                self.tools += seconds;
                Some(Spent::Tools(seconds))
            }
            Step::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_llm_and_tools_is_that_between_the_events() {
        let mut work = AgentWork::default();
        let action = r#""kind":"ActionEvent","action":{"kind":"TerminalAction"}"#;
        let finish = r#""kind":"ActionEvent","action":{"kind":"FinishAction"}"#;
        let message = |source: &str| format!(r#""kind":"MessageEvent","source":"{source}""#);
        let (user, agent) = (message("user"), message("agent"));
        let result = r#""kind":"ObservationEvent""#;
        for (fields, seconds) in [
            (&*user, "00"),
            // Two tools at once, after three seconds of LLM time; three and four seconds of tool time.
            (action, "03"),
            (action, "03.5"),
            (result, "06"),
            (result, "10"),
            // Ended by an error.
            (action, "11"),
            (r#""kind":"AgentErrorEvent""#, "13"),
            (&*agent, "15"),
            (finish, "16"),
            (r#""kind":"ConversationStateUpdateEvent""#, "40"),
        ] {
            let event = format!(r#"{{"id":"x","timestamp":"2026-01-01T00:00:{seconds}",{fields}}}"#);
            work.see(&Event::parse(event).unwrap());
        }
        assert_eq!(work.steps.iterations, 4);
        assert!(!work.steps.is_at_tools());
        assert_eq!((work.llm, work.tools), (7.0, 9.0));
    }

    #[test]
    fn a_server_without_times_has_none() {
        let mut work = AgentWork::default();
        work.see(&Event::parse(r#"{"kind":"ActionEvent","timestamp":"soon"}"#).unwrap());
        assert!(!work.is_timed && work.steps.iterations == 1);
    }
}
