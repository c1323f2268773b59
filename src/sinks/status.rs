//! `--status FILE`: the state of a run, for those who watch it from outside.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use openhands_client::agent_server::event::Meaning;
use openhands_client::agent_server::wire::Cost;
use openhands_client::automation::completion::OutcomeStatus;
use openhands_client::off_thread::off_thread;
use openhands_client::secret::Redactor;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::tally::{Tally, stage_name};
use super::{Record, Sink, shown_line};
use crate::files::replace;
use crate::outcome::ResultError;

/// Between two states in the file.
const BETWEEN: Duration = Duration::from_millis(300);
/// The file is never older, as long as the run lives.
const REFRESH: Duration = Duration::from_secs(5);

/// The stage in which the agent works.
const TURN: &str = "turn";

/// The longest last action, in characters.
const LONGEST: usize = 200;

/// The limits of a run, as far as it has any.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct LimitsInForce {
    /// Seconds that the run may take in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seconds: Option<f64>,
    /// US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cost: Option<f64>,
    /// Steps of the agent in a turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) iterations: Option<u32>,
}

/// The state of a run at one moment.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    /// `setup`, `repositories`, `skills`, `conversation`, `setup commands`, `turn`, `checks`, at the end `ended`.
    stage: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    turns: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation_id: Option<String>,
    /// Steps of the agent so far.
    pub(crate) iterations: u64,
    /// What the conversation has cost.
    #[serde(skip_serializing_if = "Cost::is_unknown")]
    pub(crate) cost: Cost,
    elapsed_seconds: f64,
    updated_at: String,
    /// Those that are known.
    pub(crate) limits: LimitsInForce,
    /// The tool, and what the agent says about its use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_action: Option<String>,
    /// COMPLETED or FAILED, at the end.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    status: Option<OutcomeStatus>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    error: Option<ResultError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u8>,
}

impl State {
    /// The stage for people: `turn 1/2` instead of `turn`.
    #[must_use]
    pub(crate) fn stage_and_turn(&self) -> String {
        match (self.turn, self.turns) {
            (Some(turn), Some(turns)) if self.stage == TURN => format!("{TURN} {turn}/{turns}"),
            _ => self.stage.clone().into_owned(),
        }
    }
}

/// Keeps the state of a run in a file.
#[derive(Debug)]
pub(crate) struct StatusFile {
    state: watch::Sender<State>,
    limits: Arc<watch::Sender<LimitsInForce>>,
    tally: Tally,
    redactor: Redactor,
    writing: Option<JoinHandle<()>>,
}

impl StatusFile {
    /// Keeps the state in this file. What is counted is `tally`'s; the limits are set when they are known. Must be called in a tokio
    /// runtime.
    #[must_use]
    pub(crate) fn new(
        path: PathBuf,
        started: Instant,
        tally: Tally,
        limits: Arc<watch::Sender<LimitsInForce>>,
        redactor: Redactor,
    ) -> Self {
        let state = watch::Sender::new(State { stage: "setup".into(), ..State::default() });
        let writing = tokio::spawn(keep_written(path, started, state.subscribe()));
        Self { state, limits, tally, redactor, writing: Some(writing) }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(|state| {
            state.limits = *self.limits.borrow();
            state.iterations = self.tally.iterations();
            change(state);
        });
    }

    fn see(&self, record: &Record<'_>) {
        match record {
            Record::Stage(stage) => self.change(|state| state.stage = stage_name(*stage).into()),
            Record::Conversation { id, .. } => self.change(|state| state.conversation_id = Some(id.to_string())),
            Record::Command { duty, .. } => self.change(|state| state.stage = duty.stage().into()),
            Record::Turn { number, of, .. } => {
                self.change(|state| (state.stage, state.turn, state.turns) = (TURN.into(), Some(*number), Some(*of)));
            }
            Record::CommandEnded { .. } | Record::Amended(_) => {}
            Record::Event { meaning, .. } => match meaning {
                Meaning::Action(action) => {
                    let said = action.own_summary().or(action.detail.as_deref()).unwrap_or_default();
                    let said = shown_line(&format!("{}: {said}", action.tool), LONGEST, &self.redactor);
                    self.change(|state| state.last_action = Some(said));
                }
                Meaning::Stats(usage) | Meaning::FullState { usage, .. } => {
                    self.change(|state| state.cost = usage.cost().or(state.cost));
                }
                _ => {}
            },
            Record::Result(result) => self.change(|state| {
                state.stage = "ended".into();
                state.conversation_id.clone_from(&result.conversation_id);
                state.cost = result.cost;
                state.status = Some(result.status);
                state.error.clone_from(&result.error);
                state.exit_code = Some(result.exit_code);
            }),
        }
    }
}

/// Writes the newest state whenever there is a new one, a few times a second, and now and then anyway. The last one is written at once.
async fn keep_written(path: PathBuf, started: Instant, mut states: watch::Receiver<State>) {
    let mut last = states.clone();
    loop {
        let state = states.borrow_and_update().clone();
        let is_last = state.exit_code.is_some();
        write(&path, started, state).await;
        if is_last {
            return;
        }
        let ended = async { last.wait_for(|state| state.exit_code.is_some()).await.map(drop) };
        match timeout(BETWEEN, ended).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => _ = timeout(REFRESH, states.changed()).await,
        }
    }
}

async fn write(path: &Path, started: Instant, mut state: State) {
    state.elapsed_seconds = (started.elapsed().as_secs_f64() * 10.0).round() / 10.0;
    state.updated_at = jiff::Timestamp::now().to_string();
    let text = serde_json::to_string_pretty(&state).unwrap_or_default() + "\n";
    let to = path.to_owned();
    if let Err(error) = off_thread("status file", move || replace(&to, text.as_bytes())).await {
        tracing::warn!(path = %path.display(), %error, "the status file cannot be written");
    }
}

impl Sink for StatusFile {
    fn record<'a>(&'a mut self, record: &'a Record<'_>) -> BoxFuture<'a, ()> {
        async move {
            self.see(record);
            if matches!(record, Record::Result(_))
                && let Some(writing) = self.writing.take()
            {
                let _ = writing.await;
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use openhands_client::agent_server::Event;

    use super::*;
    use crate::sinks::Stage;

    fn result() -> crate::outcome::RunResult {
        let verdict = crate::outcome::Verdict {
            failure: None,
            run_id: None,
            conversation_id: None,
            cost: Cost::dollars(0.5),
            cut_short: false,
            result: None,
        };
        verdict.alone().result(&Redactor::default())
    }

    #[tokio::test]
    async fn the_last_state_is_always_in_the_file() {
        let home = tempfile::tempdir().unwrap();
        let (path, now, result) = (home.path().join("status.json"), Instant::now(), result());
        let action =
            Event::parse(r#"{"kind":"ActionEvent","tool_name":"terminal","action":{"command":"ls"}}"#).unwrap();
        for round in 0..40 {
            let mut sink = StatusFile::new(path.clone(), now, Tally::new(now), Arc::default(), Redactor::default());
            sink.record(&Record::Stage(Stage::Configuring)).await;
            for pause in 0..round % 4 {
                tokio::time::sleep(BETWEEN.mul_f64(f64::from(pause) / 2.0)).await;
                sink.record(&Record::Event { event: &action, meaning: action.meaning() }).await;
            }
            sink.record(&Record::Result(&result)).await;
            let state: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            assert_eq!((&state["stage"], &state["status"]), (&"ended".into(), &"COMPLETED".into()), "{state}");
            assert_eq!(state["last_action"].is_string(), round % 4 > 0);
        }
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
    }
}
