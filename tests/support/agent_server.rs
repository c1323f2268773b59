//! Real agent-servers.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "support code, of which tests and benchmarks use different parts"
)]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use openhands_client::http::Network;
use openhands_client::http::{Http, HttpError};
use openhands_client::secret::Secret;
use openhands_client::time_limits::TimeLimits;
use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::{Instant, sleep};

use super::asked;

/// The newest known version; `scripts/lib/common.sh` has the same.
pub const NEWEST: &str = "1.58.2";
/// The oldest version that a sandbox may carry.
pub const OLDEST: &str = "1.11.5";

/// The version in the place of [`OLDEST`]: `OLDEST=1.29.3 scripts/test oldest` tries one that lies between.
fn in_place_of(version: &str) -> String {
    asked::variable("OLDEST").filter(|_| version == OLDEST).unwrap_or_else(|| version.to_owned())
}

/// A running agent-server. It ends when dropped, and when the test process ends in any way.
pub struct AgentServer {
    pub version: &'static str,
    pub port: u16,
    pub key: String,
    /// `NAME=VALUE`: variables besides the few that the server gets.
    pub more_variables: Vec<String>,
    /// How many cores the server sees, if not those of this machine.
    pub cores: Option<u32>,
    folder: PathBuf,
    child: Option<Child>,
}

/// What a server takes of its machine.
#[derive(Debug, Clone, Copy)]
pub struct Footprint {
    /// Resident memory, in MiB.
    pub memory: usize,
    /// Open descriptors.
    pub descriptors: usize,
}

impl std::fmt::Display for Footprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} MiB, {} descriptors", self.memory, self.descriptors)
    }
}

/// Held while a server starts: that is seconds of work for one core, and several at a time only make each other late.
pub static STARTING: Mutex<()> = Mutex::const_new(());

/// Imports take this long on a busy machine.
const START: Duration = Duration::from_secs(300);

impl AgentServer {
    /// Whether this is an earlier release.
    pub fn is_before(&self, release: &str) -> bool {
        let numbers =
            |version: &str| version.split('.').map(|number| number.parse::<u32>().unwrap()).collect::<Vec<_>>();
        numbers(&in_place_of(self.version)) < numbers(release)
    }

    /// The one of the newest version that all tests share.
    pub async fn shared(version: &'static str) -> &'static Self {
        static READY: OnceCell<()> = OnceCell::const_new();
        let server = Self::shared_as_launched(version).await;
        READY.get_or_init(|| server.await_ready()).await;
        server
    }

    /// The same, perhaps before it is ready.
    pub async fn shared_as_launched(version: &'static str) -> &'static Self {
        static SERVER: OnceCell<AgentServer> = OnceCell::const_new();
        assert_eq!(version, NEWEST, "only the newest server can work for several tests at a time");
        let launched = async || {
            let mut server = Self::not_started(version);
            // On two cores its pool has six threads, and three held agents take them all: each has one for its command, and one that waits to store what the LLM has cost.
            server.cores = Some(28);
            server.launch();
            server
        };
        SERVER.get_or_init(launched).await
    }

    /// A server for one test, ready.
    pub async fn start(version: &'static str) -> Self {
        let mut server = Self::not_started(version);
        let _turn = STARTING.lock().await;
        server.launch();
        server.await_ready().await;
        server
    }

    /// A server that is still to be launched.
    pub fn not_started(version: &'static str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self {
            version,
            port,
            key: super::keys::SESSION.to_owned(),
            more_variables: Vec::new(),
            cores: None,
            // The script removes it.
            folder: tempfile::tempdir().unwrap().keep(),
            child: None,
        }
    }

    /// Starts the process, without waiting until it is ready. Also after [`AgentServer::kill`]: with the same port, key
    /// and folder.
    pub fn launch(&mut self) {
        use std::io::Write as _;

        if let Some(stdin) = self.child.as_mut().and_then(|child| child.stdin.as_mut()) {
            return stdin.write_all(b"start\n").unwrap();
        }
        let log = std::fs::File::create(self.folder.join("log")).unwrap();
        let child = Command::new(super::repository::file("scripts/agent-server"))
            .args(["--version", &in_place_of(self.version), "--key", &self.key, "--with-stdin", "--temporary"])
            .args(["--port", &self.port.to_string(), "--folder"])
            .arg(&self.folder)
            // An agent that a test leaves at work keeps its place for a while. Ten places, as by default, would then be too few for the others.
            .args(["--env", "OH_MAX_CONCURRENT_RUNS=100"])
            .args(self.cores.iter().flat_map(|cores| ["--cores".to_owned(), cores.to_string()]))
            .args(self.more_variables.iter().flat_map(|variable| ["--env", variable]))
            // It ends with this pipe, that is: with us.
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// The command line that starts this server, for someone else to start it.
    pub fn command(&self) -> String {
        let python = format!("target/python/agent-server-{}/bin/python", self.version);
        let python = super::repository::file(python);
        format!("{} -m openhands.agent_server --host 127.0.0.1 --port {}", python.display(), self.port)
    }

    /// What that command needs in its environment.
    pub fn environment(&self) -> Vec<(String, String)> {
        let folder = self.folder.to_str().unwrap();
        [
            ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
            ("HOME", folder.to_owned()),
            ("TMPDIR", folder.to_owned()),
            ("TMUX_TMPDIR", folder.to_owned()),
            ("LITELLM_LOCAL_MODEL_COST_MAP", "True".to_owned()),
            ("OH_CONVERSATIONS_PATH", format!("{folder}/conversations")),
            ("OH_BASH_EVENTS_DIR", format!("{folder}/bash_events")),
            ("OH_PRELOAD_TOOLS", "false".to_owned()),
            ("OH_ENABLE_VSCODE", "false".to_owned()),
            ("OH_ENABLE_VNC", "false".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Runs a command as the automation service does; gives its last output event.
    pub async fn bash(&self, command: &str, timeout: u32) -> Value {
        let http = Http::new(&Network::default(), TimeLimits::default()).unwrap();
        let request = http.request(reqwest::Method::POST, self.url("/api/bash/start_bash_command").parse().unwrap());
        let body = json!({"command": command, "timeout": timeout});
        let started: Value =
            request.session_key(&Secret::new(&self.key)).json(&body).send().await.unwrap().json().unwrap();
        let id = started["id"].as_str().unwrap();
        let outputs = format!(
            "/api/bash/bash_events/search?kind__eq=BashOutput&command_id__eq={id}&sort_order=TIMESTAMP_DESC&limit=1"
        );
        let deadline = Instant::now() + Duration::from_secs(u64::from(timeout)) + START;
        loop {
            let page = self.get(&outputs).await;
            if !page["items"][0]["exit_code"].is_null() {
                return page["items"][0].clone();
            }
            assert!(Instant::now() < deadline, "the command does not end");
            sleep(Duration::from_millis(200)).await;
        }
    }

    pub async fn await_ready(&self) {
        let deadline = Instant::now() + START;
        while self.try_get("/ready").await.is_err() {
            assert!(Instant::now() < deadline, "no agent-server {}:\n{}", self.version, self.log());
            sleep(Duration::from_millis(100)).await;
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// A new directory for an agent to work in.
    pub fn working_dir(&self) -> PathBuf {
        let path = self.folder.join("work").join(uuid::Uuid::new_v4().to_string());
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// How many messages of users lie in the folder of a server that is no more.
    pub fn kept_user_messages(&self) -> usize {
        let entries = |folder: &Path| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let conversations = entries(&self.folder.join("conversations")).filter(|path| path.join("events").is_dir());
        let events = conversations.flat_map(|conversation| entries(&conversation.join("events")).collect::<Vec<_>>());
        let texts = events.filter_map(|event| std::fs::read_to_string(event).ok());
        let events = texts.filter_map(|text| serde_json::from_str::<Value>(&text).ok());
        events.filter(|event| event["kind"] == "MessageEvent" && event["source"] == "user").count()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(std::fs::read_to_string(self.folder.join("pid")).unwrap().trim().parse().unwrap())
    }

    fn signal(&self, signal: Signal) {
        killpg(self.pid(), signal).unwrap();
    }

    /// What it takes now.
    pub fn footprint(&self) -> Footprint {
        let process = PathBuf::from(format!("/proc/{}", self.pid()));
        let status = std::fs::read_to_string(process.join("status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let resident: usize = resident.trim().trim_end_matches(" kB").parse().unwrap();
        Footprint { memory: resident / 1024, descriptors: std::fs::read_dir(process.join("fd")).unwrap().count() }
    }

    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// A lent one must be launched again or discarded: the next test would get it dead.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// `GET` with the session key.
    pub async fn get(&self, path: &str) -> Value {
        self.try_get(path).await.unwrap()
    }

    /// The same; `None` where this version has no such endpoint.
    pub async fn get_if_there(&self, path: &str) -> Option<Value> {
        self.try_get(path).await.ok()
    }

    async fn try_get(&self, path: &str) -> Result<Value, HttpError> {
        // A new client for each request: connections do not outlive a test's runtime.
        let http = Http::new(&Network::default(), TimeLimits::default()).unwrap();
        let request = http.request(reqwest::Method::GET, self.url(path).parse().unwrap());
        request.session_key(&Secret::new(&self.key)).send().await?.json()
    }

    /// A request with the session key and a JSON body.
    pub async fn send(&self, method: reqwest::Method, path: &str, body: &Value) -> Value {
        let http = Http::new(&Network::default(), TimeLimits::default()).unwrap();
        let request = http.request(method, self.url(path).parse().unwrap());
        let answer = request.session_key(&Secret::new(&self.key)).json(body).send().await;
        answer.and_then(|answer| answer.json()).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The conversation as the server has it.
    pub async fn conversation(&self, id: &str) -> Value {
        self.get(&format!("/api/conversations/{id}")).await
    }

    /// What the server says that the conversation has cost.
    pub async fn cost(&self, id: &str) -> f64 {
        let info = self.conversation(id).await;
        let usage = info["stats"]["usage_to_metrics"].as_object().unwrap();
        usage.values().map(|entry| entry["accumulated_cost"].as_f64().unwrap()).sum()
    }

    /// All stored events of the conversation, in the order of their timestamps.
    pub async fn events(&self, id: &str) -> Vec<Value> {
        let mut events = Vec::new();
        let mut page_id = String::new();
        loop {
            let page = self.get(&format!("/api/conversations/{id}/events/search?limit=100{page_id}")).await;
            events.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next_page_id"].as_str() {
                Some(next) => page_id = format!("&page_id={next}"),
                None => return events,
            }
        }
    }

    /// The texts of the messages from our side.
    pub async fn user_messages(&self, id: &str) -> Vec<String> {
        let is_ours = |event: &&Value| event["kind"] == "MessageEvent" && event["source"] == "user";
        let text = |event: &Value| event["llm_message"]["content"][0]["text"].as_str().unwrap().to_owned();
        self.events(id).await.iter().filter(is_ours).map(text).collect()
    }
}

impl Drop for AgentServer {
    fn drop(&mut self) {
        if self.child.is_none() {
            // Someone else has started it, or no one.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}
