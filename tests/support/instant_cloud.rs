//! An OpenHands Cloud whose sandboxes are there at once, with the faults of a real one: requests that are too many, that fail or whose
//! response is lost, an account with a limit, and sandboxes that pause.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "support code, of which tests use a part"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::AbortHandle;

use super::instant_machine::{Fault, Faults, Lost, Machine};
use super::instant_server::{InstantServer, json_body, listen};

/// What the account and its sandboxes are like.
#[derive(Debug, Clone, Copy)]
pub struct Nature {
    /// How often each fault of the Cloud API happens, from 0 to 1.
    pub faults: f64,
    /// The same for commands and files of a sandbox.
    pub faults_of_sandboxes: f64,
    /// Every so many sandboxes one pauses while it works; never for 0.
    pub pauses_every: usize,
    /// The number of the sandbox of whose making the client gets no response, from 1; 0 for none.
    pub loses_creation: usize,
    /// The most sandboxes at the same time.
    pub most: usize,
    /// Events of the agent in a run.
    pub events: usize,
    /// Whether sandboxes start with the programs that others were given, as from one image.
    pub shares_programs: bool,
    pub seed: u64,
}

impl Default for Nature {
    fn default() -> Self {
        Self {
            faults: 0.0,
            faults_of_sandboxes: 0.0,
            pauses_every: 0,
            loses_creation: 0,
            most: usize::MAX,
            events: 5,
            shares_programs: true,
            seed: 1,
        }
    }
}

/// The running Cloud. It ends when dropped, with its sandboxes.
pub struct InstantCloud {
    pub port: u16,
    state: Arc<State>,
    accepting: AbortHandle,
}

struct State {
    nature: Nature,
    home: TempDir,
    faults: Faults,
    faults_of_sandboxes: Arc<Faults>,
    sandboxes: Mutex<BTreeMap<String, Sandbox>>,
    making: tokio::sync::Mutex<()>,
    made: AtomicUsize,
    resumed: AtomicUsize,
    refused: AtomicUsize,
    /// The most sandboxes that there were at the same time.
    most: AtomicUsize,
    /// The most messages that one sandbox got.
    most_messages: AtomicUsize,
    messages: AtomicUsize,
    /// When each request about sandboxes came.
    requests: Mutex<Vec<Instant>>,
    /// The specs that sandboxes were asked for with.
    specs: Mutex<Vec<String>>,
}

struct Sandbox {
    key: String,
    created_at: String,
    looks: usize,
    machine: Arc<Machine>,
    server: InstantServer,
}

impl InstantCloud {
    pub async fn start(nature: Nature) -> std::io::Result<Self> {
        let state = Arc::new(State {
            nature,
            home: tempfile::tempdir()?,
            faults: Faults::new(nature.faults, nature.seed),
            faults_of_sandboxes: Arc::new(Faults::new(nature.faults_of_sandboxes, nature.seed + 1)),
            sandboxes: Mutex::default(),
            making: tokio::sync::Mutex::default(),
            made: AtomicUsize::new(0),
            resumed: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            most_messages: AtomicUsize::new(0),
            messages: AtomicUsize::new(0),
            requests: Mutex::default(),
            specs: Mutex::default(),
        });
        let responding = Arc::clone(&state);
        let (port, accepting) = listen(move |request| Arc::clone(&responding).respond(request)).await?;
        Ok(Self { port, state, accepting })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The sandboxes that are there.
    pub fn sandboxes(&self) -> Vec<String> {
        self.state.sandboxes.lock().unwrap().keys().cloned().collect()
    }

    /// Sandboxes that were ever made.
    pub fn made(&self) -> usize {
        self.state.made.load(Ordering::Relaxed)
    }

    /// The most sandboxes that there were at the same time.
    pub fn most(&self) -> usize {
        self.state.most.load(Ordering::Relaxed)
    }

    /// Requests for a sandbox that the account's limit has refused.
    pub fn refused(&self) -> usize {
        self.state.refused.load(Ordering::Relaxed)
    }

    pub fn resumed(&self) -> usize {
        self.state.resumed.load(Ordering::Relaxed)
    }

    /// Faults of this kind, of the Cloud API and of sandboxes.
    pub fn faults(&self, fault: Fault) -> usize {
        self.state.faults.count(fault) + self.state.faults_of_sandboxes.count(fault)
    }

    /// The most messages that one sandbox that is gone got, and those of all.
    pub fn messages(&self) -> (usize, usize) {
        (self.state.most_messages.load(Ordering::Relaxed), self.state.messages.load(Ordering::Relaxed))
    }

    /// Takes the network between the client and everything here away, or gives it back.
    pub fn cut_off(&self, is_cut_off: bool) {
        self.state.faults.cut_off(is_cut_off);
        self.state.faults_of_sandboxes.cut_off(is_cut_off);
    }

    /// Requests that did not get through.
    pub fn requests_cut_off(&self) -> usize {
        self.state.faults.taken() + self.state.faults_of_sandboxes.taken()
    }

    /// The specs that sandboxes were asked for with.
    pub fn specs(&self) -> Vec<String> {
        self.state.specs.lock().unwrap().clone()
    }

    /// Requests about sandboxes, and the most of them within one second.
    pub fn requests(&self) -> (usize, usize) {
        let requests = self.state.requests.lock().unwrap();
        let mut first = 0;
        let most = requests.iter().enumerate().map(|(last, at)| {
            while at.duration_since(requests[first]) >= Duration::from_secs(1) {
                first += 1;
            }
            last + 1 - first
        });
        (requests.len(), most.max().unwrap_or_default())
    }
}

impl Drop for InstantCloud {
    fn drop(&mut self) {
        self.accepting.abort();
        self.state.sandboxes.lock().unwrap().clear();
    }
}

impl State {
    async fn respond(self: Arc<Self>, mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Lost> {
        let _ = request.body_mut().collect().await;
        let path = request.uri().path().to_owned();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (["api", "v1", "sandboxes", rest @ ..], false) = (parts.as_slice(), parts.contains(&"settings")) else {
            // A run in a sandbox asks for the account's secrets.
            return Ok(json_body(StatusCode::OK, &json!({"secrets": []})));
        };
        self.requests.lock().unwrap().push(Instant::now());
        if self.faults.takes_request() {
            return Err(Lost);
        }
        let fault = self.faults.next();
        if let Some(response) = fault.and_then(Fault::response) {
            return Ok(response);
        }
        let query = request.uri().query().unwrap_or_default();
        let of_query = |wanted: &str| {
            let mut parts = url::form_urlencoded::parse(query.as_bytes());
            parts.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
        };
        let id = of_query("id");
        self.specs.lock().unwrap().extend(of_query("sandbox_spec_id"));
        let response = match (request.method(), rest) {
            (&Method::POST, []) => self.make().await?,
            (&Method::GET, []) => json_body(StatusCode::OK, &json!([id.and_then(|id| self.look(&id))])),
            (&Method::GET, ["search"]) => {
                let mut items: Vec<Value> =
                    self.sandboxes.lock().unwrap().iter().map(|(id, sandbox)| sandbox.described(id)).collect();
                items.reverse();
                json_body(StatusCode::OK, &json!({"items": items, "next_page_id": null}))
            }
            (&Method::POST, [id, "resume"]) => {
                self.resumed.fetch_add(1, Ordering::Relaxed);
                self.sandboxes.lock().unwrap().get(*id).inspect(|sandbox| sandbox.machine.resume());
                json_body(StatusCode::OK, &json!({"success": true}))
            }
            (&Method::DELETE, [id]) => self.delete(id),
            _ => json_body(StatusCode::NOT_FOUND, &json!({"detail": "Not Found"})),
        };
        if fault.is_some() { Err(Lost) } else { Ok(response) }
    }

    async fn make(&self) -> Result<Response<Full<Bytes>>, Lost> {
        // Two requests at the same time do not get the last place both.
        let _one = self.making.lock().await;
        if self.sandboxes.lock().unwrap().len() >= self.nature.most {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let mut response = json_body(
                StatusCode::TOO_MANY_REQUESTS,
                &json!({"detail": {"error": "CONCURRENCY_LIMIT_REACHED", "message": "no more sandboxes"}}),
            );
            response.headers_mut().insert("retry-after", "1".parse().unwrap());
            return Ok(response);
        }
        let number = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        let (id, key) = (format!("sandbox-{number:06}"), format!("session-key-of-{number:06}"));
        let folder = self.home.path().join(&id);
        std::fs::create_dir(&folder).unwrap();
        let cache = if self.nature.shares_programs { self.home.path().join("cache") } else { folder.join("cache") };
        let pauses = number.is_multiple_of(self.nature.pauses_every);
        let machine = Arc::new(Machine::new(key.clone(), folder, cache, Arc::clone(&self.faults_of_sandboxes), pauses));
        let server = InstantServer::in_sandbox(self.nature.events, Arc::clone(&machine)).await.unwrap();
        let created_at = jiff::Timestamp::now().to_string();
        let sandbox = Sandbox { key, created_at, looks: 0, machine, server };
        let described = sandbox.described(&id);
        let mut sandboxes = self.sandboxes.lock().unwrap();
        sandboxes.insert(id, sandbox);
        self.most.fetch_max(sandboxes.len(), Ordering::Relaxed);
        if number == self.nature.loses_creation { Err(Lost) } else { Ok(json_body(StatusCode::OK, &described)) }
    }

    fn look(&self, id: &str) -> Option<Value> {
        let mut sandboxes = self.sandboxes.lock().unwrap();
        let sandbox = sandboxes.get_mut(id)?;
        sandbox.looks += 1;
        Some(sandbox.described(id))
    }

    fn delete(&self, id: &str) -> Response<Full<Bytes>> {
        let Some(sandbox) = self.sandboxes.lock().unwrap().remove(id) else {
            return json_body(StatusCode::NOT_FOUND, &json!({"detail": "Sandbox not found"}));
        };
        sandbox.machine.end();
        self.most_messages.fetch_max(sandbox.server.messages(), Ordering::Relaxed);
        self.messages.fetch_add(sandbox.server.messages(), Ordering::Relaxed);
        json_body(StatusCode::OK, &json!({"success": true}))
    }
}

impl Sandbox {
    fn described(&self, id: &str) -> Value {
        let status = match self.looks {
            _ if self.machine.is_paused() => "PAUSED",
            0 => "STARTING",
            _ => "RUNNING",
        };
        let is_usable = status == "RUNNING";
        let port = self.server.port;
        let urls = json!([{"name": "AGENT_SERVER", "url": format!("http://127.0.0.1:{port}"), "port": port}]);
        json!({
            "id": id, "status": status, "created_at": self.created_at, "sandbox_spec_id": "instant",
            "created_by_user_id": null,
            "session_api_key": is_usable.then_some(&self.key),
            "exposed_urls": is_usable.then_some(urls),
        })
    }
}
