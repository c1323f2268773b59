//! The live line: where a run is, what it has used, and what its agent is doing.

use std::fmt::Write as _;
use std::time::Duration;

use openhands_client::agent_server::wire::Cost;
use openhands_client::text;

use crate::sinks::status::{LimitsInForce, State};

/// Below this width, the limits are left out.
const WIDE: usize = 60;

/// The longest text from a sandbox, in characters.
const LONGEST: usize = 200;

/// What the records say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Live {
    /// Where the run is.
    pub(crate) stage: String,
    /// What the agent is doing, in its own words.
    pub(crate) doing: String,
    /// Steps of the agent before this turn.
    pub(crate) earlier_iterations: u64,
}

/// What is measured and counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) elapsed: Duration,
    pub(crate) cost: Cost,
    pub(crate) iterations: u64,
    pub(crate) limits: LimitsInForce,
}

impl Counts {
    /// What the state of a run in a sandbox has counted, and the time that is known here.
    #[must_use]
    pub(crate) fn of(state: &State, elapsed: Duration) -> Self {
        Self { elapsed, cost: state.cost, iterations: state.iterations, limits: state.limits }
    }
}

impl Live {
    /// What the state of a run in a sandbox says. The agent there may have changed it: it moves no cursor, and adds no line.
    #[must_use]
    pub(crate) fn of(state: &State) -> Self {
        let line = |text: &str| text::one_line(text, LONGEST);
        let doing = state.last_action.as_deref().map(line).unwrap_or_default();
        Self { stage: line(&state.stage_and_turn()), doing, ..Self::default() }
    }

    /// The line for a terminal of this width, which still may be longer than that.
    pub(crate) fn line(&self, counts: &Counts, width: usize) -> String {
        let limits = if width < WIDE { LimitsInForce::default() } else { counts.limits };
        let mut line = if self.stage.is_empty() { "starting".to_owned() } else { self.stage.clone() };
        let mut part = |value: String, limit: Option<String>| {
            // Writing into a String cannot fail.
            let _ = match limit {
                Some(limit) => write!(line, " | {value}/{limit}"),
                None => write!(line, " | {value}"),
            };
        };
        part(clock(counts.elapsed.as_secs()), limits.seconds.map(|seconds| clock(whole(seconds))));
        if let Some(dollars) = counts.cost.known() {
            part(format!("${dollars:.2}"), limits.cost.map(|dollars| format!("${dollars:.2}")));
        }
        let iterations = counts.iterations.saturating_sub(self.earlier_iterations);
        if iterations > 0 {
            part(format!("step {iterations}"), limits.iterations.map(|limit| limit.to_string()));
        }
        if !self.doing.is_empty() {
            part(self.doing.clone(), None);
        }
        line
    }
}

fn whole(seconds: f64) -> u64 {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).as_secs()
}

/// `0:07`, `12:34`, `1:02:03`.
pub(crate) fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours == 0 { format!("{minutes}:{seconds:02}") } else { format!("{hours}:{minutes:02}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_live_line_has_what_is_known_and_limits_where_there_is_room() {
        let live = |stage: &str, doing: &str, earlier_iterations| Live {
            stage: stage.to_owned(),
            doing: doing.to_owned(),
            earlier_iterations,
        };
        let limits = LimitsInForce { seconds: Some(3723.0), cost: Some(2.0), iterations: Some(50) };
        let counts =
            |seconds, cost, iterations| Counts { elapsed: Duration::from_secs(seconds), cost, iterations, limits };
        for (live, counts, width, line) in [
            (Live::default(), counts(0, Cost::default(), 0), 40, "starting | 0:00"),
            (live("setup", "", 0), counts(7, Cost::default(), 0), 80, "setup | 0:07/1:02:03"),
            (
                live("turn 2/2", "list files", 3),
                counts(754, Cost::dollars(0.126), 5),
                80,
                "turn 2/2 | 12:34/1:02:03 | $0.13/$2.00 | step 2/50 | list files",
            ),
            (
                live("turn 2/2", "list files", 3),
                counts(754, Cost::dollars(0.126), 5),
                40,
                "turn 2/2 | 12:34 | $0.13 | step 2 | list files",
            ),
        ] {
            assert_eq!(live.line(&counts, width), line);
        }
    }

    #[test]
    fn the_state_of_a_sandbox_adds_no_line_and_commands_nothing() {
        let state = r#"{"stage": "turn\n\u001b[2J", "last_action": "terminal: ls\nforged\u001b]0;x\u0007\u202e"}"#;
        let live = Live::of(&serde_json::from_str(state).unwrap());
        assert_eq!(live.line(&Counts::default(), 80), "turn | 0:00 | terminal: ls forged");
    }
}
