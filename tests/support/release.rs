//! What is released, built by the script that builds releases.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Output;

use tokio::process::Command;
use tokio::sync::OnceCell;

use super::repository;

/// The files of a release for this machine.
pub struct Release {
    pub folder: PathBuf,
}

impl Release {
    /// The one of this working tree. If `scripts/test` has built it, this takes a second.
    pub async fn built() -> &'static Self {
        static RELEASE: OnceCell<Release> = OnceCell::const_new();
        RELEASE
            .get_or_init(async || {
                let script = repository::file("scripts/build-release");
                let built = output(Command::new(script)).await;
                assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
                Self { folder: repository::file("target/release-files") }
            })
            .await
    }

    pub fn archive(&self) -> PathBuf {
        self.folder.join(format!("openhands-runner-{}.tar.gz", Self::target()))
    }

    pub fn bill_of_materials(&self) -> PathBuf {
        self.folder.join(format!("openhands-runner-{}.cdx.json", Self::target()))
    }

    pub fn wheel(&self) -> PathBuf {
        let wheels = std::fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        let mut wheels: Vec<PathBuf> = wheels.filter(|path| path.to_str().unwrap().ends_with("_x86_64.whl")).collect();
        assert_eq!(wheels.len(), 1, "{wheels:?}");
        wheels.remove(0)
    }

    pub fn target() -> &'static str {
        "x86_64-unknown-linux-musl"
    }
}

/// A command on a machine without Rust: only what the system has is on its `PATH`.
pub fn without_rust(program: impl AsRef<OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", home).current_dir(home);
    command
}

/// Runs a command to its end.
pub async fn output(mut command: Command) -> Output {
    command.kill_on_drop(true).stdin(std::process::Stdio::null()).output().await.unwrap()
}

/// Runs a command that has to succeed; gives its standard output.
pub async fn succeeds(command: Command) -> String {
    let shown = format!("{:?}", command.as_std());
    let done = output(command).await;
    assert!(done.status.success(), "{shown}:\n{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}
