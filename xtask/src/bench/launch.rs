//! Measures `launch` on a ready sandbox of the real app server: the time from its start to the agent's first LLM call; see
//! `scripts/bench`.

use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use tokio::process::Command;

use super::median;
use crate::Failure;
use crate::support::cloud_server::{API_KEY, CloudServer};
use crate::support::{ScriptedLlm, Step};

const RUNS: usize = 10;

/// Prints the times. `python` is a program and a script that do the same in Python, up to the end of the script's imports.
pub(super) async fn measure(runner: &Path, python: &[String]) -> Result<(), Failure> {
    let cloud = CloudServer::start(&[]).await;
    let llm = ScriptedLlm::start(0).await?;
    llm.script("Do the task", [Step::finish("Done.")]);
    cloud.set_llm(&llm).await;
    let command = |program: &std::ffi::OsStr| {
        let mut command = Command::new(program);
        command.env("OPENHANDS_API_KEY", API_KEY).env("OPENHANDS_CLOUD_API_URL", cloud.url());
        command.env("LITELLM_LOCAL_MODEL_COST_MAP", "True").stdin(Stdio::null()).stderr(Stdio::null());
        command
    };
    let created = command(runner.as_os_str()).args(["sandbox", "create"]).output().await?;
    let sandbox = String::from_utf8(created.stdout)?.trim().to_owned();
    println!("sandbox                            {}", if sandbox.is_empty() { "none" } else { "ready" });

    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("task.md"), "---\nworking_dir: work\n---\nDo the task.")?;
    let mut times = Vec::new();
    for _ in 0..=RUNS {
        let started = Instant::now();
        let mut launch = command(runner.as_os_str());
        launch.args(["launch", "--wait", "--sandbox", &sandbox, "task.md"]).current_dir(folder.path());
        if !launch.stdout(Stdio::null()).status().await?.success() {
            return Err("a launch failed".into());
        }
        let first = llm.calls().into_iter().find(|call| *call > started).ok_or("the agent made no LLM call")?;
        times.push(first - started);
    }
    println!(
        "launch to first LLM call           {:6.2} s   the first, with the upload of the program",
        times[0].as_secs_f64()
    );
    let middle = median(&mut times[1..]);
    println!("                                   {:6.2} s   median of {RUNS} further ones", middle.as_secs_f64());

    if let [program, script] = python {
        let mut times = Vec::new();
        for _ in 0..3 {
            let started = Instant::now();
            let status = command(program.as_ref()).args([script, &sandbox]).stdout(Stdio::null()).status().await?;
            if !status.success() {
                return Err("the Python flow failed".into());
            }
            times.push(started.elapsed());
        }
        let reference = median(&mut times);
        println!("Python, to the end of its imports  {:6.2} s   median of 3", reference.as_secs_f64());
        println!("  ratio                            {:6.1}", reference.as_secs_f64() / middle.as_secs_f64());
    }
    Ok(())
}
