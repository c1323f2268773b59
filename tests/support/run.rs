//! One run of the real binary.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{AgentServer, Cloud, Receiver, ScriptedLlm, cloud};

/// No run of a test takes longer.
const LONGEST: Duration = Duration::from_secs(180);

/// What a test's LLM costs: 0.01 dollars for the 1010 tokens of a scripted answer, and a little.
pub const LLM_COST: &str = "{input_cost_per_token: 0.00001, output_cost_per_token: 0.00001}";

/// A run that is being put together.
pub struct Run {
    command: Command,
    folder: TempDir,
}

impl Run {
    /// The binary with an empty environment, in an empty folder.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_openhands-runner"));
        command.env_clear().current_dir(folder.path()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, folder }
    }

    /// A run inside the sandbox of this agent-server.
    pub fn inside(server: &AgentServer) -> Self {
        let working_dir = server.working_dir();
        Self::new()
            .env("AGENT_SERVER_PORT", server.port.to_string())
            .env("SESSION_API_KEY", &server.key)
            .env("WORKSPACE_BASE", working_dir.to_str().unwrap())
    }

    /// With an LLM given directly.
    pub fn llm(self, llm: &ScriptedLlm) -> Self {
        self.env("LLM_MODEL", "openai/scripted").env("LLM_API_KEY", "sk-key-of-the-test").env("LLM_BASE_URL", llm.url())
    }

    /// With an account to inherit from.
    pub fn account(self, cloud: &Cloud) -> Self {
        self.env("SANDBOX_ID", cloud::SANDBOX_ID)
            .env("OPENHANDS_API_KEY", cloud::API_KEY)
            .env("OPENHANDS_CLOUD_API_URL", cloud.url())
    }

    /// Reporting to this receiver, under this run id.
    pub fn reports_to(self, receiver: &Receiver, run_id: &str) -> Self {
        self.env("AUTOMATION_CALLBACK_URL", receiver.url()).env("AUTOMATION_RUN_ID", run_id)
    }

    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn args<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.command.args(arguments);
        self
    }

    /// `run` with this task file.
    pub fn task(self, text: &str) -> Self {
        self.file("the-task.md", text).args(["run", "the-task.md"])
    }

    /// A file in the run's folder.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.folder.path().join(name), content).unwrap();
        self
    }

    /// Changes the command before it is started.
    pub fn command(mut self, change: impl FnOnce(&mut Command)) -> Self {
        change(&mut self.command);
        self
    }

    pub fn start(mut self) -> Running {
        let mut child = self.command.spawn().unwrap();
        let stdout = child.stdout.take().map(|pipe| tokio::spawn(read(pipe)));
        let stderr = child.stderr.take().map(|pipe| tokio::spawn(read(pipe)));
        Running { child, folder: self.folder, stdout, stderr }
    }

    pub async fn finish(self) -> Finished {
        self.start().finish().await
    }
}

async fn read(mut pipe: impl tokio::io::AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A run that is under way.
pub struct Running {
    child: Child,
    folder: TempDir,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
}

impl Running {
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    pub async fn finish(mut self) -> Finished {
        let status = timeout(LONGEST, self.child.wait()).await.expect("the run hangs").unwrap();
        let text = async |pipe: Option<JoinHandle<String>>| match pipe {
            Some(reading) => reading.await.unwrap(),
            None => String::new(),
        };
        let (stdout, stderr) = (text(self.stdout).await, text(self.stderr).await);
        Finished { code: status.code(), stdout, stderr, folder: self.folder }
    }
}

/// A run that has ended.
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    folder: TempDir,
}

impl Finished {
    #[track_caller]
    pub fn exits_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub fn says(self, words: &str) -> Self {
        assert!(self.stderr.contains(words), "no \"{words}\" in stderr:\n{}", self.stderr);
        self
    }

    /// Nothing that left the process holds this.
    #[track_caller]
    pub fn never_shows(self, secret: &str) -> Self {
        assert!(!self.stdout.contains(secret), "a secret on stdout");
        assert!(!self.stderr.contains(secret), "a secret on stderr");
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Standard output as one JSON object.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// Standard output as lines of JSON.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(parse).collect()
    }
}

/// Settings of an account whose LLM is the scripted one.
pub fn account_settings(llm: &ScriptedLlm) -> Value {
    json!({"agent_settings": {"llm": {"model": "openai/scripted", "api_key": "sk-inherited-key", "base_url": llm.url()}}})
}

/// Whether a file holds this.
pub fn holds(path: &Path, text: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|content| content.contains(text))
}
