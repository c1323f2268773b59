//! A process of the same user that looks for keys when the program starts finds none.
//!
//! `KEY_SEARCHES` says how often; `scripts/test --full` searches twenty times.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::asked;
use crate::support::hunter::{Hunter, USER, hunt};
use crate::support::keys;

const KEYS: [&str; 2] = ["callback-key-that-no-agent-may-see", "kv-token-that-no-agent-may-see"];

/// Nothing, but in a process that [`Hunter`] has started.
#[test]
fn the_hunter_itself() {
    hunt();
}

fn searches(few: u32) -> u32 {
    asked::variable("KEY_SEARCHES").map_or(few, |count| count.parse().unwrap())
}

/// The binary as it is to be installed: no one but root can read it.
fn install(folder: &Path) -> std::path::PathBuf {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let binary = folder.join("openhands-runner");
    std::fs::copy(env!("CARGO_BIN_EXE_openhands-runner"), &binary).unwrap();
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o111)).unwrap();
    binary
}

#[test]
fn nothing_is_found_at_the_start_of_an_execute_only_binary() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let binary = install(folder.path());
    let hunter = Hunter::start(&KEYS);
    for _ in 0..searches(10) {
        let mut command = Command::new(&binary);
        command.args(["run", "--prompt", "x", "--agent-server-url", "http://127.0.0.1:9", "--ready-timeout", "300ms"]);
        command.env_clear().env("AUTOMATION_CALLBACK_API_KEY", KEYS[0]).env("AUTOMATION_KV_TOKEN", KEYS[1]);
        command.env("LLM_MODEL", "m").env("LLM_API_KEY", keys::LLM).current_dir("/").uid(USER).gid(USER);
        assert_eq!(command.output().unwrap().status.code(), Some(69));
    }
    assert_eq!(hunter.findings(), Vec::<String>::new());
}
