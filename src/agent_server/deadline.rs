//! When the agent-server will end this very process.
//!
//! An automation's entrypoint is a bash command of the agent-server, which kills it at a time-out that stands in no
//! variable. The command's own event has it.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::Client;
use super::wire::BashEvent;
use crate::http::HttpError;

/// How long this process may still live, if the agent-server started it: `None` when no unfinished command of the server
/// names `program`.
///
/// # Errors
/// [`HttpError`].
pub async fn time_left(client: &Client, program: &str) -> Result<Option<Duration>, HttpError> {
    let commands = client.bash_commands().await?;
    let now = Timestamp::try_from(SystemTime::now()).unwrap_or_default();
    for command in candidates(&commands.items, program, now) {
        if client.bash_exit_code(&command.id).await?.is_none() {
            return Ok(left(command, now));
        }
    }
    Ok(None)
}

/// Commands that name the program and whose time is not over, the newest first.
fn candidates<'c>(commands: &'c [BashEvent], program: &str, now: Timestamp) -> impl Iterator<Item = &'c BashEvent> {
    commands.iter().filter(move |command| {
        command.command.as_deref().is_some_and(|text| text.contains(program)) && left(command, now).is_some()
    })
}

fn left(command: &BashEvent, now: Timestamp) -> Option<Duration> {
    let started: Timestamp = command.timestamp.parse().ok()?;
    let timeout = Duration::try_from_secs_f64(command.timeout?).ok()?;
    let ends = started.checked_add(timeout).ok()?;
    Duration::try_from(ends.duration_since(now)).ok().filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;

    use super::*;

    fn command(text: &str, timestamp: &str, timeout: f64) -> BashEvent {
        BashEvent::deserialize(
            serde_json::json!({"id": "1", "command": text, "timestamp": timestamp, "timeout": timeout}),
        )
        .unwrap()
    }

    #[test]
    fn the_time_left_is_that_of_our_own_command() {
        let now: Timestamp = "2026-11-22T08:00:30Z".parse().unwrap();
        let commands = [
            command("git status", "2026-11-22T08:00:29Z", 600.0),
            command("cd w && ./openhands-runner", "2026-11-22T08:00:00.5Z", 60.0),
            command("cd w && ./openhands-runner", "2026-11-22T07:00:00Z", 60.0),
        ];
        let found: Vec<_> = candidates(&commands, "openhands-runner", now).collect();
        assert_eq!(found.len(), 1);
        assert_eq!(left(found[0], now), Some(Duration::from_millis(30_500)));
    }

    #[test]
    fn an_odd_command_has_no_time() {
        let now = Timestamp::default();
        assert_eq!(left(&command("x", "soon", 1.0), now), None);
        assert_eq!(left(&command("x", "1970-01-01T00:00:00Z", -1.0), now), None);
    }
}
