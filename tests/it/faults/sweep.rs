//! Faults at many moments of a run, from the moment at which it has a guardian: its runner is killed, alone or with all that it
//! has started, no process can be made any more, and the callback is answered wrongly at first. Several runs at once share their
//! servers.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use nix::sys::signal::Signal::SIGKILL;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use super::killed::tree_of;
use super::resource_limits::Elsewhere;
use crate::support::asked::moments_of;
use crate::support::receiver::Answer::{self, Moved, Page, Status};
use crate::support::run::{Running, processes_of};
use crate::support::{AgentServer, NEWEST, Receiver, Run, ScriptedLlm, Step};

const AT_ONCE: usize = 4;

/// What happens to a run at a moment of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    RunnerKilled,
    /// The runner and everything below it.
    TreeKilled,
    /// No process of the run's user can have another process or thread.
    NoProcess,
    NoProcessAndRunnerKilled,
}

/// One run of the sweep.
#[derive(Debug)]
struct Case {
    fault: Fault,
    moment: Duration,
    /// How the callback is answered at first.
    first: Vec<Answer>,
}

impl Case {
    fn unharmed() -> Self {
        Self { fault: Fault::Nothing, moment: Duration::ZERO, first: Vec::new() }
    }

    /// A third of the runs are killed and nothing else.
    fn random(random: &mut fastrand::Rng, longest: Duration) -> Self {
        let fault = match random.u8(..12) {
            0..6 => Fault::RunnerKilled,
            6..9 => Fault::TreeKilled,
            9 => Fault::NoProcess,
            10 => Fault::NoProcessAndRunnerKilled,
            _ => Fault::Nothing,
        };
        // What a proxy, a rollout or a login page gives; not what the service says itself.
        let wrong = [
            Page(404),
            Page(200),
            Page(403),
            Status(503),
            Status(500),
            Status(408),
            Moved(302, "http://elsewhere.invalid/login"),
        ];
        let count = [0, 1, 2][random.usize(..3)];
        let first = (0..count).map(|_| wrong[random.usize(..wrong.len())]).collect();
        Self { fault, moment: longest.mul_f64(random.f64()), first }
    }

    /// The status that was accepted.
    async fn play(self, server: &AgentServer, llm: &ScriptedLlm) -> String {
        let shown = format!("{self:?}");
        let (receiver, run_id) = (Receiver::answering(self.first).await, uuid::Uuid::new_v4().to_string());
        let run = run(server, llm, &receiver, &run_id);
        let has_user = matches!(self.fault, Fault::NoProcess | Fault::NoProcessAndRunnerKilled);
        let elsewhere = has_user.then(Elsewhere::new);
        let run = match &elsewhere {
            Some(elsewhere) => elsewhere.run(run, ""),
            None => run,
        };
        let running = run.start();
        if self.fault != Fault::Nothing {
            let program = elsewhere.as_ref().map_or_else(|| running.binary(), Elsewhere::program);
            guarded(&running, &program).await;
            sleep(self.moment).await;
        }
        if let Some(elsewhere) = &elsewhere {
            elsewhere.forbid_processes();
        }
        match self.fault {
            Fault::Nothing | Fault::NoProcess => {}
            Fault::RunnerKilled | Fault::NoProcessAndRunnerKilled => running.try_signal(SIGKILL),
            Fault::TreeKilled => {
                for process in running.try_pid().into_iter().flat_map(tree_of) {
                    let _ = kill(process, SIGKILL);
                }
            }
        }
        let finished = running.finish().await;
        if let Some(elsewhere) = &elsewhere {
            elsewhere.deserted().await;
        }
        println!("{shown}: {:?} {:?}, {} callbacks", finished.code, finished.signal, receiver.callbacks().len());
        let status = receiver.accepted()["status"].as_str().unwrap().to_owned();
        if finished.code == Some(0) {
            assert_eq!(status, "COMPLETED", "{shown}");
        }
        status
    }
}

/// `SWEEP_RUNS=200 SWEEP_SEED=1 scripts/test sweep` is the large one.
#[tokio::test]
async fn a_fault_at_any_moment_leaves_exactly_one_accepted_callback() {
    let (runs, mut random) = moments_of("SWEEP", "SWEEP_RUNS", 12);

    let server = AgentServer::shared(NEWEST).await;
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Do the task", [Step::terminal("echo one"), Step::finish("Done.")]);
    let unharmed = join_all((0..AT_ONCE).map(|_| Case::unharmed().play(server, &llm)));
    let started = Instant::now();
    assert!(unharmed.await.iter().all(|status| status == "COMPLETED"));
    // Some moments lie behind the end of the run.
    let whole = started.elapsed().mul_f64(1.2);
    let cases: Vec<Case> = (0..runs).map(|_| Case::random(&mut random, whole)).collect();
    let started = Instant::now();
    let outcomes: Vec<String> =
        futures_util::stream::iter(cases).map(|case| case.play(server, &llm)).buffer_unordered(AT_ONCE).collect().await;
    let count = |status: &str| outcomes.iter().filter(|outcome| outcome == &status).count();
    println!(
        "{} accepted in {:?}: {} FAILED, {} COMPLETED",
        outcomes.len(),
        started.elapsed(),
        count("FAILED"),
        count("COMPLETED")
    );
    assert_eq!(count("FAILED") + count("COMPLETED"), usize::try_from(runs).unwrap());
}

fn run(server: &AgentServer, llm: &ScriptedLlm, receiver: &Receiver, run_id: &str) -> Run {
    Run::inside(server)
        .llm(llm)
        .reports_to(receiver, run_id)
        .args(["run", "--restart-grace", "100ms", "--time-scale", "callback_delays=0.05", "task.md"])
        .file("task.md", "Do the task.")
}

/// Until there is a guardian that does not die with the runner, whether it is armed or not.
async fn guarded(running: &Running, program: &std::path::Path) {
    /// The kernel keeps 15 bytes of a name.
    const GUARDIAN: &str = "openhands-guard";
    let is_guardian = |process: &Pid| {
        std::fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name.trim_end() == GUARDIAN)
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let tree = tree_of(running.pid());
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", running.pid())).unwrap_or_default();
        let mut guardians = processes_of(program).into_iter().filter(is_guardian);
        // A run that is over has none any more.
        if stat.contains(") Z") || guardians.any(|guardian| !tree.contains(&guardian)) {
            return;
        }
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
        guarded(&first, &first.binary()).await;
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
