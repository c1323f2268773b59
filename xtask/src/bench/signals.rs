//! Measures the time from SIGTERM to the accepted callback, against a real agent-server; see `scripts/bench`.
//!
//!     bench_signals RUNNER

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[path = "../../../tests/support"]
mod support {
    pub(crate) mod agent_server;
    pub(crate) mod asked;
    pub(crate) mod http_listener;
    pub(crate) mod keys;
    pub(crate) mod receiver;
    pub(crate) mod repository;
    pub(crate) mod scripted_llm;
}

use support::agent_server::{AgentServer, NEWEST};
use support::receiver::Receiver;
use support::scripted_llm::{ScriptedLlm, Step};

const RUNS: usize = 50;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runner = std::env::args().nth(1).ok_or("give the path of the runner")?;
    let server = AgentServer::start(NEWEST).await;
    let llm = ScriptedLlm::start(0).await?;
    llm.script("Do the task", [Step::terminal("touch at-work; sleep 60")]);

    let (mut accepted, mut exited) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (to_callback, to_exit) = one_run(&runner, &server, &llm).await?;
        accepted.push(to_callback);
        exited.push(to_exit);
    }
    println!("of {RUNS} runs on agent-server {NEWEST}        median    worst");
    line("SIGTERM to accepted callback", &mut accepted, "(limit 800 ms)");
    line("SIGTERM to exit", &mut exited, "");
    Ok(())
}

fn line(name: &str, times: &mut [Duration], limit: &str) {
    times.sort();
    let (median, worst) = (times[times.len() / 2].as_millis(), times[times.len() - 1].as_millis());
    println!("{name:36} {median:6} ms {worst:6} ms   {limit}");
}

async fn one_run(
    runner: &str,
    server: &AgentServer,
    llm: &ScriptedLlm,
) -> Result<(Duration, Duration), Box<dyn std::error::Error>> {
    let (receiver, folder, working_dir) = (Receiver::start().await, tempfile::tempdir()?, server.working_dir());
    std::fs::write(folder.path().join("task.md"), "Do the task.")?;
    let mut child = Command::new(std::fs::canonicalize(runner)?)
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
