//! The real automation service, in front of a real agent-server, and automations whose entrypoint is our binary.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use openhands_client::http::Network;
use openhands_client::http::{Http, HttpError, Request};
use openhands_client::secret::Secret;
use openhands_client::time_limits::TimeLimits;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use super::{AgentServer, NEWEST, ScriptedLlm};

/// Imports take this long on a busy machine.
const START: Duration = Duration::from_secs(300);
/// No run of a test takes longer.
const LONGEST: Duration = Duration::from_secs(300);

/// The versions that the tests use, the newest last.
const VERSIONS: [&str; 2] = ["1.25.0", "1.26.0"];

/// A running automation service. It ends when dropped, and when the test process ends in any way.
pub struct AutomationService {
    port: u16,
    pub key: &'static str,
    folder: PathBuf,
    child: Child,
}

impl AutomationService {
    /// The one that all tests share, in front of the newest agent-server that they share.
    pub async fn shared() -> &'static Self {
        static SERVICE: OnceCell<AutomationService> = OnceCell::const_new();
        // Both start at the same time.
        SERVICE
            .get_or_init(async || Self::start(AgentServer::shared_as_launched(NEWEST).await, VERSIONS[0]).await)
            .await
    }

    /// The one of the newest version that all tests share, in front of the same agent-server.
    pub async fn newest() -> &'static Self {
        static SERVICE: OnceCell<AutomationService> = OnceCell::const_new();
        SERVICE
            .get_or_init(async || Self::start(AgentServer::shared_as_launched(NEWEST).await, VERSIONS[1]).await)
            .await
    }

    /// One of this version in front of this agent-server, ready.
    pub async fn start(server: &AgentServer, version: &str) -> Self {
        let service = Self::launch(server, version);
        service.await_ready().await;
        service
    }

    fn launch(server: &AgentServer, version: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let key = "automation-key-of-the-test";
        // The script removes it.
        let folder = tempfile::tempdir().unwrap().keep();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let child = Command::new(super::repository::file("scripts/automation-service"))
            .args(["--agent-server-url", &server.url(""), "--agent-server-key", &server.key, "--key", key])
            .args(["--version", version, "--with-stdin", "--temporary", "--port", &port.to_string(), "--folder"])
            .arg(&folder)
            // It ends with this pipe, that is: with us.
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { port, key, folder, child }
    }

    async fn await_ready(&self) {
        let deadline = Instant::now() + START;
        while self.try_call(Method::GET, "/ready", None).await.is_err() {
            let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "no automation service:\n{log}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The base of its API.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/api/automation", self.port)
    }

    /// What the service has under this name: automations and uploads.
    pub async fn named(&self, name: &str) -> Vec<Value> {
        let mut found = Vec::new();
        for (path, list) in [("/v1?limit=100", "automations"), ("/v1/uploads?limit=100", "uploads")] {
            let page = self.call(Method::GET, path, None).await;
            let items = page[list].as_array().unwrap().clone();
            found.extend(items.into_iter().filter(|item| item["name"] == name));
        }
        found
    }

    /// The automation with this id.
    pub async fn automation(&self, id: &str) -> Automation<'_> {
        let made = self.call(Method::GET, &format!("/v1/{id}"), None).await;
        Automation { service: self, id: id.to_owned(), made }
    }

    fn request(&self, method: Method, path: &str) -> Request {
        // A new client for each request: connections do not outlive a test's runtime.
        let http = Http::new(&Network::default(), TimeLimits::default()).unwrap();
        let url = self.url() + path;
        http.request(method, url.parse().unwrap()).bearer(&Secret::new(self.key))
    }

    async fn try_call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, HttpError> {
        let request = self.request(method, path);
        let request = if let Some(body) = body { request.json(body) } else { request };
        request.send().await?.json()
    }

    /// One call of its API.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        self.try_call(method, path, body.as_ref()).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// A preset automation as the service makes it. `kind` is `prompt` or `plugin`.
    pub async fn preset(&self, kind: &str, body: Value) -> Automation<'_> {
        let made = self.call(Method::POST, &format!("/v1/preset/{kind}"), Some(body)).await;
        Automation { service: self, id: text(&made["id"]), made }
    }

    /// An automation of a plugin. The service asks this agent-server for the profiles, with the key of the request.
    pub async fn of_plugin(&self, server: &AgentServer, body: Value) -> Automation<'_> {
        let request = self.request(Method::POST, "/v1/plugin-spec").session_key(&Secret::new(&server.key));
        let made: Value = request.json(&body).send().await.unwrap().json().unwrap();
        Automation { service: self, id: text(&made["id"]), made }
    }

    /// A source of events of its own, whose body's `type` says what happened.
    pub async fn webhook(&self) -> Webhook<'_> {
        let source = format!("source-{}", uuid::Uuid::new_v4().simple());
        let secret = "secret-of-the-webhook";
        let body = json!({"name": "A shop", "source": source, "webhook_secret": secret});
        let made = self.call(Method::POST, "/v1/webhooks", Some(body)).await;
        Webhook { service: self, source, owner: text(&made["org_id"]), secret }
    }

    /// The automation that these shell commands make, and print as JSON.
    pub fn made_by(&self, commands: &str) -> Automation<'_> {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new("bash")
            .args(["-euc", commands])
            .current_dir(folder.path())
            .env("AUTOMATION_API_URL", self.url())
            .env("AUTOMATION_LOCAL_API_KEY", self.key)
            .output()
            .unwrap();
        let made: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        Automation { service: self, id: text(&made["id"]), made }
    }

    /// Changes the files of a stored tarball; the service reads it again at each dispatch. Uploads are limited to 1 MiB,
    /// this way is not.
    fn swap(&self, automation: &Value, change: impl FnOnce(&Path)) {
        let owner = format!("{}/{}", text(&automation["org_id"]), text(&automation["user_id"]));
        let upload = text(&automation["tarball_path"]).rsplit('/').next().unwrap().to_owned();
        let stored = self.folder.join(format!("storage/automation/uploads/{owner}/{upload}.tar"));
        let content = tempfile::tempdir().unwrap();
        let tar = |option: &str, rest: &[&str]| {
            let mut command = Command::new("tar");
            command.arg(option).arg(&stored).arg("-C").arg(content.path()).args(rest);
            assert!(command.status().unwrap().success());
        };
        tar("-xzf", &[]);
        change(content.path());
        tar("-czf", &["."]);
    }
}

impl Drop for AutomationService {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A source of events of the service, with a key that signs them.
pub struct Webhook<'s> {
    service: &'s AutomationService,
    pub source: String,
    owner: String,
    secret: &'static str,
}

impl Webhook<'_> {
    /// Tells of an event as the source does; gives the answer.
    pub async fn tell(&self, event: &Value) -> Value {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, self.secret.as_bytes());
        let signature = ring::hmac::sign(&key, event.to_string().as_bytes());
        let hex = signature.as_ref().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        let request = self.service.request(Method::POST, &format!("/v1/events/{}/{}", self.owner, self.source));
        request.header("x-signature-256", &hex).json(event).send().await.unwrap().json().unwrap()
    }
}

/// An automation of the service.
pub struct Automation<'s> {
    service: &'s AutomationService,
    pub id: String,
    made: Value,
}

impl Automation<'_> {
    /// With our binary in the tarball and as the entrypoint, and without `setup.sh`.
    #[must_use]
    pub async fn with_runner(self, put: impl FnOnce(&Path) -> std::io::Result<()>) -> Self {
        let automation = self.with_content(|content| {
            std::fs::remove_file(content.join("setup.sh")).unwrap();
            put(&content.join("openhands-runner")).unwrap();
        });
        automation.change(json!({"entrypoint": "./openhands-runner"})).await;
        automation
    }

    /// With another content of the tarball.
    #[must_use]
    pub fn with_content(self, change: impl FnOnce(&Path)) -> Self {
        self.service.swap(&self.made, change);
        self
    }

    pub async fn change(&self, fields: Value) {
        self.service.call(Method::PATCH, &format!("/v1/{}", self.id), Some(fields)).await;
    }

    /// Triggers a run.
    pub async fn dispatch(&self) -> ServiceRun<'_> {
        let run = self.service.call(Method::POST, &format!("/v1/{}/dispatch", self.id), None).await;
        self.run(&run["id"])
    }

    /// The run with this id.
    pub fn run(&self, id: &Value) -> ServiceRun<'_> {
        ServiceRun { automation: self, id: text(id), phases: Vec::new() }
    }
}

/// A run as the service sees it.
pub struct ServiceRun<'a> {
    automation: &'a Automation<'a>,
    pub id: String,
    /// The phases that were seen, each once.
    pub phases: Vec<String>,
}

impl ServiceRun<'_> {
    /// As the service's API lists it.
    pub async fn state(&mut self) -> Value {
        let path = format!("/v1/{}/runs?limit=100", self.automation.id);
        let page = self.automation.service.call(Method::GET, &path, None).await;
        let run = page["runs"].as_array().unwrap().iter().find(|run| run["id"] == *self.id).unwrap().clone();
        if let Some(phase) = run["current_phase"].as_str()
            && !self.phases.iter().any(|seen| seen == phase)
        {
            self.phases.push(phase.to_owned());
        }
        run
    }

    /// Waits until the run is as wanted, and gives it.
    pub async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + LONGEST;
        loop {
            let state = self.state().await;
            if wanted(&state) {
                return state;
            }
            assert!(Instant::now() < deadline, "not as wanted: {state:#}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the run is settled.
    pub async fn ended(&mut self) -> Value {
        self.until(|run| !matches!(run["status"].as_str(), Some("PENDING" | "RUNNING"))).await
    }

    pub async fn cancel(&self) {
        self.automation.service.call(Method::POST, &format!("/v1/runs/{}/cancel", self.id), None).await;
    }

    /// Where the run's files are.
    pub fn folder(&self) -> PathBuf {
        self.automation.service.folder.join("workspaces/automation-runs").join(&self.id)
    }
}

/// An LLM profile of the shared agent-server whose LLM is the scripted one; gives its name.
pub async fn profile(server: &AgentServer, llm: &ScriptedLlm) -> String {
    let name = format!("test-{}", uuid::Uuid::new_v4().simple());
    let llm = json!({"model": "openai/scripted", "api_key": "sk-key-of-the-profile", "base_url": llm.url(),
        "input_cost_per_token": 0.00001, "output_cost_per_token": 0.00001});
    server.send(Method::POST, &format!("/api/profiles/{name}"), &json!({"llm": llm, "include_secrets": true})).await;
    name
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}
