//! SIGKILL at many moments of a run, from the moment at which it has a guardian.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use nix::sys::signal::Signal::SIGKILL;
use tokio::time::{Instant, sleep};

use crate::support::asked::moments_of;
use crate::support::run::Running;
use crate::support::{AgentServer, NEWEST, Receiver, Run, ScriptedLlm, Step};

const AT_ONCE: usize = 4;

/// `SWEEP_RUNS=200 SWEEP_SEED=1 scripts/test sweep` is the large one.
#[tokio::test]
async fn a_kill_at_any_moment_leaves_exactly_one_accepted_callback() {
    let (runs, mut random) = moments_of("SWEEP", "SWEEP_RUNS", 12);

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

fn run(server: &AgentServer, llm: &ScriptedLlm, receiver: &Receiver, run_id: &str) -> Run {
    Run::inside(server)
        .llm(llm)
        .reports_to(receiver, run_id)
        .args(["run", "--restart-grace", "100ms", "task.md"])
        .file("task.md", "Do the task.")
}

/// The status that was accepted.
async fn killed_after(moment: Option<Duration>, server: &AgentServer, llm: &ScriptedLlm) -> String {
    let (receiver, run_id) = (Receiver::start().await, uuid::Uuid::new_v4().to_string());
    let running = run(server, llm, &receiver, &run_id).start();
    if let Some(moment) = moment {
        guarded(&running).await;
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

/// Until there is a guardian, whether it is armed or not.
async fn guarded(running: &Running) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while running.processes().len() < 2 {
        assert!(Instant::now() < deadline, "no guardian");
        sleep(Duration::from_millis(1)).await;
    }
}

/// The same while a run is taken over: a second runner is started when the first is killed, and is killed in its turn.
#[tokio::test]
async fn a_kill_while_a_run_is_taken_over_leaves_exactly_one_accepted_callback() {
    let (runs, mut random) = moments_of("SWEEP", "SWEEP_TAKEOVERS", 8);
    let server = AgentServer::shared(NEWEST).await;
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Do the task", [Step::terminal("echo one"), Step::finish("Done.")]);
    for _ in 0..runs {
        let (receiver, run_id) = (Receiver::start().await, uuid::Uuid::new_v4().to_string());
        let first = run(server, &llm, &receiver, &run_id).start();
        guarded(&first).await;
        sleep(Duration::from_millis(random.u64(..50))).await;
        first.try_signal(SIGKILL);
        let second = run(server, &llm, &receiver, &run_id).start();
        sleep(Duration::from_micros(random.u64(..60_000))).await;
        second.try_signal(SIGKILL);
        first.finish().await;
        second.finish().await;
        receiver.accepted();
    }
}
