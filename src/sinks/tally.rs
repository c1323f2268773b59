//! What is counted and measured of a run while it is under way. Its memory does not grow with the run's events.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use jiff::civil::DateTime;
use openhands_client::agent_server::Event;
use openhands_client::agent_server::event::Meaning;
use openhands_client::agent_server::wire::{Cost, Usage};
use tokio::time::Instant;

use super::{Record, Sink, Stage};
use crate::outcome::{Facts, StageTime};

/// Counts and measures. Clones share what they know.
#[derive(Debug, Clone)]
pub(crate) struct Tally(Arc<Mutex<Counts>>);

#[derive(Debug)]
struct Counts {
    started_at: jiff::Timestamp,
    started: Instant,
    stage: Option<(String, Instant)>,
    stages: Vec<StageTime>,
    turns: u64,
    usage: Usage,
    work: Work,
}

/// The agent's work, by the times of its events.
#[derive(Debug, Default)]
struct Work {
    iterations: u64,
    llm: f64,
    tools: f64,
    /// Whether an event with a readable time was seen.
    is_timed: bool,
    /// When the agent began what it does now.
    since: Option<DateTime>,
    /// Tools that are at work.
    busy_tools: u32,
}

impl Work {
    fn see(&mut self, event: &Event) {
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
            return;
        }
        let now: Option<DateTime> = event.timestamp.as_deref().and_then(|time| time.parse().ok());
        self.is_timed |= now.is_some();
        let seconds = match (self.since, now) {
            (Some(since), Some(now)) => now.duration_since(since).as_secs_f64().max(0.0),
            _ => 0.0,
        };
        match meaning {
            // Several actions of one response come one after another.
            Meaning::Action(_) if self.busy_tools > 0 => return self.busy_tools += 1,
            Meaning::Action(action) => {
                self.iterations += 1;
                self.llm += seconds;
                self.busy_tools = u32::from(!action.is_finish);
            }
            Meaning::AgentMessage(_) => {
                self.iterations += 1;
                self.llm += seconds;
                self.busy_tools = 0;
            }
            Meaning::Observation(_) | Meaning::AgentError(_) if self.busy_tools > 0 => {
                self.tools += seconds;
                self.busy_tools -= 1;
            }
            // A message begins the agent's work; one that comes in between changes nothing of it.
            Meaning::UserMessage(_) if self.busy_tools > 0 => return,
            _ => {}
        }
        self.since = now.or(self.since);
    }
}

impl Tally {
    /// Of a run that started this long ago.
    #[must_use]
    pub(crate) fn new(started: Instant) -> Self {
        let before = jiff::SignedDuration::try_from(started.elapsed()).unwrap_or_default();
        Self(Arc::new(Mutex::new(Counts {
            started_at: jiff::Timestamp::now().checked_sub(before).unwrap_or_else(|_| jiff::Timestamp::now()),
            started,
            stage: None,
            stages: Vec::new(),
            turns: 0,
            usage: Usage::default(),
            work: Work::default(),
        })))
    }

    /// What is known now.
    #[must_use]
    pub(crate) fn facts(&self) -> Facts {
        let counts = self.counts();
        let mut stages = counts.stages.clone();
        stages.extend(counts.stage.as_ref().map(|(stage, since)| time(stage, *since)));
        let timed = |seconds: f64| counts.work.is_timed.then(|| rounded(seconds));
        let mut facts = Facts {
            started_at: Some(counts.started_at.to_string()),
            seconds: Some(rounded(counts.started.elapsed().as_secs_f64())),
            stages,
            turns: Some(counts.turns),
            iterations: (counts.turns > 0).then_some(counts.work.iterations),
            llm_seconds: timed(counts.work.llm),
            tool_seconds: timed(counts.work.tools),
            ..Facts::default()
        };
        facts.set_usage(&counts.usage);
        facts
    }

    /// Whether the server has told what the conversation has used.
    #[must_use]
    pub(crate) fn knows_usage(&self) -> bool {
        !self.counts().usage.is_empty()
    }

    /// What the conversation has cost, as far as the server says.
    #[must_use]
    pub(crate) fn cost(&self) -> Cost {
        self.counts().usage.cost()
    }

    /// Steps of the agent so far.
    #[must_use]
    pub(crate) fn iterations(&self) -> u64 {
        self.counts().work.iterations
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn begin(&mut self, stage: String) {
        let before = self.stage.replace((stage, Instant::now()));
        self.stages.extend(before.map(|(stage, since)| time(&stage, since)));
    }
}

fn time(stage: &str, since: Instant) -> StageTime {
    StageTime { stage: stage.to_owned(), seconds: rounded(since.elapsed().as_secs_f64()) }
}

/// To milliseconds.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// The name of a stage in results and states.
#[must_use]
pub(crate) const fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::SettingUp => "setup",
        Stage::CloningRepositories => "repositories",
        Stage::LoadingSkills => "skills",
        Stage::Configuring => "conversation",
    }
}

impl Sink for Tally {
    fn record<'a>(&'a mut self, record: &'a Record<'_>) -> BoxFuture<'a, ()> {
        let mut counts = self.counts();
        match record {
            Record::Stage(stage) => counts.begin(stage_name(*stage).to_owned()),
            Record::Turn { number, .. } => {
                counts.turns += 1;
                counts.begin(format!("turn {number}"));
            }
            Record::Event { event, meaning } => match meaning {
                Meaning::Stats(usage) | Meaning::FullState { usage, .. } => {
                    if !usage.is_empty() {
                        counts.usage.clone_from(usage);
                    }
                }
                _ => counts.work.see(event),
            },
            Record::Conversation { .. } | Record::Result(_) => {}
        }
        drop(counts);
        ready(()).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_llm_and_tools_is_that_between_the_events() {
        let mut work = Work::default();
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
        assert_eq!((rounded(work.llm), rounded(work.tools)), (7.0, 9.0));
    }

    #[test]
    fn a_server_without_times_has_none() {
        let mut work = Work::default();
        work.see(&Event::parse(r#"{"kind":"ActionEvent","timestamp":"soon"}"#).unwrap());
        assert!(!work.is_timed && work.iterations == 1);
    }
}
