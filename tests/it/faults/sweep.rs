//! SIGKILL at many moments of a run, from the moment at which its guardian is armed.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use nix::sys::signal::Signal::SIGKILL;
use tokio::time::{Instant, sleep};

use crate::support::{AgentServer, NEWEST, Receiver, Run, ScriptedLlm, Step};

const AT_ONCE: usize = 4;

/// `SWEEP_RUNS=200 SWEEP_SEED=1 scripts/test sweep` is the large one.
#[tokio::test]
async fn a_kill_at_any_moment_leaves_exactly_one_accepted_callback() {
    #[expect(clippy::disallowed_methods, reason = "arguments of the test, not of the program")]
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let runs = number("SWEEP_RUNS").unwrap_or(12);
    let seed = number("SWEEP_SEED").unwrap_or_else(|| fastrand::u64(..10_000));
    println!("SWEEP_RUNS={runs} SWEEP_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);

    let server = AgentServer::shared(NEWEST).await;
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Do the task", [Step::terminal("echo one"), Step::finish("Done.")]);
    let unharmed = join_all((0..AT_ONCE).map(|_| killed_after(None, server, &llm)));
    let started = Instant::now();
    assert!(unharmed.await.iter().all(|status| status == "COMPLETED"));
    // Some moments lie behind the end of the run.
    let whole = started.elapsed().mul_f64(1.2);
    let moments: Vec<Duration> = (0..runs).map(|_| whole.mul_f64(random.f64())).collect();
    let outcomes: Vec<String> = futures_util::stream::iter(moments)
        .map(|moment| killed_after(Some(moment), server, &llm))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let count = |status: &str| outcomes.iter().filter(|outcome| outcome == &status).count();
    println!("{} accepted: {} FAILED, {} COMPLETED", outcomes.len(), count("FAILED"), count("COMPLETED"));
    assert_eq!(count("FAILED") + count("COMPLETED"), usize::try_from(runs).unwrap());
}

/// The status that was accepted.
async fn killed_after(moment: Option<Duration>, server: &AgentServer, llm: &ScriptedLlm) -> String {
    let (receiver, run_id) = (Receiver::start().await, uuid::Uuid::new_v4().to_string());
    let running = Run::inside(server)
        .llm(llm)
        .reports_to(&receiver, &run_id)
        .args(["run", "--restart-grace", "100ms", "task.md"])
        .file("task.md", "Do the task.")
        .start();
    if let Some(moment) = moment {
        armed(&run_id).await;
        sleep(moment).await;
        running.try_signal(SIGKILL);
    }
    let finished = running.finish().await;
    let status = receiver.accepted()["status"].as_str().unwrap().to_owned();
    if finished.code == Some(0) {
        assert_eq!(status, "COMPLETED", "killed after {moment:?}");
    }
    status
}

/// Until the guardian of this run waits in its place.
async fn armed(run_id: &str) {
    let place = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, run_id.as_bytes()).to_string();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !std::fs::read_to_string("/proc/net/unix").unwrap().contains(&place) {
        assert!(Instant::now() < deadline, "no guardian");
        sleep(Duration::from_millis(1)).await;
    }
}
