//! Shorter time limits, for test builds only.
//!
//! Limits that depend on other programs are never scaled: limits that the user sets, `Retry-After`, the time between SIGTERM and
//! SIGKILL, the agent-server's own timeouts, and the delays of a busy machine between runner and guardian.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use openhands_client::time_limits::{RetryDelays, TimeLimits};

use super::time_limits::{RunLimits, RunnerTimeLimits, ShutdownBudgets, ShutdownLimits};

/// The factors for time limits: `0.1` for all that may be scaled, or `slow_reader=0.1,server_silence=0.2` for single ones.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TimeScale {
    /// All limits that may be scaled.
    All(f64),
    /// Only these limits, by name.
    Only(Vec<(&'static str, f64)>),
}

impl TimeScale {
    /// Multiplies the limits.
    pub(crate) fn apply(&self, limits: &mut RunnerTimeLimits) {
        for (name, limit) in scalable(limits) {
            let factor = match self {
                Self::All(factor) => Some(factor),
                Self::Only(factors) => factors.iter().find(|(scaled, _)| *scaled == name).map(|(_, factor)| factor),
            };
            if let Some(factor) = factor {
                *limit = limit.mul_f64(*factor);
            }
        }
    }
}

impl FromStr for TimeScale {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains('=') {
            return factor(text).map(Self::All);
        }
        let mut all = RunnerTimeLimits::default();
        let names: Vec<&str> = scalable(&mut all).into_iter().map(|(name, _)| name).collect();
        let one = |word: &str| {
            let (name, value) = word.split_once('=').ok_or_else(|| format!("`{word}` is not name=factor"))?;
            let name = names.iter().find(|known| **known == name.trim());
            let name = name.ok_or_else(|| format!("no time limit that may be scaled is named `{word}`"))?;
            Ok((*name, factor(value)?))
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(Self::Only)
    }
}

/// Formats the value as the flag expects it.
impl fmt::Display for TimeScale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(factor) => write!(f, "{factor}"),
            Self::Only(factors) => {
                let words: Vec<String> = factors.iter().map(|(name, factor)| format!("{name}={factor}")).collect();
                f.write_str(&words.join(","))
            }
        }
    }
}

fn factor(text: &str) -> Result<f64, String> {
    let factor = text.trim().parse().ok().filter(|factor| (0.001..=1000.0).contains(factor));
    factor.ok_or_else(|| format!("`{text}` is not a factor from 0.001 to 1000"))
}

/// Returns the limits that may be scaled, by name.
fn scalable(limits: &mut RunnerTimeLimits) -> Vec<(&'static str, &mut Duration)> {
    let RunnerTimeLimits { client, run, shutdown, guardian } = limits;
    let mut all = of_client(client);
    all.extend(of_run(run));
    all.extend(of_shutdown(shutdown));
    all.extend([("frozen", &mut guardian.frozen), ("undelivered", &mut guardian.undelivered)]);
    all
}

/// Returns the fields of a value with their names.
macro_rules! named {
    ($of:ident: $($field:ident),+ $(,)?) => { vec![$((stringify!($field), &mut $of.$field)),+] };
}

fn of_client(limits: &mut TimeLimits) -> Vec<(&'static str, &mut Duration)> {
    let mut all = named!(limits:
        ready_attempt, connect, request, busy_request, stalled,
        sandbox_request, sandbox_error, sandbox_unknown, sandbox_shows_up, sandbox_listed, sandbox_drop, housekeeping, tidy_up,
        cloud_budget, cloud_refusal, sandbox_capacity, setup_budget, run_capacity, skills,
        socket_handshake, socket_ping, socket_silence, subscribe, poll_with_socket, poll_without_socket, poll_with_budget,
        last_word, confirm_again, idle_after_message, error_reason, server_silence, server_errors, server_busy, last_look,
        stop_agent,
        callback_attempt, phase_attempt,
    );
    for (name, RetryDelays { first, longest }) in [
        ("agent_server_delays", &mut limits.agent_server_delays),
        ("cloud_delays", &mut limits.cloud_delays),
        ("capacity_delays", &mut limits.capacity_delays),
        ("run_capacity_delays", &mut limits.run_capacity_delays),
        ("cloud_poll_delays", &mut limits.cloud_poll_delays),
        ("git_server_delays", &mut limits.git_server_delays),
        ("callback_delays", &mut limits.callback_delays),
        ("socket_delays", &mut limits.socket_delays),
    ] {
        all.extend([(name, first), (name, longest)]);
    }
    all
}

fn of_run(limits: &mut RunLimits) -> Vec<(&'static str, &mut Duration)> {
    named!(limits: skills_budget, secret_values, summary_interval, phase_repeat, slow_reader, attach, last_delivery, delivery_poll)
}

fn of_shutdown(limits: &mut ShutdownLimits) -> Vec<(&'static str, &mut Duration)> {
    let ShutdownLimits { unhurried: ShutdownBudgets { agent, output, folder, salvage, callback, server, .. }, .. } =
        limits;
    vec![
        ("unhurried_agent", agent),
        ("unhurried_folder", folder),
        ("unhurried_salvage", salvage),
        ("unhurried_output", output),
        ("unhurried_callback", callback),
        ("unhurried_server", server),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled(text: &str) -> RunnerTimeLimits {
        let mut limits = RunnerTimeLimits::default();
        text.parse::<TimeScale>().unwrap().apply(&mut limits);
        limits
    }

    #[test]
    fn one_factor_scales_all_but_what_bounds_another_clock() {
        let limits = scaled("0.1");
        assert_eq!(limits.client.server_silence, Duration::from_millis(4500));
        assert_eq!(limits.client.callback_delays.longest, Duration::from_millis(1500));
        assert_eq!(limits.run.slow_reader, Duration::from_secs(3));
        assert_eq!(limits.shutdown.unhurried.callback, Duration::from_secs(6));
        let default = RunnerTimeLimits::default();
        for (kept, was) in [
            (limits.client.idle_connection, default.client.idle_connection),
            (limits.client.sandbox_init, default.client.sandbox_init),
            (limits.run.ready_timeout, default.run.ready_timeout),
            (limits.run.before_kill, default.run.before_kill),
            (limits.run.soft_landing, default.run.soft_landing),
            (limits.shutdown.after_signal.agent, default.shutdown.after_signal.agent),
            (limits.shutdown.after_signal.server, default.shutdown.after_signal.server),
            (limits.guardian.dying, default.guardian.dying),
            (limits.guardian.takeover_window, default.guardian.takeover_window),
        ] {
            assert_eq!(kept, was);
        }
    }

    #[test]
    fn a_list_scales_what_it_names() {
        let limits = scaled("server_silence=0.2, callback_delays=0.5");
        let default = TimeLimits::default();
        assert_eq!(limits.client.server_silence, default.server_silence / 5);
        assert_eq!(limits.client.callback_delays.first, default.callback_delays.first / 2);
        assert_eq!(limits.client.callback_delays.longest, default.callback_delays.longest / 2);
        assert_eq!(limits.client.last_look, default.last_look);
    }

    #[test]
    fn a_mistake_is_an_error() {
        for text in [
            "",
            "fast",
            "0",
            "-1",
            "NaN",
            "server_silence",
            "server_silense=0.1",
            "idle_connection=0.1",
            "server_silence=0",
            "server_silence=0.1,",
            "slow_reader=0.1,0.2",
        ] {
            assert!(text.parse::<TimeScale>().is_err(), "{text}");
        }
    }

    #[test]
    fn it_is_handed_on_as_it_was_given() {
        for text in ["0.1", "slow_reader=0.25,tidy_up=0.5"] {
            assert_eq!(text.parse::<TimeScale>().unwrap().to_string(), text);
        }
    }
}
