//! Gates in the work of a scripted agent: a command waits at a closed gate until the test opens it.
//!
//! A closed gate is a file, and opening removes it. When the test ends, its gates are open, however it ends: no agent is left
//! waiting in a shared server.
//!
//! An agent-server holds the lock of a conversation while the agent runs a command. A new subscription and a message to the
//! conversation wait for it. A test that waits for one of these opens the gate first.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

pub struct Gates(TempDir);

impl Gates {
    /// All gates are open.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The agent may be another user.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    pub fn close(&self, name: &str) {
        std::fs::write(self.0.path().join(name), "").unwrap();
    }

    pub fn open(&self, name: &str) {
        std::fs::remove_file(self.0.path().join(name)).unwrap();
    }

    /// The volume with which a container sees the gates.
    pub fn volume(&self) -> String {
        format!("{0}:{0}:ro", self.0.path().display())
    }

    /// A shell command that waits while the gate is closed.
    pub fn wait(&self, name: &str) -> String {
        format!("while {}; do sleep 0.1; done", self.is_closed(name))
    }

    /// A shell command that succeeds while the gate is closed.
    pub fn is_closed(&self, name: &str) -> String {
        format!("[ -e '{}' ]", self.0.path().join(name).display())
    }
}
