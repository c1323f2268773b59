//! Resource limits: no new process or thread, a small stack, few open files. The outcome arrives.
//!
//! Limits of processes do not bind root, so these runs have users of their own.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal::SIGKILL;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::Work;
use crate::support::run::{Running, processes_of};
use crate::support::{AgentServer, NEWEST, Receiver, Run};

/// A user who has no process yet.
fn new_user() -> String {
    (1_000_000 + u32::from(uuid::Uuid::new_v4().as_bytes()[0]) * 1000 + std::process::id() % 1000).to_string()
}

/// A folder with a copy of the program and of the run's files that any user may read; where `callback.test` is this machine.
pub struct Elsewhere {
    folder: TempDir,
    user: String,
}

impl Elsewhere {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir_in("/tmp").unwrap(), user: new_user() }
    }

    pub fn program(&self) -> PathBuf {
        self.folder.path().join("runner")
    }

    /// The run as another user, under these limits of prlimit(1).
    pub fn run(&self, run: Run, limits: &str) -> Run {
        let (folder, user) = (self.folder.path().display(), &self.user);
        let script = format!(
            r#"
            cd {folder} && chmod 755 . && cp "$1" runner && cp "$OLDPWD"/* . || exit 99
            echo "127.0.0.1 localhost callback.test" >hosts && mount --bind hosts /etc/hosts || exit 99
            shift
            exec prlimit {limits} setpriv --reuid {user} --regid {user} --clear-groups {folder}/runner "$@""#
        );
        run.under(["unshare", "--mount", "bash", "-c", &script, "bash"])
    }

    /// From now on no process of the user can have another process or thread.
    async fn fill(&self, runner: Pid) {
        // Threads of a pool stay for a while, and would do.
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::fs::read_dir(format!("/proc/{runner}/task")).unwrap().count() > 3 {
            assert!(Instant::now() < deadline, "the runner keeps its threads");
            sleep(Duration::from_millis(100)).await;
        }
        self.forbid_processes();
    }

    pub fn forbid_processes(&self) {
        for process in processes_of(&self.program()) {
            let (user, pid) = (&self.user, process.to_string());
            let as_user = ["--reuid", user, "--regid", user, "--clear-groups", "prlimit", "--pid", &pid, "--nproc=1:1"];
            let done = std::process::Command::new("setpriv").args(as_user).stderr(std::process::Stdio::null()).status();
            // It may have ended meanwhile.
            assert!(done.unwrap().success() || !processes_of(&self.program()).contains(&process));
        }
    }

    pub async fn deserted(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !processes_of(&self.program()).is_empty() {
            assert!(Instant::now() < deadline, "processes of the run are left");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// An address that has to be looked up.
fn named(receiver: &Receiver) -> String {
    format!("http://callback.test:{}/complete", receiver.port())
}

/// A run that is held at step 2, and from then on can make no process.
async fn run_without_a_free_process() -> (Work, Elsewhere, Running) {
    let server = AgentServer::shared(NEWEST).await;
    let (work, elsewhere) = (Work::on(server).await, Elsewhere::new());
    work.hold_at("2");
    // The other user cannot write into the folder of the work.
    let run = work.run_without_arguments(server).args(["run", "--format", "jsonl", "task.md"]);
    let run = run.env("AUTOMATION_CALLBACK_URL", named(&work.receiver));
    let running = elsewhere.run(run, "").start();
    work.reach("2").await;
    elsewhere.fill(running.pid()).await;
    (work, elsewhere, running)
}

#[tokio::test]
async fn a_run_completes_when_no_process_can_be_made_any_more() {
    let (work, elsewhere, running) = run_without_a_free_process().await;
    work.let_go("2");
    running.finish().await.exits_with(0);
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
    elsewhere.deserted().await;
}

#[tokio::test]
async fn a_killed_runner_is_reported_when_no_process_can_be_made_any_more() {
    let (work, elsewhere, running) = run_without_a_free_process().await;
    kill(running.pid(), SIGKILL).unwrap();
    running.finish().await.ended_by(SIGKILL);
    elsewhere.deserted().await;
    work.failed_with("RunnerDied");
}

/// The run itself fails at once, for want of an LLM.
async fn is_reported_under(limits: &str) {
    let (receiver, elsewhere) = (Receiver::start().await, Elsewhere::new());
    let run = Run::new().task("Do the task.").env("RUN_ID", uuid::Uuid::new_v4().to_string());
    let finished = elsewhere.run(run.env("CALLBACK_URL", named(&receiver)), limits).finish().await;
    println!("{limits}: {:?} {:?}\n{}", finished.code, finished.signal, finished.stderr);
    let finished = finished.exits_with(78);
    finished.says("completion callback delivered");
    assert_eq!(receiver.accepted()["error"]["code"], "InvalidInput");
    elsewhere.deserted().await;
}

#[tokio::test]
async fn a_run_that_may_have_one_process_is_reported() {
    is_reported_under("--nproc=1").await;
}

#[tokio::test]
async fn a_run_that_may_have_two_processes_is_reported() {
    is_reported_under("--nproc=2").await;
}

#[tokio::test]
async fn a_run_with_a_small_stack_is_reported() {
    is_reported_under("--stack=65536").await;
}

#[tokio::test]
async fn a_run_with_little_memory_is_reported() {
    is_reported_under("--data=4000000").await;
}

#[tokio::test]
async fn a_run_with_a_low_soft_limit_of_files_is_reported() {
    is_reported_under("--nofile=5:1024").await;
}

#[tokio::test]
async fn a_run_that_can_have_no_socket_says_so_in_one_line() {
    let finished = Elsewhere::new().run(Run::new().task("Do the task."), "--nofile=4").finish().await.exits_with(70);
    assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
    finished.says("Too many open files");
}
