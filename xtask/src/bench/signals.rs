//! Measures the time from SIGTERM to the accepted callback, against a real agent-server; see `scripts/bench`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::limit::{Rows, Unit, milliseconds};
use super::median;
use crate::Failure;
use crate::support::receiver::Receiver;
use crate::support::{AgentServer, NEWEST, ScriptedLlm, Step};

const RUNS: usize = 50;

/// Prints the times of many runs, each of which a SIGTERM ends while the agent works.
pub(super) async fn measure(rows: &mut Rows, runner: &Path) -> Result<(), Failure> {
    let server = AgentServer::start(NEWEST).await;
    let llm = ScriptedLlm::start(0).await?;
    llm.script("Do the task", [Step::terminal("touch at-work; sleep 60")]);

    let (mut accepted, mut exited) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (to_callback, to_exit) = one_run(runner, &server, &llm).await?;
        accepted.push(to_callback);
        exited.push(to_exit);
    }
    println!("{RUNS} runs on agent-server {NEWEST}");
    let middle = milliseconds(median(&mut accepted));
    let note = format!("worst; median {middle:.0} ms");
    rows.judge("SIGTERM to accepted callback", milliseconds(accepted[RUNS - 1]), Unit::Milliseconds, 800.0, &note);
    let middle = milliseconds(median(&mut exited));
    let note = format!("worst; median {middle:.0} ms");
    rows.show("SIGTERM to exit", milliseconds(exited[RUNS - 1]), Unit::Milliseconds, &note);
    Ok(())
}

async fn one_run(runner: &Path, server: &AgentServer, llm: &ScriptedLlm) -> Result<(Duration, Duration), Failure> {
    let (receiver, folder, working_dir) = (Receiver::start().await, tempfile::tempdir()?, server.working_dir());
    std::fs::write(folder.path().join("task.md"), "Do the task.")?;
    let mut child = Command::new(runner)
        .current_dir(folder.path())
        .env_clear()
        .envs([
            ("AGENT_SERVER_PORT", server.port.to_string()),
            ("SESSION_API_KEY", server.key.clone()),
            ("WORKSPACE_BASE", working_dir.display().to_string()),
            ("LLM_MODEL", "openai/scripted".to_owned()),
            ("LLM_API_KEY", "llm-key".to_owned()),
            ("LLM_BASE_URL", llm.url()),
            ("RUN_ID", uuid::Uuid::new_v4().to_string()),
            ("CALLBACK_URL", receiver.url()),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    while !working_dir.join("at-work").exists() {
        if let Some(status) = child.try_wait()? {
            return Err(format!("the run ended with {status} before it was at work").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let signalled = Instant::now();
    kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM)?;
    let status = tokio::task::spawn_blocking(move || child.wait()).await??;
    let exited = signalled.elapsed();
    if status.code() != Some(143) {
        return Err(format!("the run ended with {status}").into());
    }
    // Its guardian may still be delivering.
    receiver.called().await;
    let report = receiver.accepted();
    if report["error"]["code"] != "Terminated" {
        return Err(format!("the run was reported as {report}").into());
    }
    Ok((receiver.callbacks()[0].at.duration_since(signalled), exited))
}
