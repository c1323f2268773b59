//! The time at which the agent-server will end this process.
//!
//! The entrypoint of an automation is a bash command of the agent-server, which kills it at a time limit. No variable contains
//! this limit, but the event of the command does.

use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use openhands_client::agent_server::AgentServerClient;
use openhands_client::agent_server::wire::BashEvent;
use openhands_client::http::HttpError;

use crate::process::ancestry::Ancestry;

/// Returns how long the agent-server will let this process live, if it started the process; `None` if none of its unfinished
/// commands is ours. Our command is the one whose text is in our `ancestry`, or else one that names the `program` and was started
/// at the same time as this process: the agent-server may also have started other runs. If `program` is `None`, for a server that
/// may be on another machine, only the ancestry counts.
///
/// # Errors
/// [`HttpError`].
pub(crate) async fn time_left(
    client: &AgentServerClient,
    ancestry: &Ancestry,
    program: Option<&str>,
) -> Result<Option<Duration>, HttpError> {
    let commands = client.bash_commands().await?;
    let now = Timestamp::try_from(SystemTime::now()).unwrap_or_default();
    for command in candidates(&commands.items, ancestry, program, now) {
        if client.bash_exit_code(&command.id).await?.is_none() {
            return Ok(left(command, now));
        }
    }
    Ok(None)
}

/// The maximum time between the event of a command and the start of its process, on a busy machine.
const START_OF_COMMAND: SignedDuration = SignedDuration::from_secs(5);

/// Returns the commands that may be ours and whose time is not over, the most likely first.
fn candidates<'c>(
    commands: &'c [BashEvent],
    ancestry: &Ancestry,
    program: Option<&str>,
    now: Timestamp,
) -> Vec<&'c BashEvent> {
    let rank = |command: &BashEvent| {
        let text = command.command.as_deref()?;
        left(command, now)?;
        let is_above_us = ancestry.arguments.iter().any(|argument| argument == text);
        let started: Timestamp = command.timestamp.parse().ok()?;
        // The shell of the command, which this process may have replaced, is started right after the event of the command is
        // created.
        let apart = ancestry.started.unwrap_or(now).duration_since(started).abs();
        let is_our_time = ancestry.started.is_none() || apart <= START_OF_COMMAND;
        let names_us = program.is_some_and(|program| text.contains(program));
        (is_above_us || (names_us && is_our_time)).then_some((!is_above_us, apart))
    };
    let mut ranked: Vec<_> = commands.iter().filter_map(|command| Some((rank(command)?, command))).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, command)| command).collect()
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

    fn command(id: &str, text: &str, timestamp: &str, timeout: f64) -> BashEvent {
        BashEvent::deserialize(
            serde_json::json!({"id": id, "command": text, "timestamp": timestamp, "timeout": timeout}),
        )
        .unwrap()
    }

    fn texts(commands: &[BashEvent], ancestry: &Ancestry) -> Vec<String> {
        texts_of(commands, ancestry, Some("openhands-runner"))
    }

    fn texts_of(commands: &[BashEvent], ancestry: &Ancestry, program: Option<&str>) -> Vec<String> {
        let now = "2026-11-22T08:00:30Z".parse().unwrap();
        candidates(commands, ancestry, program, now).iter().map(|found| found.id.clone()).collect()
    }

    #[test]
    fn a_command_that_names_us_and_still_has_time_is_ours() {
        let commands = [
            command("1", "git status", "2026-11-22T08:00:29Z", 600.0),
            command("2", "cd w && ./openhands-runner", "2026-11-22T08:00:00.5Z", 60.0),
            command("3", "cd w && ./openhands-runner", "2026-11-22T07:00:00Z", 60.0),
        ];
        assert_eq!(texts(&commands, &Ancestry::default()), ["2"]);
        let now = "2026-11-22T08:00:30Z".parse().unwrap();
        assert_eq!(left(&commands[1], now), Some(Duration::from_millis(30_500)));
    }

    #[test]
    fn of_several_runs_ours_is_the_one_of_our_shell_then_the_one_of_our_time() {
        let commands = [
            command("late", "cd a && ./openhands-runner", "2026-11-22T08:00:20Z", 60.0),
            command("early", "cd a && ./openhands-runner", "2026-11-22T08:00:10Z", 60.0),
            command("shell", "cd b && ./start.sh", "2026-11-22T08:00:05Z", 60.0),
        ];
        let started = Some("2026-11-22T08:00:10.1Z".parse().unwrap());
        let replaced = Ancestry { arguments: vec!["./openhands-runner".to_owned()], started };
        assert_eq!(texts(&commands, &replaced), ["early"]);
        let shell = ["sh", "-c", "cd b && ./start.sh"].map(str::to_owned).to_vec();
        let below = Ancestry { arguments: shell, started };
        assert_eq!(texts(&commands, &below), ["shell", "early"]);
        assert_eq!(texts_of(&commands, &below, None), ["shell"], "on a server that may be elsewhere");
        assert_eq!(texts_of(&commands, &replaced, None), Vec::<String>::new());
    }

    #[test]
    fn an_odd_command_has_no_time() {
        let now = Timestamp::default();
        assert_eq!(left(&command("1", "x", "soon", 1.0), now), None);
        assert_eq!(left(&command("1", "x", "1970-01-01T00:00:00Z", -1.0), now), None);
    }
}
