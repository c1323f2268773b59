//! Tells the program the commit and the target that it is built from and for (`--version`).

#![expect(clippy::disallowed_methods, reason = "a build script has no other way to its parameters")]

use std::path::Path;
use std::process::Command;

fn main() {
    let target = std::env::var("TARGET").unwrap_or_default();
    let commit = of_archive().or_else(of_repository).map(|commit| format!("{commit}, ")).unwrap_or_default();
    println!("cargo::rustc-env=BUILT_FROM={commit}{target}");
    println!("cargo::rerun-if-changed=build.rs");
}

/// The commit that `cargo package` notes in its archives.
fn of_archive() -> Option<String> {
    let info = std::fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, rest) = info.split_once("\"sha1\"")?;
    short(rest.split('"').nth(1)?)
}

/// The commit that is checked out, if this folder is the top of its repository.
fn of_repository() -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    };
    // This file changes with each commit and each checkout.
    println!("cargo::rerun-if-changed={}", git(&["rev-parse", "--git-path", "logs/HEAD"])?);
    short(&git(&["rev-parse", "HEAD"])?)
}

fn short(commit: &str) -> Option<String> {
    commit.get(..12).filter(|commit| commit.bytes().all(|byte| byte.is_ascii_hexdigit())).map(str::to_owned)
}
