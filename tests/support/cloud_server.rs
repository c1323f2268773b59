//! The real OpenHands app server, which serves the Cloud API; its sandboxes are real agent-servers on this machine.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "support code, of which tests and benchmarks use different parts"
)]

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use openhands_client::http::Network;
use openhands_client::http::{Http, HttpError};
use openhands_client::time_limits::TimeLimits;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::ScriptedLlm;

/// The server takes any key.
pub const API_KEY: &str = "cloud-api-key-of-the-test";

/// A running app server. It ends when dropped, and when the test process ends in any way, with all its sandboxes.
pub struct CloudServer {
    pub port: u16,
    base_port: u16,
    folder: PathBuf,
    child: Child,
}

/// Imports and a database migration take this long on a busy machine.
const START: Duration = Duration::from_secs(300);

impl CloudServer {
    /// A server for one test.
    pub async fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let base_port = base_port();
        let child = Command::new(super::repository::file("scripts/cloud-server"))
            .args(["--with-stdin", "--temporary", "--port", &port.to_string(), "--base-port", &base_port.to_string()])
            .args(arguments)
            .arg("--folder")
            .arg(&folder)
            // It ends with this pipe, that is: with us.
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Self { port, base_port, folder, child };
        let deadline = Instant::now() + START;
        while server.request(Method::GET, "/alive", None).await.is_err() {
            assert!(Instant::now() < deadline, "no app server:\n{}", server.log());
            sleep(Duration::from_millis(100)).await;
        }
        server
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    async fn request(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, HttpError> {
        // A new client for each request: connections do not outlive a test's runtime.
        let http = Http::new(&Network::default(), TimeLimits::default()).unwrap();
        let request = http.request(method, format!("{}{path}", self.url()).parse().unwrap());
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        request.send().await?.json()
    }

    /// The account's LLM is the scripted one.
    pub async fn set_llm(&self, llm: &ScriptedLlm) {
        let fields = json!({"model": "openai/scripted", "api_key": "sk-inherited-key", "base_url": llm.url(),
            "input_cost_per_token": 0.00001, "output_cost_per_token": 0.00001});
        let body = json!({"agent_settings_diff": {"llm": fields}});
        self.request(Method::POST, "/api/v1/settings", Some(body)).await.unwrap();
    }

    /// The account has this LLM profile.
    pub async fn set_profile(&self, name: &str, fields: Value) {
        let path = format!("/api/v1/settings/profiles/{name}");
        self.request(Method::POST, &path, Some(json!({ "llm": fields }))).await.unwrap();
    }

    /// The account has this secret.
    pub async fn set_secret(&self, name: &str, value: &str) {
        let body = json!({"name": name, "value": value, "description": format!("the secret {name}")});
        self.request(Method::POST, "/api/v1/secrets", Some(body)).await.unwrap();
    }

    /// Asks the first sandbox of this server again and again, from the moment in which it listens.
    pub fn keep_sandbox_awake(&self) -> JoinHandle<()> {
        // A port in TIME_WAIT is passed over.
        let ports = self.base_port..self.base_port + 5;
        tokio::spawn(async move {
            let http = Http::new(&Network::default(), TimeLimits::default()).unwrap();
            loop {
                for port in ports.clone() {
                    let url: url::Url = format!("http://127.0.0.1:{port}/alive").parse().unwrap();
                    while http.request(Method::GET, url.clone()).send().await.is_ok() {}
                }
                sleep(Duration::from_millis(200)).await;
            }
        })
    }

    /// Every sandbox that the server knows, as it describes it.
    pub async fn sandboxes(&self) -> Vec<Value> {
        let page = self.request(Method::GET, "/api/v1/sandboxes/search?limit=100", None).await.unwrap();
        page["items"].as_array().unwrap().clone()
    }

    /// The sandbox's folder, in which its commands run.
    pub fn folder_of(&self, sandbox: &str) -> PathBuf {
        self.folder.join("sandboxes").join(sandbox)
    }
}

/// The first port for a server's sandboxes: of its own among the servers of this process, and below those that the kernel
/// gives to outgoing connections, for a sandbox listens only seconds after its port was found free.
fn base_port() -> u16 {
    static SERVERS: AtomicU16 = AtomicU16::new(0);
    let process = u16::try_from(std::process::id() % 10).unwrap_or_default();
    20_000 + 1000 * process + 100 * (SERVERS.fetch_add(1, Ordering::Relaxed) % 10)
}

impl Drop for CloudServer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
