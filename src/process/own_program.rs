//! Starting this very program once more, under another name.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the program that runs, even when its file has been replaced or deleted.
const RUNNING: &str = "/proc/self/exe";

/// A command that starts this program and calls it `name` (`argv[0]`).
#[must_use]
pub(crate) fn command(name: &str) -> Command {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new(path());
    command.arg0(name);
    command
}

/// Where this program is. Without `/proc`, where it was started: its `argv[0]`.
#[must_use]
pub(crate) fn path() -> PathBuf {
    let running = Path::new(RUNNING);
    if running.symlink_metadata().is_ok() {
        return running.to_owned();
    }
    let started = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    // A name without a slash is looked up in PATH, anything else must survive a change of the working directory.
    let is_looked_up = started.components().count() == 1 && !started.is_absolute();
    if is_looked_up { started } else { std::path::absolute(&started).unwrap_or(started) }
}
