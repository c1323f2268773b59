//! Marks that tell the processes of one run from those of others.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::process::{Child, Command};

/// A soft limit for message queues, which nothing here has: children inherit it, and every user may read it.
///
/// The program of a process tells this too. But the processes of a run hide themselves, and then only root may read it.
#[derive(Clone, Copy)]
pub struct Mark(u32);

impl Mark {
    pub fn new() -> Self {
        // Below the usual hard limit.
        Self(fastrand::u32(1..800_000))
    }

    /// Starts a process that has the mark from its beginning.
    pub fn spawn(self, command: &mut Command) -> Child {
        static STARTING: Mutex<()> = Mutex::new(());
        let _turn = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let usual = getrlimit(Resource::Msgqueue);
        setrlimit(Resource::Msgqueue, Rlimit { current: Some(self.0.into()), ..usual }).unwrap();
        let child = command.spawn();
        setrlimit(Resource::Msgqueue, usual).unwrap();
        child.unwrap()
    }

    /// A shell command that gives its shell the mark.
    pub fn shell_command(self) -> String {
        format!("prlimit --pid $$ --msgqueue={}:", self.0)
    }

    /// Whether a process of ours has it, by its folder in /proc. A server that another thread started meanwhile may have it too.
    pub fn is_on(self, process: &Path) -> bool {
        let read = |name: &str| std::fs::read_to_string(process.join(name)).unwrap_or_default();
        let soft_limit = |line: &str| line.strip_prefix("Max msgqueue size")?.split_whitespace().next()?.parse().ok();
        // Empty for one that has ended.
        let command_line = read("cmdline");
        let program = Path::new(command_line.split('\0').next().unwrap_or_default());
        program.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"openhands-"))
            && read("limits").lines().find_map(soft_limit) == Some(self.0)
    }
}
