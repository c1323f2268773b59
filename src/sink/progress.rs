//! What the agent does, one log line each, for people.

use futures_util::future::{BoxFuture, FutureExt as _, ready};

use super::{Record, Sink};
use crate::agent_server::event::{Action, Meaning, Observation};
use crate::display;
use crate::outcome::RunResult;

/// The longest text of a line, in characters.
const LONGEST: usize = 160;

/// Logs the steps of a run at level `info`.
#[derive(Debug, Default)]
pub struct Progress;

impl Sink for Progress {
    fn record<'a>(&'a mut self, record: &'a Record<'_>) -> BoxFuture<'a, ()> {
        match record {
            Record::Conversation { id, new } => {
                tracing::info!(conversation_id = %id, "conversation {}", if *new { "started" } else { "continued" });
            }
            Record::Turn { number, of, message } => tracing::info!("turn {number} of {of}: {}", line(message)),
            Record::Stage(_) => {}
            Record::Event { meaning, .. } => step(meaning),
            Record::Result(result) => verdict(result),
        }
        ready(()).boxed()
    }
}

fn line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    display::bounded(&words, LONGEST)
}

fn step(meaning: &Meaning) {
    match meaning {
        Meaning::Action(action) => tracing::info!("{}", action_line(action)),
        Meaning::Observation(Observation { tool, exit_code: Some(code), .. }) if *code != 0 => {
            tracing::info!("{tool} exited with {code}");
        }
        Meaning::Observation(Observation { tool, is_error: true, .. }) => tracing::info!("{tool} failed"),
        Meaning::AgentMessage(text) => tracing::info!("agent: {}", line(text)),
        Meaning::AgentError(error) => tracing::warn!("agent error: {}", line(error)),
        Meaning::Error(error) => tracing::warn!(code = error.code(), "conversation error: {}", line(error.detail())),
        _ => {}
    }
}

fn action_line(action: &Action) -> String {
    let text = match (action.own_summary(), action.detail.as_deref()) {
        (Some(summary), Some(detail)) => format!("{summary}: {detail}"),
        (Some(only), None) | (None, Some(only)) => only.to_owned(),
        (None, None) => return action.tool.clone(),
    };
    format!("{}: {}", action.tool, line(&text))
}

fn verdict(result: &RunResult) {
    match &result.error {
        None => tracing::info!(cost = %result.cost, "completed"),
        Some(error) => tracing::error!(code = error.code, cost = %result.cost, "failed: {}", error.detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_one_bounded_line() {
        let action = |summary: Option<&str>, detail: Option<&str>| Action {
            tool: "terminal".to_owned(),
            summary: summary.map(str::to_owned),
            detail: detail.map(str::to_owned),
            is_finish: false,
        };
        assert_eq!(action_line(&action(None, Some("ls\n -la"))), "terminal: ls -la");
        assert_eq!(action_line(&action(Some("list files"), Some("ls"))), "terminal: list files: ls");
        assert_eq!(action_line(&action(Some(r#"terminal: {"command": "ls"}"#), Some("ls"))), "terminal: ls");
        assert_eq!(action_line(&action(None, None)), "terminal");
        assert!(action_line(&action(None, Some(&"x".repeat(1000)))).chars().count() < 200);
    }
}
