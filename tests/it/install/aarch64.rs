//! The program for aarch64, run by qemu. `scripts/test-aarch64` prepares the machine for it, and `scripts/test --full` calls that script.

use std::path::PathBuf;

use nix::sys::signal::Signal::SIGKILL;
use tokio::process::Command;

use crate::faults::Work;
use crate::support::release::succeeds;
use crate::support::{AgentServer, NEWEST, repository};

/// The static binary of this working tree.
async fn binary() -> PathBuf {
    let mut script = Command::new(repository::file("scripts/build-static"));
    script.arg("aarch64-unknown-linux-musl");
    let built = succeeds(script).await;
    repository::file(built.split(' ').next().unwrap())
}

#[tokio::test]
async fn a_whole_run_completes_and_the_guardian_reports_one_that_was_killed() {
    let binary = binary().await;
    super::runs(&binary).await;

    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    work.hold_at("2");
    let run = work.run(server).args(["--restart-grace", "500ms"]);
    std::fs::remove_file(run.binary()).unwrap();
    std::fs::copy(&binary, run.binary()).unwrap();
    let running = run.start();
    work.reach("2").await;
    running.signal(SIGKILL);
    running.finish().await.ended_by(SIGKILL);
    // For the kernel, the guardian is a process of qemu: `finish` does not see it.
    work.receiver.called().await;
    work.failed_with("RunnerDied");
}
