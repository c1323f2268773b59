//! One run of the runner against a server that answers at once: its time, memory and CPU time.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_child_subreaper;
use nix::sys::wait::waitpid;
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

use crate::support::instant_server::InstantServer;

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(super) struct OneRun {
    /// From exec to exit.
    pub(super) time: Duration,
    pub(super) at_callback: Reading,
}

/// What `/proc` says while the runner waits for the response to its callback: its work is done by then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// The runner's highest resident memory, in bytes.
    pub(super) runner_memory: u64,
    /// The guardian's resident memory, in bytes.
    pub(super) guardian_memory: u64,
    /// CPU time of runner and guardian, user and system.
    pub(super) cpu: Duration,
}

/// A server that plays the same turn in each run, and reads the runner's numbers when its callback arrives.
pub(super) struct Bench {
    server: InstantServer,
    probe: Arc<Probe>,
}

#[derive(Default)]
struct Probe {
    runner: AtomicU32,
    /// The guardian's process id, and the numbers.
    reading: Mutex<Option<(Pid, Reading)>>,
}

impl Bench {
    /// The agent's turn has this many events. `settle` is how long a callback waits before the numbers are read; a guardian needs
    /// some milliseconds to wait again.
    pub(super) async fn start(events: usize, settle: Duration) -> io::Result<Self> {
        // Guardians leave their runner's process tree. So they become children of this process.
        set_child_subreaper(true)?;
        let probe = Arc::new(Probe::default());
        let read = Arc::clone(&probe);
        let on_callback = move || {
            std::thread::sleep(settle);
            *read.reading.lock().expect("not poisoned") = Reading::of(read.runner.load(Ordering::SeqCst));
        };
        Ok(Self { server: InstantServer::start(events, on_callback).await?, probe })
    }

    /// Runs the runner once, with its progress in this format.
    pub(super) async fn run(&self, runner: &Path, format: &str) -> io::Result<OneRun> {
        let folder = tempfile::tempdir()?;
        let mut command = self.command(Command::new(runner), folder.path(), format)?;
        command.env("RUST_LOG", "warn");
        let probe = Arc::clone(&self.probe);
        let (time, status) = tokio::task::spawn_blocking(move || {
            let started = Instant::now();
            let mut child = command.spawn()?;
            probe.runner.store(child.id(), Ordering::SeqCst);
            let status = child.wait()?;
            Ok::<_, io::Error>((started.elapsed(), status))
        })
        .await??;
        if !status.success() {
            return Err(io::Error::other(format!("the run ended with {status}")));
        }
        let reading = self.probe.reading.lock().expect("not poisoned").take();
        let (guardian, at_callback) =
            reading.ok_or_else(|| io::Error::other("no runner with a guardian sent the callback"))?;
        // One that is still there would disturb the next run. That of an older binary is its runner's child, and no child of ours.
        let _ = tokio::task::spawn_blocking(move || waitpid(guardian, None)).await?;
        Ok(OneRun { time, at_callback })
    }

    /// Completes the command of a run: arguments, environment, and a task in `folder`.
    pub(super) fn command(&self, mut runner: Command, folder: &Path, format: &str) -> io::Result<Command> {
        std::fs::write(folder.join("task.md"), "Do the task.")?;
        runner
            .args(["run", "--format", format])
            .current_dir(folder)
            .env_clear()
            .envs([
                ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
                ("AGENT_SERVER_PORT", self.server.port.to_string()),
                ("SESSION_API_KEY", "session-key".to_owned()),
                ("LLM_MODEL", "openai/instant".to_owned()),
                ("LLM_API_KEY", "llm-key".to_owned()),
                ("RUN_ID", format!("bench-{}", uuid::Uuid::new_v4())),
                ("CALLBACK_URL", format!("http://127.0.0.1:{}/complete", self.server.port)),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(runner)
    }
}

impl Reading {
    /// The numbers of this process and of its guardian.
    fn of(runner: u32) -> Option<(Pid, Self)> {
        let guardian = guardian_of(runner)?;
        let reading = Self {
            runner_memory: memory(runner, "VmHWM")?,
            guardian_memory: memory(guardian, "VmRSS")?,
            cpu: cpu(runner)? + cpu(guardian)?,
        };
        Some((Pid::from_raw(guardian.try_into().ok()?), reading))
    }
}

/// The process that has a guardian's name and is a child of this process, or of the runner if that is an older binary.
fn guardian_of(runner: u32) -> Option<u32> {
    let parents = [std::process::id(), runner];
    parents.iter().find_map(|parent| {
        let of_threads = std::fs::read_dir(format!("/proc/{parent}/task")).ok()?;
        let children =
            of_threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("children")).ok());
        let children: Vec<u32> = children
            .flat_map(|pids| pids.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
            .collect();
        children.into_iter().find(|child| {
            let name = std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
            // The kernel keeps 15 bytes of it.
            name.trim_end() == "openhands-guard"
        })
    })
}

/// A size from `/proc/<pid>/status`, in bytes.
pub(super) fn memory(pid: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib: u64 = status.lines().find(|line| line.starts_with(name))?.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// The CPU time of all threads of a process, the ended ones too. Not from `/proc/<pid>/stat`, which counts in steps of 10 ms.
pub(super) fn cpu(pid: u32) -> Option<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.try_into().ok()?)).ok()?;
    Some(clock.now().ok()?.into())
}
