//! The agent-server's hooks that make an agent end with its finish tool. They run as commands of the server, outside the run's
//! process: `openhands-runner hook finish` after a finish, `openhands-runner hook stop` when the agent stops.
//!
//! They share one small file for each conversation, in a folder of our own. If the file cannot be used, a hook lets the agent stop: a
//! fault of the hook never blocks a run.
//!
//! A hook gets a JSON object on standard input and responds with one; exit code 2 sends the agent back
//! (agent-server 1.58.0).

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use openhands_client::ids::ConversationId;
use rustix::fs::OFlags;
use serde::Deserialize;
use serde_json::json;

use crate::cli::HookEvent;

/// The response of a hook to the agent-server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The agent may continue or stop as it wants.
    Allow,
    /// The agent is sent back to use the finish tool.
    SendBack,
}

/// An agent that does not finish is let go: otherwise it would spend all of its iterations.
const MOST_OBJECTIONS: u8 = 3;

#[derive(Deserialize)]
struct Input {
    session_id: String,
}

/// Takes the server's input, and decides. `temporary` is the directory for temporary files.
#[must_use]
pub(crate) fn decide(event: HookEvent, input: impl io::Read, temporary: &Path) -> Verdict {
    let Some(state) = StateFile::of(input, temporary) else { return Verdict::Allow };
    match event {
        HookEvent::Finish => {
            let _ = state.write(FINISHED);
            Verdict::Allow
        }
        HookEvent::Stop => {
            let found = state.read().unwrap_or_default();
            let objections: u8 = found.trim().parse().unwrap_or(0);
            let lets_go = found == FINISHED || objections >= MOST_OBJECTIONS;
            if !lets_go && state.write(&(objections + 1).to_string()).is_ok() {
                return Verdict::SendBack;
            }
            // The next turn starts without a state.
            state.remove();
            Verdict::Allow
        }
    }
}

const FINISHED: &str = "finished";

/// A hook's input is small, but for what the tool was called with.
const LONGEST_INPUT: u64 = 64 * 1024 * 1024;

/// A state is one word or one number.
const LONGEST_STATE: u64 = 64;

/// The state of one conversation: a file in a folder that only our user can write into.
///
/// The directory for temporary files belongs to everyone, so another user can put a link, a FIFO or a device there first. The folder
/// is used only if it is a real one of our own with mode 0700, and the file is opened without following a link.
struct StateFile {
    folder: PathBuf,
    path: PathBuf,
}

impl StateFile {
    fn of(input: impl io::Read, temporary: &Path) -> Option<Self> {
        let input: Input = serde_json::from_reader(input.take(LONGEST_INPUT)).ok()?;
        Self::of_session(&input.session_id, temporary)
    }

    fn of_session(session_id: &str, temporary: &Path) -> Option<Self> {
        let name: String = session_id.chars().filter(char::is_ascii_alphanumeric).collect();
        let folder = temporary.join(format!("openhands-runner-hooks-{}", rustix::process::geteuid().as_raw()));
        (!name.is_empty()).then(|| Self { path: folder.join(name), folder })
    }

    /// Whether the folder is a real one, of our user, and closed to all others.
    fn is_ours(&self) -> bool {
        self.folder.symlink_metadata().is_ok_and(|found| {
            let is_private = found.mode().trailing_zeros() >= 6;
            found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && is_private
        })
    }

    fn read(&self) -> io::Result<String> {
        if !self.is_ours() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        // Without NONBLOCK, opening a FIFO waits for a writer.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(&self.path)?;
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut state = String::new();
        file.take(LONGEST_STATE).read_to_string(&mut state)?;
        Ok(state)
    }

    /// Writes a new file and gives it its name: what has the name is replaced, never written into.
    fn write(&self, state: &str) -> io::Result<()> {
        match self.write_once(state) {
            // The hook of another conversation has removed the empty folder in between.
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.write_once(state),
            written => written,
        }
    }

    fn write_once(&self, state: &str) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if !self.is_ours() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let new = self.path.with_extension(format!("{}.new", std::process::id()));
        let _ = std::fs::remove_file(&new);
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
        let renamed = written
            .and_then(|mut file| file.write_all(state.as_bytes()))
            .and_then(|()| std::fs::rename(&new, &self.path));
        if renamed.is_err() {
            let _ = std::fs::remove_file(&new);
        }
        renamed
    }

    /// Removes the file, and the folder if no other conversation has a state.
    fn remove(&self) {
        if self.is_ours() {
            let _ = std::fs::remove_file(&self.path);
            let _ = std::fs::remove_dir(&self.folder);
        }
    }
}

/// Removes the state of an agent that was stopped between its finish and its end.
pub(crate) fn clean_up(conversation: ConversationId, temporary: &Path) {
    if let Some(state) = StateFile::of_session(&conversation.to_string(), temporary) {
        state.remove();
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
    fn an_agent_that_has_finished_may_stop_and_the_next_turn_starts_without_a_state() {
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

    /// Each must be harmless at the place of the folder and at the place of the file.
    #[test]
    fn a_link_a_fifo_or_a_device_in_the_way_is_neither_followed_nor_read_nor_waited_for() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let target = tempfile::tempdir().unwrap();
        let theirs = target.path().join("file of another");
        std::fs::write(&theirs, FINISHED).unwrap();
        let put: [&dyn Fn(&Path); 4] = [
            &|path| symlink(&theirs, path).unwrap(),
            &|path| symlink(target.path(), path).unwrap(),
            &|path| symlink("/dev/zero", path).unwrap(),
            &|path| assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success()),
        ];
        for (index, put) in put.iter().enumerate() {
            for in_folder in [false, true] {
                let temporary = tempfile::tempdir().unwrap();
                let state = StateFile::of(INPUT.as_bytes(), temporary.path()).unwrap();
                if in_folder {
                    DirBuilder::new().mode(0o700).create(&state.folder).unwrap();
                    put(&state.path);
                } else {
                    put(&state.folder);
                }
                let stop = decide(HookEvent::Stop, INPUT.as_bytes(), temporary.path());
                // Inside our own folder the file is replaced. A foreign folder is not used, and the agent is let go.
                let expected = if in_folder { Verdict::SendBack } else { Verdict::Allow };
                assert_eq!(stop, expected, "{index}");
                assert_eq!(decide(HookEvent::Finish, INPUT.as_bytes(), temporary.path()), Verdict::Allow);
                assert_eq!(std::fs::read_to_string(&theirs).unwrap(), FINISHED);
                assert_eq!(std::fs::read_dir(target.path()).unwrap().count(), 1);
            }
        }
        let temporary = tempfile::tempdir().unwrap();
        let state = StateFile::of(INPUT.as_bytes(), temporary.path()).unwrap();
        std::fs::create_dir(&state.folder).unwrap();
        std::fs::set_permissions(&state.folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(decide(HookEvent::Stop, INPUT.as_bytes(), temporary.path()), Verdict::Allow);
    }

    #[test]
    fn a_state_is_read_within_a_bound() {
        let temporary = tempfile::tempdir().unwrap();
        let state = StateFile::of(INPUT.as_bytes(), temporary.path()).unwrap();
        state.write(&"x".repeat(1_000_000)).unwrap();
        assert_eq!(state.read().unwrap().len(), 64);
    }
}
