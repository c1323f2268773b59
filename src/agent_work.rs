//! How long the agent's LLM and its tools took, by the times of the conversation's events.

use jiff::civil::DateTime;
use openhands_client::agent_server::Event;
use openhands_client::agent_server::event::Meaning;

/// Who took the time before an event, and how many seconds of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Spent {
    /// The LLM.
    Llm(f64),
    /// Tools.
    Tools(f64),
}

/// What an event is among the agent's steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The end of a response of the LLM.
    Llm,
    /// The end of a tool.
    Tool,
    /// The begin of the agent's work, or what takes nobody's time.
    Other,
}

/// The agent's steps so far, whatever the time.
#[derive(Debug, Default)]
pub(crate) struct AgentSteps {
    /// Responses of the LLM.
    pub(crate) iterations: u64,
    /// Tools that are at work.
    busy_tools: u32,
}

impl AgentSteps {
    /// Whether a tool is at work: the LLM is asked again when it has ended.
    #[must_use]
    pub(crate) const fn is_at_tools(&self) -> bool {
        self.busy_tools > 0
    }

    /// The action that a tool was to do is not done, and no event tells so.
    pub(crate) fn no_tool_is_at_work(&mut self) {
        self.busy_tools = 0;
    }

    /// Takes an event. `None` if it is no step, or one in the middle of another.
    pub(crate) fn see(&mut self, event: &Event) -> Option<Step> {
        match event.meaning() {
            // Several actions of one response come one after another.
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
            // A message begins the agent's work; one that comes in between changes nothing of it.
            Meaning::UserMessage(_) if self.is_at_tools() => None,
            Meaning::Observation(_) | Meaning::AgentError(_) | Meaning::UserMessage(_) => Some(Step::Other),
            _ => None,
        }
    }
}

/// The agent's work, by the times of its events.
#[derive(Debug, Default)]
pub(crate) struct AgentWork {
    /// Its steps.
    pub(crate) steps: AgentSteps,
    /// Seconds of the LLM.
    pub(crate) llm: f64,
    /// Seconds of tools.
    pub(crate) tools: f64,
    /// Whether an event with a readable time was seen.
    pub(crate) is_timed: bool,
    /// When the agent began what it does now.
    since: Option<DateTime>,
}

impl AgentWork {
    /// Takes an event, and tells whose work it ends and how many seconds that took.
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
            // Two at a time, after three seconds of the LLM; three and four seconds of tools.
            (action, "03"),
            (action, "03.5"),
            (result, "06"),
            (result, "10"),
            // Cut by an error.
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
