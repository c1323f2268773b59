//! The fault suite: whatever happens to a run, exactly one callback is accepted, with the true status; the exit code is the
//! documented one; no secret and no process is left.
//!
//! [`Receiver::accepted`] is the judge of the callback; [`crate::support::run::Running::finish`] looks for what is left.

mod agent_server;
mod answers;
mod bash_command;
mod callback;
pub mod container;
mod input;
pub mod killed;
mod notify;
mod output;
mod resource_limits;
mod restart;
mod salvage;
mod same_run;
mod signals;
mod sweep;
mod task_commands;
mod time_limit;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::support::run::{LLM_COST, holds};
use crate::support::{AgentServer, Gates, Receiver, Run, ScriptedLlm, Step};

/// Work in which a fault can happen: each step leaves a line in steps.txt. The agent goes through it as fast as it can,
/// unless it is held at a step or told to take its time.
pub struct Work {
    pub llm: ScriptedLlm,
    pub receiver: Receiver,
    pub working_dir: PathBuf,
    pub run_id: String,
    /// The run folder is in it.
    home: TempDir,
    gates: Gates,
}

/// The gate that makes each step take a second while it is closed.
const SLOW: &str = "slow";

impl Work {
    pub async fn on(server: &AgentServer) -> Self {
        Self::reported_to(server, Receiver::start().await).await
    }

    pub async fn reported_to(server: &AgentServer, receiver: Receiver) -> Self {
        let llm = ScriptedLlm::start(0).await.unwrap();
        let working_dir = server.working_dir();
        let run_id = uuid::Uuid::new_v4().to_string();
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let work = Self { llm, receiver, working_dir, run_id, home, gates: Gates::new() };
        work.takes(6);
        work
    }

    /// Work of this many steps.
    pub fn takes(&self, steps: u32) {
        let is_slow = self.gates.is_closed(SLOW);
        let steps = (1..=steps).map(|number| {
            let wait = self.gates.wait(&number.to_string());
            Step::patient_terminal(&format!("echo {number} >>steps.txt; {is_slow} && sleep 1; {wait}"))
        });
        self.llm.script("Do the task", steps.chain([Step::finish("Done.")]));
    }

    /// Each step takes a second until [`Work::hurry`]. For tests that cannot see when the work may end, and for conversations
    /// that others use meanwhile.
    pub fn take_time(&self) {
        self.gates.close(SLOW);
    }

    pub fn hurry(&self) {
        self.gates.open(SLOW);
    }

    /// The agent stays at this step until it is let go, or until the test ends.
    pub fn hold_at(&self, step: &str) {
        self.gates.close(step);
    }

    pub fn let_go(&self, step: &str) {
        self.gates.open(step);
    }

    /// A run that does the work.
    pub fn run(&self, server: &AgentServer) -> Run {
        self.run_without_arguments(server)
            .args(["run", "--format", "jsonl", "--out"])
            .args([self.out().to_str().unwrap(), "task.md"])
    }

    /// The run folder.
    pub fn out(&self) -> PathBuf {
        self.home.path().join("out")
    }

    /// The run folder has every event of the server's log once, in the server's order, and ends with this status.
    pub async fn left_the_whole_log(&self, server: &AgentServer, status: &str) {
        let (written, last) = self.log();
        assert_eq!(last["status"], status, "{last}");
        let stored = server.events(last["conversation_id"].as_str().unwrap()).await;
        assert_eq!(ids(&written), ids(&stored));
        assert!(written == stored, "an event differs from the server's");
        assert!(last.get("warnings").is_none(), "{last}");
    }

    /// The same for a runner that has been killed: as far as it came.
    pub async fn left_a_part_of_the_log(&self, server: &AgentServer, code: &str) {
        let (written, last) = self.log();
        assert_eq!(last["error"]["code"], code, "{last}");
        let stored = server.events(last["conversation_id"].as_str().unwrap()).await;
        assert!(
            !written.is_empty() && ids(&stored).starts_with(&ids(&written)),
            "{:?}\n{:?}",
            ids(&written),
            ids(&stored)
        );
    }

    /// The events of the run folder, and the terminal record, which is there once.
    #[track_caller]
    fn log(&self) -> (Vec<Value>, Value) {
        let log = std::fs::read_to_string(self.out().join("events.jsonl")).unwrap();
        let mut lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let mut last = lines.pop().unwrap();
        assert_eq!(last["kind"], "runner.result");
        let is_of_runner = |line: &Value| line["kind"].as_str().unwrap().starts_with("runner.");
        assert!(!lines.iter().any(|line| line["kind"] == "runner.result"));
        lines.retain(|line| !is_of_runner(line));
        last.as_object_mut().unwrap().shift_remove("kind");
        let result: Value = serde_json::from_slice(&std::fs::read(self.out().join("result.json")).unwrap()).unwrap();
        assert_eq!(result, last);
        (lines, last)
    }

    pub fn run_without_arguments(&self, server: &AgentServer) -> Run {
        self.given_to(Run::inside(server))
    }

    /// The work as the task of this run.
    pub fn given_to(&self, run: Run) -> Run {
        run.llm(&self.llm)
            .reports_to(&self.receiver, &self.run_id)
            .env("WORKSPACE_BASE", &self.working_dir)
            .file("task.md", format!("---\nllm: {LLM_COST}\n---\nDo the task."))
    }

    /// Until the agent is at this step; a server that is only just started takes its time.
    pub async fn reach(&self, step: &str) {
        let deadline = Instant::now() + Duration::from_secs(150);
        while !holds(&self.working_dir.join("steps.txt"), step) {
            assert!(Instant::now() < deadline, "the agent does not reach step {step}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The accepted callback, which is a failure with this code and knows the conversation.
    #[track_caller]
    pub fn failed_with(&self, code: &str) -> Value {
        let report = self.receiver.accepted();
        assert_eq!((&report["status"], &report["error"]["code"]), (&"FAILED".into(), &code.into()), "{report}");
        assert!(report["conversation_id"].is_string(), "{report}");
        report
    }
}

fn ids(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["id"].as_str().unwrap()).collect()
}

/// Until the process whose id is in this file has ended.
pub async fn is_gone(pid_file: &Path) {
    let pid = std::fs::read_to_string(pid_file).unwrap();
    let process = Path::new("/proc").join(pid.trim());
    let deadline = Instant::now() + Duration::from_secs(60);
    while process.exists() {
        assert!(Instant::now() < deadline, "process {} is still there", pid.trim());
        sleep(Duration::from_millis(50)).await;
    }
}

/// Until the agent of this report is no longer at work: it was stopped, and not waited for.
pub async fn agent_is_stopped(server: &AgentServer, report: &Value) {
    let id = report["conversation_id"].as_str().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let status = server.conversation(id).await["execution_status"].clone();
        if status == "paused" {
            return;
        }
        // A turn that has hardly begun is still idle.
        assert!(status == "running" || status == "idle", "the agent is {status}");
        assert!(Instant::now() < deadline, "the agent is still {status}");
        sleep(Duration::from_millis(100)).await;
    }
}
