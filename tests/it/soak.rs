//! Many runs, one after the other and several at a time, on one real agent-server: each outcome arrives, and nothing grows.
//!
//! `SOAK_RUNS=1000 SOAK_AT_ONCE=20 scripts/test soak` is the large one, some half an hour on 2 cores.

use futures_util::StreamExt as _;
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::Value;
use tokio::time::Instant;

use crate::support::{AgentServer, NEWEST, Receiver, Run, ScriptedLlm, Step, asked};

/// What the runs may take more than those at the beginning, for the noise of a busy machine.
const NOISE: f64 = 1.1;

/// The most memory that one of the runs so far has taken, in KiB.
fn largest_run() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    f64::from(i32::try_from(usage.max_rss()).unwrap())
}

#[tokio::test]
async fn many_runs_on_one_server_lose_no_callback_and_leave_nothing() {
    let number = |name, few| asked::variable(name).map_or(few, |number| number.parse().expect("a number"));
    let (runs, at_once): (usize, usize) = (number("SOAK_RUNS", 12), number("SOAK_AT_ONCE", 4));
    let server = AgentServer::start(NEWEST).await;
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Do the task", [Step::terminal("echo done >>steps.txt"), Step::finish("Done.")]);
    // The first runs make the server import and cache what it needs.
    let first = runs.div_ceil(10).max(at_once);
    soak(&server, &llm, first, at_once).await;
    let (largest, before, started) = (largest_run(), server.footprint(), Instant::now());
    soak(&server, &llm, runs, at_once).await;
    let (seconds, after) = (started.elapsed().as_secs_f64(), server.footprint());
    // The server keeps each conversation, so its memory is told and not judged.
    println!(
        "{runs} runs, {at_once} at a time, {seconds:.0} s, {runs} callbacks accepted. The largest run: {:.1} MB after {first}, \
         {:.1} MB at the end. The agent-server, from {first} runs to the end: {before} -> {after}.",
        largest / 1024.0,
        largest_run() / 1024.0,
    );
    assert!(largest_run() <= largest * NOISE, "a run takes more memory at the end");
    assert!(after.descriptors <= before.descriptors + at_once, "the server has more descriptors: {before} -> {after}");
}

/// Each run ends well, with one accepted callback; no process and no secret of it is left.
async fn soak(server: &AgentServer, llm: &ScriptedLlm, runs: usize, at_once: usize) {
    let one = async |_| {
        let receiver = Receiver::start().await;
        let id = uuid::Uuid::new_v4().to_string();
        let run = Run::inside(server).llm(llm).reports_to(&receiver, &id);
        let finished = run.args(["run", "--format", "json"]).args(["-p", "Do the task."]).finish().await.exits_with(0);
        let (told, result): (Value, Value) = (receiver.accepted(), finished.json());
        assert_eq!((&told["status"], &told["run_id"]), (&Value::from("COMPLETED"), &Value::from(id)));
        assert_eq!(result["message"], "Done.");
    };
    futures_util::stream::iter(0..runs).for_each_concurrent(at_once, one).await;
}
