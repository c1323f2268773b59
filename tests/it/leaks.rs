//! No sandbox is left behind, whenever a signal comes.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::time::sleep;

use crate::support::{CloudServer, Run, ScriptedLlm, Step};

/// Moments from 0 to the end of a run that nobody ends.
const LONGEST: u64 = 24_000;

/// A fixed sequence of numbers (a linear congruential generator), so that a failure can be repeated.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

async fn nothing_is_left(runs: u32, seed: u64) {
    let (cloud, _turn) = CloudServer::shared().await;
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Do the long task", [Step::terminal("sleep 3"), Step::finish("Done.")]);
    cloud.set_llm(&llm).await;
    let commands: [&[&str]; 4] = [
        &["run", "--workspace", "cloud", "task.md"],
        &["exec", "--", "sleep 3"],
        &["launch", "--wait", "task.md"],
        &["sandbox", "create"],
    ];
    let mut numbers = Numbers(seed);
    for number in 0..runs {
        let words = commands[usize::try_from(numbers.below(4)).unwrap()];
        let moment = Duration::from_millis(numbers.below(LONGEST));
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
            "run {number} of seed {seed}, {words:?}, SIGINT after {moment:?}, exit {:?}, left {left:#?}:\n{}",
            finished.code,
            finished.stderr
        );
        for sandbox in left {
            let delete = Run::outside(cloud).args(["sandbox", "delete", sandbox["id"].as_str().unwrap()]);
            delete.finish().await.exits_with(0);
        }
    }
}

#[tokio::test]
async fn runs_that_a_signal_ends_leave_no_sandbox() {
    nothing_is_left(3, 1).await;
}

/// About 20 minutes; see CONTRIBUTING.md.
#[tokio::test]
#[ignore = "takes 20 minutes"]
async fn fifty_runs_that_a_signal_ends_leave_no_sandbox() {
    nothing_is_left(50, 2).await;
}
