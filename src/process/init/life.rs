//! What PID 1 and the program that it runs tell each other: a run may have several lives.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};
use openhands_client::secret::Secret;

use crate::input::env::RawEnv;

/// The variable in which PID 1 tells.
pub(super) const NAME: &str = "OPENHANDS_RUNNER_LIFE";
/// With this the program says that its outcome is known: from then on another life would only do harm.
pub(super) const OUTCOME_IS_KNOWN: Signal = Signal::SIGUSR1;

/// What a life has of those before it.
#[derive(Debug, Clone)]
pub(crate) struct RestartState {
    /// How long ago the first one began, 0 in the first one itself: limits of the run count from there.
    pub(crate) elapsed: Duration,
    /// The session key of an agent-server of the run's own, which has encrypted with it what the next one reads.
    pub(crate) server_key: Secret,
}

impl RestartState {
    /// What PID 1 has told, where it is this program.
    #[must_use]
    pub(crate) fn of(raw: &RawEnv) -> Option<Self> {
        let (elapsed, key) = raw.openhands_runner_life.as_deref()?.split_once(' ')?;
        Some(Self { elapsed: Duration::from_millis(elapsed.parse().ok()?), server_key: Secret::new(key) })
    }

    /// The variable's value for a life that begins now.
    pub(super) fn text(elapsed: Duration, server_key: &Secret) -> String {
        format!("{} {}", elapsed.as_millis(), server_key.expose())
    }

    /// Tells PID 1 that there is nothing to go on with any more.
    pub(crate) fn outcome_is_known() {
        // Whoever else has the variable is no child of PID 1, or of another one.
        if getppid() == Pid::from_raw(1) {
            let _ = kill(getppid(), OUTCOME_IS_KNOWN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(value: Option<String>) -> Option<RestartState> {
        RestartState::of(&RawEnv { openhands_runner_life: value, ..RawEnv::default() })
    }

    #[test]
    fn the_next_life_is_told_of_the_first() {
        let elapsed = Duration::from_millis(7001);
        let second = life(Some(RestartState::text(elapsed, &Secret::new("key")))).unwrap();
        assert_eq!((second.elapsed, second.server_key.expose()), (elapsed, "key"));
        for no_life in [None, Some("key".to_owned()), Some("x key".to_owned())] {
            assert!(life(no_life).is_none());
        }
    }
}
