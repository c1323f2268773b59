//! One run of the real binary.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::engine::Engine;
use super::mark::Mark;
use super::{AgentServer, AutomationService, Cloud, CloudServer, Receiver, ScriptedLlm, cloud, cloud_server};

/// Variables whose values must not be seen, in any output.
const SECRET_NAMES: &[&str] = &[
    "SESSION_API_KEY",
    "OH_SESSION_API_KEYS_0",
    "OPENHANDS_API_KEY",
    "OPENHANDS_CLOUD_API_KEY",
    "AUTOMATION_CALLBACK_API_KEY",
    "AUTOMATION_LOCAL_API_KEY",
    "LLM_API_KEY",
    "AUTOMATION_KV_TOKEN",
    "OPENHANDS_RUNNER_NOTIFY",
];

/// No run of a test takes longer.
const LONGEST: Duration = Duration::from_secs(180);

/// What a test's LLM costs: 0.01 dollars for the 1010 tokens of a scripted answer, and a little.
pub const LLM_COST: &str = "{input_cost_per_token: 0.00001, output_cost_per_token: 0.00001}";

/// A guardian whose runner was killed ends soon after the callback is accepted.
const LAST_PROCESS: Duration = Duration::from_secs(60);

/// The factor for the time limits that a test waits for: this one, or 1 with `TIME_SCALE=1` in the environment.
pub fn time_scale(factor: f64) -> f64 {
    match super::asked::variable("TIME_SCALE") {
        Some(whole) => whole.parse().expect("TIME_SCALE is a number"),
        None => factor,
    }
}

/// A time limit of the program in seconds, as its messages give it when it is scaled.
pub fn scaled_seconds(limit: u64, factor: f64) -> u64 {
    Duration::from_secs(limit).mul_f64(factor).as_secs()
}

/// A run that is being put together.
pub struct Run {
    command: Command,
    home: Home,
}

/// What one run has of the file system. The binary is linked into it, so that every process of the run can be told from
/// those of others.
pub struct Home {
    folder: TempDir,
    mark: Mark,
    secrets: Vec<String>,
}

/// Copies a program that is to be started. Another process copies it: a file that this one has open for writing cannot be executed, and
/// every process that another test starts meanwhile would have it open too.
pub fn copy_program(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg(from).arg(to).status().unwrap();
    assert!(status.success(), "{} is not copied to {}", from.display(), to.display());
}

impl Home {
    fn new() -> Self {
        let home = Self::of(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
        std::fs::hard_link(env!("CARGO_BIN_EXE_openhands-runner"), home.binary()).unwrap();
        home
    }

    /// One of another user, with the binary as it is to be installed: that user can start it, and cannot read it.
    fn of_user(user: u32) -> Self {
        // Where every user may look.
        let home = Self::of(tempfile::tempdir_in("/tmp").unwrap());
        copy_program(Path::new(env!("CARGO_BIN_EXE_openhands-runner")), &home.binary());
        std::fs::set_permissions(home.binary(), Permissions::from_mode(0o111)).unwrap();
        for folder in [home.folder.path(), &home.cwd()] {
            chown(folder, Some(user), Some(user)).unwrap();
        }
        home
    }

    fn of(folder: TempDir) -> Self {
        let home = Self { folder, mark: Mark::new(), secrets: Vec::new() };
        for folder in [home.binary().parent().unwrap(), &home.cwd()] {
            std::fs::create_dir(folder).unwrap();
        }
        home
    }

    pub fn binary(&self) -> PathBuf {
        self.folder.path().join("bin/openhands-runner")
    }

    pub fn cwd(&self) -> PathBuf {
        self.folder.path().join("cwd")
    }

    /// The processes that run our binary, also those that hide it from all but root.
    pub fn processes(&self) -> Vec<Pid> {
        let binary = self.binary();
        processes_that(|process| runs(process, &binary) || self.mark.is_on(process))
    }

    /// Until no process of the run is left.
    pub async fn deserted(&self) {
        let deadline = Instant::now() + LAST_PROCESS;
        while !self.processes().is_empty() {
            assert!(Instant::now() < deadline, "processes of the run are left: {:?}", self.processes());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// No secret of the environment is in this text.
    #[track_caller]
    pub fn keeps_secrets(&self, place: &str, text: &str) {
        for secret in &self.secrets {
            assert!(!text.contains(secret.as_str()), "a secret is in {place}");
        }
    }
}

/// The processes that run this program.
pub fn processes_of(binary: &Path) -> Vec<Pid> {
    processes_that(|process| runs(process, binary))
}

fn runs(process: &Path, binary: &Path) -> bool {
    std::fs::read_link(process.join("exe")).is_ok_and(|exe| exe == binary)
}

fn processes_that(are_meant: impl Fn(&Path) -> bool) -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        are_meant(&entry.path()).then_some(Pid::from_raw(pid))
    });
    processes.collect()
}

impl Run {
    /// The binary with an empty environment, in an empty folder.
    pub fn new() -> Self {
        Self::in_home(Home::new())
    }

    /// The same as another user, who cannot read the binary.
    pub fn of_user(user: u32) -> Self {
        super::needs_root::is_listed();
        Self::in_home(Home::of_user(user)).command(|command| {
            command.uid(user).gid(user);
        })
    }

    /// The same with another binary, where it is.
    pub fn of_program(program: &Path) -> Self {
        Self::of(program, Home::new())
    }

    fn in_home(home: Home) -> Self {
        Self::of(&home.binary(), home)
    }

    fn of(program: &Path, home: Home) -> Self {
        let mut command = Command::new(program);
        command.env_clear().current_dir(home.cwd()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, home }
    }

    /// A run inside the sandbox of this agent-server.
    pub fn inside(server: &AgentServer) -> Self {
        Self::new().in_sandbox_of(server)
    }

    pub fn in_sandbox_of(self, server: &AgentServer) -> Self {
        let working_dir = server.working_dir();
        self.env("AGENT_SERVER_PORT", server.port.to_string())
            .env("SESSION_API_KEY", &server.key)
            .env("WORKSPACE_BASE", working_dir.to_str().unwrap())
    }

    /// With an LLM given directly.
    pub fn llm(self, llm: &ScriptedLlm) -> Self {
        self.env("LLM_MODEL", "openai/scripted").env("LLM_API_KEY", super::keys::LLM).env("LLM_BASE_URL", llm.url())
    }

    /// With an account to inherit from.
    pub fn account(self, cloud: &Cloud) -> Self {
        self.env("SANDBOX_ID", cloud::SANDBOX_ID)
            .env("OPENHANDS_API_KEY", cloud::API_KEY)
            .env("OPENHANDS_CLOUD_API_URL", cloud.url())
    }

    /// Outside of any sandbox, with this account.
    pub fn outside(cloud: &CloudServer) -> Self {
        Self::new().env("OPENHANDS_API_KEY", cloud_server::API_KEY).env("OPENHANDS_CLOUD_API_URL", cloud.url())
    }

    /// Outside of any sandbox, with this automation service.
    pub fn scheduled_by(service: &AutomationService) -> Self {
        Self::new().env("AUTOMATION_API_URL", service.url()).env("AUTOMATION_LOCAL_API_KEY", service.key)
    }

    /// Reporting to this receiver, under this run id, which no other test uses: two runners of one run exclude each other.
    pub fn reports_to(self, receiver: &Receiver, run_id: &str) -> Self {
        self.env("AUTOMATION_CALLBACK_URL", receiver.url()).env("AUTOMATION_RUN_ID", run_id)
    }

    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        if SECRET_NAMES.contains(&name) {
            self.home.secrets.extend(value.as_ref().to_str().map(str::to_owned));
        }
        self.command.env(name, value);
        self
    }

    pub fn args<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.command.args(arguments);
        self
    }

    /// Multiplies these time limits of the program, for a test that waits for them. To be called once the command's name is
    /// among the arguments; the factor comes from [`time_scale`].
    pub fn scaled<const N: usize>(self, factor: f64, limits: [&str; N]) -> Self {
        self.args(["--time-scale", &limits.map(|limit| format!("{limit}={factor}")).join(",")])
    }

    /// `run` with this task file.
    pub fn task(self, text: &str) -> Self {
        self.file("the-task.md", text).args(["run", "the-task.md"])
    }

    /// A file in the run's folder.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.home.cwd().join(name), content).unwrap();
        self
    }

    /// Changes the command before it is started.
    pub fn command(mut self, change: impl FnOnce(&mut Command)) -> Self {
        change(&mut self.command);
        self
    }

    /// The same run under another program, which gets the binary and its arguments as its last arguments.
    pub fn under<const N: usize>(mut self, wrapper: [&str; N]) -> Self {
        if wrapper[0] == "unshare" {
            super::needs_root::is_listed();
        }
        let own = self.command.as_std();
        let mut command = Command::new(wrapper[0]);
        command
            .args(&wrapper[1..])
            .arg(own.get_program())
            .args(own.get_args())
            .env_clear()
            .current_dir(self.home.cwd());
        command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?)))).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.command = command;
        self
    }

    /// The binary that is started.
    pub fn binary(&self) -> PathBuf {
        self.home.binary()
    }

    /// The same run in a container with this name, whose image starts the binary. It shares the network, the folders of the tests and
    /// nothing else of this machine.
    pub fn in_container(mut self, engine: &Engine, name: &str, options: &[&str], image: &str) -> Self {
        let own = self.command.as_std();
        let variables: Vec<_> =
            own.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
        let mut command = Command::new(engine.command_line());
        command.args(["run", "--rm", "--network", "host", "--name", name, "--workdir"]).arg(self.home.cwd());
        for folder in ["/tmp", env!("CARGO_TARGET_TMPDIR")] {
            command.args(["--volume", &format!("{folder}:{folder}")]);
        }
        for (name, _) in &variables {
            command.arg("--env").arg(name);
        }
        command.args(options).arg(image).args(own.get_args());
        // A user of the container may look into the folder of the run.
        std::fs::set_permissions(self.home.folder.path(), Permissions::from_mode(0o755)).unwrap();
        // The variables of the run are those of the engine's command line too, but for the few that it needs itself.
        command.env_clear().envs(variables).current_dir(self.home.cwd()).kill_on_drop(true);
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.command = command;
        self
    }

    /// The run as text for a shell, with its environment in a file that is read first; `exec` is put before the binary.
    pub fn into_shell_command(self, before: &str) -> (String, Home) {
        let own = self.command.as_std();
        let quoted = |text: &std::ffi::OsStr| shell_words::quote(text.to_str().unwrap()).into_owned();
        let export = |(name, value): (&std::ffi::OsStr, Option<&std::ffi::OsStr>)| {
            Some(format!("export {}={}\n", name.to_str()?, quoted(value?)))
        };
        let env: String = own.get_envs().filter_map(export).collect();
        std::fs::write(self.home.cwd().join("env"), env).unwrap();
        let words: Vec<String> = std::iter::once(own.get_program()).chain(own.get_args()).map(quoted).collect();
        let cwd = quoted(self.home.cwd().as_os_str());
        let mark = self.home.mark.shell_command();
        (format!("cd {cwd} && {mark} && . ./env && rm -f env && {before}{}", words.join(" ")), self.home)
    }

    pub fn start(mut self) -> Running {
        let mut child = self.home.mark.spawn(&mut self.command);
        let stdout = Pipe::read(child.stdout.take());
        let stderr = Pipe::read(child.stderr.take());
        Running { child, home: self.home, stdout, stderr }
    }

    pub async fn finish(self) -> Finished {
        self.start().finish().await
    }
}

/// What has come out of a pipe so far.
#[derive(Default)]
struct Pipe {
    bytes: Arc<Mutex<Vec<u8>>>,
    reading: Option<JoinHandle<()>>,
}

impl Pipe {
    fn read(pipe: Option<impl AsyncRead + Unpin + Send + 'static>) -> Self {
        let Some(mut pipe) = pipe else { return Self::default() };
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bytes);
        let reading = tokio::spawn(async move {
            let mut piece = [0; 8192];
            while let Ok(count @ 1..) = pipe.read(&mut piece).await {
                kept.lock().unwrap().extend_from_slice(&piece[..count]);
            }
        });
        Self { bytes, reading: Some(reading) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    /// Whether nothing more can come.
    fn is_over(&self) -> bool {
        self.reading.as_ref().is_none_or(JoinHandle::is_finished)
    }

    async fn whole(mut self) -> String {
        if let Some(reading) = self.reading.take() {
            reading.await.unwrap();
        }
        self.text()
    }
}

/// A run that is under way.
pub struct Running {
    child: Child,
    home: Home,
    stdout: Pipe,
    stderr: Pipe,
}

impl Running {
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap())
    }

    /// The same for a process that may have been reaped already.
    pub fn try_pid(&self) -> Option<Pid> {
        Some(Pid::from_raw(i32::try_from(self.child.id()?).unwrap()))
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// The same for a process that may have ended already.
    pub fn try_signal(&self, signal: Signal) {
        let _ = kill(self.pid(), signal);
    }

    /// Until standard error holds this.
    pub async fn says(&self, words: &str) {
        self.says_times(words, 1).await;
    }

    /// Until standard error holds this so many times.
    pub async fn says_times(&self, words: &str, times: usize) {
        let deadline = Instant::now() + LONGEST;
        loop {
            let is_over = self.stderr.is_over() || Instant::now() > deadline;
            let text = self.stderr.text();
            if text.matches(words).count() >= times {
                return;
            }
            assert!(!is_over, "not {times} times \"{words}\" in stderr:\n{text}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    #[track_caller]
    pub fn keeps_secrets(&self, place: &str, text: &str) {
        self.home.keeps_secrets(place, text);
    }

    /// A file in the run's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.cwd().join(name)
    }

    /// The program that runs.
    pub fn binary(&self) -> PathBuf {
        self.home.binary()
    }

    /// Whether standard error is closed: the runner has ended.
    pub fn is_silenced(&self) -> bool {
        self.stderr.is_over()
    }

    /// The processes of the run, guardian included.
    pub fn processes(&self) -> Vec<Pid> {
        self.home.processes()
    }

    /// Waits until the process has ended and nothing of it is left, neither process nor secret.
    pub async fn finish(self) -> Finished {
        self.finish_within(LONGEST).await
    }

    /// The same for a process that may take so long.
    pub async fn finish_within(mut self, longest: Duration) -> Finished {
        let Ok(status) = timeout(longest, self.child.wait()).await else {
            panic!("the run hangs:\n{}", String::from_utf8_lossy(&self.stderr.bytes.lock().unwrap()));
        };
        let status = status.unwrap();
        let (stdout, stderr) = (self.stdout.whole().await, self.stderr.whole().await);
        self.home.deserted().await;
        self.home.keeps_secrets("stdout", &stdout);
        self.home.keeps_secrets("stderr", &stderr);
        for entry in std::fs::read_dir(self.home.cwd()).unwrap().flatten() {
            // A log or a result, not what a test has put there for a server.
            if let Ok(text) = std::fs::read_to_string(entry.path()) {
                self.home.keeps_secrets(&entry.path().display().to_string(), &text);
            }
        }
        Finished { code: status.code(), signal: status.signal(), stdout, stderr, home: self.home }
    }
}

/// A run that has ended.
pub struct Finished {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    home: Home,
}

impl Finished {
    #[track_caller]
    pub fn exits_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub fn ended_by(self, signal: Signal) -> Self {
        assert_eq!(self.signal, Some(signal as i32), "code: {:?}\nstderr:\n{}", self.code, self.stderr);
        self
    }

    #[track_caller]
    pub fn says(self, words: &str) -> Self {
        assert!(self.stderr.contains(words), "no \"{words}\" in stderr:\n{}", self.stderr);
        self
    }

    #[track_caller]
    pub fn says_on_stdout(self, words: &str) -> Self {
        assert!(self.stdout.contains(words), "no \"{words}\" in stdout:\n{}", self.stdout);
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
        self.home.cwd().join(name)
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
