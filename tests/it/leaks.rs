//! No sandbox is left behind, whenever a signal comes.

use std::time::Duration;

use futures_util::StreamExt as _;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::time::sleep;

use crate::support::asked::moments_of;
use crate::support::{CloudServer, Run, ScriptedLlm, Step};

/// Moments from 0 to the end of a run that no one ends.
const LONGEST: u64 = 24_000;

/// Each on a server of its own, whose sandboxes are looked at.
const AT_ONCE: usize = 2;

const COMMANDS: [&[&str]; 4] = [
    &["run", "--workspace", "cloud", "task.md"],
    &["exec", "--", "sleep 3"],
    &["launch", "--wait", "task.md"],
    &["sandbox", "create"],
];

/// `LEAKS_RUNS=50 LEAKS_SEED=2 scripts/test leaks` is the large one, some 10 minutes.
#[tokio::test]
async fn runs_that_a_signal_ends_leave_no_sandbox() {
    let (runs, mut random) = moments_of("LEAKS", "LEAKS_RUNS", 3);
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Do the long task", [Step::terminal("sleep 3"), Step::finish("Done.")]);
    let cases: Vec<(&[&str], Duration)> = (0..runs)
        .map(|_| {
            let words = COMMANDS[random.usize(..COMMANDS.len())];
            (words, Duration::from_millis(random.u64(..LONGEST)))
        })
        .collect();
    futures_util::stream::iter(cases)
        .for_each_concurrent(AT_ONCE, async |(words, moment)| ends_without_sandbox(&llm, words, moment).await)
        .await;
}

async fn ends_without_sandbox(llm: &ScriptedLlm, words: &[&str], moment: Duration) {
    let cloud = &CloudServer::lent().await;
    cloud.set_llm(llm).await;
    let running = Run::outside(cloud)
        .command(|command| {
            command.args(words);
        })
        .file("task.md", "---\nworking_dir: work\n---\nDo the long task.")
        .start();
    sleep(moment).await;
    let _ = nix::sys::signal::kill(running.pid(), Signal::SIGINT);
    let finished = running.finish().await;
    let left: Vec<Value> = cloud.sandboxes().await;
    // `create` that has told the id has done what it was asked for.
    let told = |sandbox: &Value| finished.stdout.contains(sandbox["id"].as_str().unwrap());
    assert!(
        left.iter().all(told),
        "{words:?}, SIGINT after {moment:?}, exit {:?}, left {left:#?}:\n{}",
        finished.code,
        finished.stderr
    );
    for sandbox in left {
        let delete = Run::outside(cloud).args(["sandbox", "delete", sandbox["id"].as_str().unwrap()]);
        delete.finish().await.exits_with(0);
    }
}
