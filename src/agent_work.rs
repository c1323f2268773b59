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

/// The agent's work, by the times of its events.
#[derive(Debug, Default)]
pub(crate) struct AgentWork {
    /// Responses of the LLM.
    pub(crate) iterations: u64,
    /// Seconds of the LLM.
    pub(crate) llm: f64,
    /// Seconds of tools.
    pub(crate) tools: f64,
    /// Whether an event with a readable time was seen.
    pub(crate) is_timed: bool,
    /// When the agent began what it does now.
    since: Option<DateTime>,
    /// Tools that are at work.
    busy_tools: u32,
}

impl AgentWork {
    /// Whether a tool is at work: the LLM is asked again when it has ended.
    #[must_use]
    pub(crate) const fn is_at_tools(&self) -> bool {
        self.busy_tools > 0
    }

    /// The action that a tool was to do is not done, and no event tells so.
    pub(crate) fn no_tool_is_at_work(&mut self) {
        self.busy_tools = 0;
    }

    /// Takes an event, and tells whose work it ends and how many seconds that took.
    pub(crate) fn see(&mut self, event: &Event) -> Option<Spent> {
        let meaning = event.meaning();
        let is_step = matches!(
            meaning,
            Meaning::Action(_)
                | Meaning::Observation(_)
                | Meaning::AgentError(_)
                | Meaning::UserMessage(_)
                | Meaning::AgentMessage(_)
        );
        if !is_step {
            return None;
        }
        let now: Option<DateTime> = event.timestamp.as_deref().and_then(|time| time.parse().ok());
        self.is_timed |= now.is_some();
        let seconds = match (self.since, now) {
            (Some(since), Some(now)) => now.duration_since(since).as_secs_f64().max(0.0),
            _ => 0.0,
        };
        let spent = match meaning {
            // Several actions of one response come one after another.
            Meaning::Action(_) if self.busy_tools > 0 => {
                self.busy_tools += 1;
                return None;
            }
            Meaning::Action(action) => {
                self.iterations += 1;
                self.llm += seconds;
                self.busy_tools = u32::from(!action.is_finish);
                Some(Spent::Llm(seconds))
            }
            Meaning::AgentMessage(_) => {
                self.iterations += 1;
                self.llm += seconds;
                self.busy_tools = 0;
                Some(Spent::Llm(seconds))
            }
            Meaning::Observation(_) | Meaning::AgentError(_) if self.busy_tools > 0 => {
                self.tools += seconds;
                self.busy_tools -= 1;
                Some(Spent::Tools(seconds))
            }
            // A message begins the agent's work; one that comes in between changes nothing of it.
            Meaning::UserMessage(_) if self.busy_tools > 0 => return None,
            _ => None,
        };
        self.since = now.or(self.since);
        spent
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
        assert_eq!(work.iterations, 4);
        assert!(!work.is_at_tools());
        assert_eq!((work.llm, work.tools), (7.0, 9.0));
    }

    #[test]
    fn a_server_without_times_has_none() {
        let mut work = AgentWork::default();
        work.see(&Event::parse(r#"{"kind":"ActionEvent","timestamp":"soon"}"#).unwrap());
        assert!(!work.is_timed && work.iterations == 1);
    }
}
