//! The agent-server's hooks that see to it that an agent ends with its finish tool. They run as commands of the server,
//! outside the run's process: `openhands-runner hook finish` after a finish, `openhands-runner hook stop` when the agent
//! stops.
//!
//! What they know of each other is one small file per conversation in the directory for temporary files. Whatever is
//! wrong with it, a hook lets the agent go: it never holds up a run by a fault of its own.
//!
//! A hook gets a JSON object on standard input and answers with one; exit code 2 sends the agent back
//! (agent-server 1.58.0).

use std::io;
use std::path::{Path, PathBuf};

use openhands_client::ids::ConversationId;
use serde::Deserialize;
use serde_json::json;

use crate::cli::HookEvent;

/// What a hook tells the agent-server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The agent may go on with what it does.
    Allow,
    /// The agent is sent back to use the finish tool.
    SendBack,
}

/// An agent that does not get it is let go: one that was sent back without end would spend all of its iterations.
const MOST_OBJECTIONS: u8 = 3;

#[derive(Deserialize)]
struct Input {
    session_id: String,
}

/// Takes the server's input, and decides. `directory` is for the file.
#[must_use]
pub(crate) fn decide(event: HookEvent, input: impl io::Read, directory: &Path) -> Verdict {
    let Some(file) = file_of(input, directory) else { return Verdict::Allow };
    match event {
        HookEvent::Finish => {
            let _ = std::fs::write(&file, FINISHED);
            Verdict::Allow
        }
        HookEvent::Stop => {
            let state = std::fs::read_to_string(&file).unwrap_or_default();
            let objections: u8 = state.trim().parse().unwrap_or(0);
            let lets_go = state == FINISHED || objections >= MOST_OBJECTIONS;
            if !lets_go && std::fs::write(&file, (objections + 1).to_string()).is_ok() {
                return Verdict::SendBack;
            }
            // The next turn begins anew.
            let _ = std::fs::remove_file(&file);
            Verdict::Allow
        }
    }
}

const FINISHED: &str = "finished";

/// A hook's input is small, but for what the tool was called with.
const LONGEST_INPUT: u64 = 64 * 1024 * 1024;

fn file_of(input: impl io::Read, directory: &Path) -> Option<PathBuf> {
    let input: Input = serde_json::from_reader(input.take(LONGEST_INPUT)).ok()?;
    file_of_session(&input.session_id, directory)
}

fn file_of_session(session_id: &str, directory: &Path) -> Option<PathBuf> {
    let name: String = session_id.chars().filter(char::is_ascii_alphanumeric).collect();
    (!name.is_empty()).then(|| directory.join(format!("openhands-runner-finish-{name}")))
}

/// Removes what an agent has left that was stopped between its finish and its end.
pub(crate) fn clean_up(conversation: ConversationId, directory: &Path) {
    if let Some(file) = file_of_session(&conversation.to_string(), directory) {
        let _ = std::fs::remove_file(file);
    }
}

impl Verdict {
    /// What is printed for the server.
    #[must_use]
    pub(crate) fn output(self) -> Option<String> {
        (self == Self::SendBack).then(|| {
            json!({
                "decision": "deny",
                "reason": "the finish tool was not used",
                "additionalContext": "This run is read by a program. If the task is done, or cannot be done, say so with the \
                    finish tool and all of its fields.",
            })
            .to_string()
        })
    }

    /// The hook's exit code.
    #[must_use]
    pub(crate) fn exit_code(self) -> u8 {
        if self == Self::SendBack { 2 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUT: &str = r#"{"event_type": "Stop", "session_id": "1b716b4b-78d1", "working_dir": "/w"}"#;

    #[test]
    fn an_agent_that_has_finished_may_stop_and_the_next_turn_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
        let decide = |event| decide(event, INPUT.as_bytes(), directory.path());
        assert_eq!(decide(HookEvent::Stop), Verdict::SendBack);
        assert_eq!(decide(HookEvent::Finish), Verdict::Allow);
        assert_eq!(decide(HookEvent::Stop), Verdict::Allow);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert_eq!(decide(HookEvent::Stop), Verdict::SendBack);
    }

    #[test]
    fn an_agent_that_does_not_get_it_is_let_go() {
        let directory = tempfile::tempdir().unwrap();
        let verdicts: Vec<_> = (0..4).map(|_| decide(HookEvent::Stop, INPUT.as_bytes(), directory.path())).collect();
        assert_eq!(verdicts, [Verdict::SendBack, Verdict::SendBack, Verdict::SendBack, Verdict::Allow]);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_stopped_agent_has_left_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let conversation: ConversationId = "1b716b4b-78d1-4d0c-9f3a-0123456789ab".parse().unwrap();
        let input = format!(r#"{{"session_id": "{conversation}"}}"#);
        assert_eq!(decide(HookEvent::Finish, input.as_bytes(), directory.path()), Verdict::Allow);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        clean_up(conversation, directory.path());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_hook_that_cannot_do_its_work_lets_the_agent_go() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(decide(HookEvent::Stop, "no JSON".as_bytes(), directory.path()), Verdict::Allow);
        assert_eq!(decide(HookEvent::Stop, r#"{"session_id": "../.."}"#.as_bytes(), directory.path()), Verdict::Allow);
        assert_eq!(decide(HookEvent::Stop, INPUT.as_bytes(), Path::new("/no/such/directory")), Verdict::Allow);
    }
}
