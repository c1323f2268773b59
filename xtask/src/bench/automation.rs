//! Measures runs that the real automation service triggers, from the trigger to the terminal status: with the runner as the
//! entrypoint of a prompt preset, and with the preset as the service makes it; see `scripts/bench automation`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Failure;
use crate::support::automation_service::{Automation, AutomationService};
use crate::support::{AgentServer, NEWEST, ScriptedLlm, Step};

const OUR_RUNS: usize = 7;
const PRESET_RUNS: usize = 3;

/// Prints a table of both entrypoints. `environment` is what the preset's own set-up needs, as `NAME=VALUE`: a PATH with uv, a
/// cache, certificates.
pub(super) async fn measure(runner: PathBuf, environment: &[String]) -> Result<(), Failure> {
    let llm = ScriptedLlm::start(0).await?;
    let finish = json!({"message": "Hello.", "status": "success", "outcome_summary": "Said hello."});
    llm.script("Say hello", [Step::terminal("echo hello"), Step::call("finish", finish)]);

    let mut server = AgentServer::not_started(NEWEST);
    server.more_variables = environment.to_vec();
    server.launch();
    server.await_ready().await;
    let own = json!({"model": "openai/scripted", "api_key": "sk-key-of-the-bench", "base_url": llm.url()});
    server.send(reqwest::Method::PATCH, "/api/settings", &json!({"agent_settings_diff": {"llm": own}})).await;
    let service = AutomationService::start(&server, "1.25.0").await;

    println!("From the trigger to the terminal status; the agent makes two steps, the LLM answers at once.");
    println!("The service looks for work each second: half a second of each time is that, on average.");
    println!("| entrypoint | runs | fastest | median | slowest |");
    println!("| --- | --- | --- | --- | --- |");
    let body = json!({"name": "bench", "prompt": "Say hello", "trigger": {"type": "cron", "schedule": "0 0 1 1 *"}});
    let ours = service.preset("prompt", body.clone()).await;
    let ours = ours.with_runner(|place| std::fs::copy(&runner, place).map(drop)).await;
    row("openhands-runner", &ours, OUR_RUNS).await;
    // One run more, that fills the cache and is not measured.
    let preset = service.preset("prompt", body).await;
    match one_run(&preset).await {
        Ok(_) => row("the preset's own script", &preset, PRESET_RUNS).await,
        Err(ended) => println!("The preset's own script is not measured, its packages cannot be installed: {ended}"),
    }
    Ok(())
}

async fn row(name: &str, automation: &Automation<'_>, runs: usize) {
    let mut times = Vec::new();
    for _ in 0..runs {
        times.push(one_run(automation).await.unwrap_or_else(|ended| panic!("{name}: {ended}")));
    }
    times.sort();
    let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    let (fastest, median, slowest) = (times[0], times[runs / 2], times[runs - 1]);
    println!("| {name} | {runs} | {} | {} | {} |", seconds(fastest), seconds(median), seconds(slowest));
}

/// The time of a run that completes; else what the service says of it.
async fn one_run(automation: &Automation<'_>) -> Result<Duration, Value> {
    let triggered = Instant::now();
    let ended = automation.dispatch().await.ended().await;
    if ended["status"] == "COMPLETED" { Ok(triggered.elapsed()) } else { Err(ended["error_detail"].clone()) }
}
