//! Values of flags: those of a fixed set, and durations.

use std::time::Duration;

use clap::ValueEnum;

use crate::input::task::parse_duration;

/// A duration with its unit. clap says itself what was found.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|mistake| mistake.help)
}

/// What standard output holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum OutputFormat {
    /// The agent's final message, when the run completed.
    #[default]
    Text,
    /// One JSON object, at the end.
    Json,
    /// Every event of the conversation as it arrives, one per line, and records of the runner,
    /// whose `kind` begins with `runner.`.
    #[value(alias = "stream-json")]
    Jsonl,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// When the view on standard error has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal; see NO_COLOR and CLICOLOR_FORCE.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HookEvent {
    /// After the finish tool.
    Finish,
    /// When the agent stops.
    Stop,
}
