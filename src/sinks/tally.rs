//! What is counted and measured of a run while it is under way. Its memory does not grow with the run's events.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use openhands_client::agent_server::event::Meaning;
use openhands_client::agent_server::wire::{Cost, Usage};
use tokio::time::Instant;

use super::{Duty, Record, Sink, Stage};
use crate::agent_work::AgentWork;
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
    /// The number of the last one.
    turn: usize,
    usage: Usage,
    work: AgentWork,
}

impl Tally {
    /// Creates the tally of a run that started this long ago.
    #[must_use]
    pub(crate) fn new(started: Instant) -> Self {
        let before = jiff::SignedDuration::try_from(started.elapsed()).unwrap_or_default();
        Self(Arc::new(Mutex::new(Counts {
            started_at: jiff::Timestamp::now().checked_sub(before).unwrap_or_else(|_| jiff::Timestamp::now()),
            started,
            stage: None,
            stages: Vec::new(),
            turns: 0,
            turn: 0,
            usage: Usage::default(),
            work: AgentWork::default(),
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
            iterations: (counts.turns > 0).then_some(counts.work.steps.iterations),
            llm_seconds: timed(counts.work.llm),
            tool_seconds: timed(counts.work.tools),
            ..Facts::default()
        };
        facts.set_usage(&counts.usage);
        facts
    }

    /// Whether the server has reported what the conversation has used.
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
        self.counts().work.steps.iterations
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
            Record::Command { duty, number: 1, .. } => counts.begin(match duty {
                Duty::Setup => duty.stage().to_owned(),
                Duty::Check { attempt } => format!("{} {attempt}", duty.stage()),
            }),
            Record::Turn { number, .. } => {
                // A turn that continues after a pause of the sandbox begins once more.
                counts.turns += u64::from(counts.turn != *number);
                counts.turn = *number;
                counts.begin(format!("turn {number}"));
            }
            Record::Event { event, meaning } => match meaning {
                Meaning::Stats(usage) | Meaning::FullState { usage, .. } => {
                    if !usage.is_empty() {
                        counts.usage.clone_from(usage);
                    }
                }
                _ => _ = counts.work.see(event),
            },
            Record::Conversation { .. }
            | Record::Command { .. }
            | Record::CommandEnded { .. }
            | Record::Result(_)
            | Record::Amended(_) => {}
        }
        drop(counts);
        ready(()).boxed()
    }
}
