//! A Cloud API with the faults that the real server has and does not give on demand, on wiremock.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used, reason = "support code")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use openhands_client::workspace::{CloudWorkspace, CloudWorkspaceBuilder};
use serde_json::{Value, json};
use wiremock::matchers::{any, method, path};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use super::cloud_server::API_KEY;
use super::{AgentServer, Run};

/// The id of the one sandbox that is made.
pub const ID: &str = "sandbox-of-the-test";

/// No request of a test is waited for longer.
const LONGEST: Duration = Duration::from_secs(60);

/// A Cloud API whose one new sandbox is a real agent-server.
pub struct Faulty {
    pub server: MockServer,
    pub state: Arc<State>,
}

#[derive(Default)]
pub struct State {
    /// What looks at the sandbox show, the last one from then on.
    pub looks: Mutex<Vec<Value>>,
    /// What a search lists.
    pub listed: Mutex<Vec<Value>>,
    /// What deletions are answered with first.
    pub deletions: Mutex<Vec<ResponseTemplate>>,
    pub deleted: Mutex<BTreeSet<String>>,
}

impl Respond for State {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let query =
            |name: &str| request.url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        let ok = |body: Value| ResponseTemplate::new(200).set_body_json(body);
        match (request.method.as_str(), request.url.path()) {
            ("GET", "/api/v1/sandboxes") => {
                let mut looks = self.looks.lock().unwrap();
                let look = if looks.len() > 1 { looks.remove(0) } else { looks[0].clone() };
                ok(json!([look]))
            }
            ("GET", "/api/v1/sandboxes/search") => {
                ok(json!({"items": *self.listed.lock().unwrap(), "next_page_id": null}))
            }
            ("DELETE", _) => {
                let mut answers = self.deletions.lock().unwrap();
                if !answers.is_empty() {
                    return answers.remove(0);
                }
                self.deleted.lock().unwrap().insert(query("sandbox_id").unwrap());
                ok(json!({"success": true}))
            }
            (_, path) if path.ends_with("/resume") => ok(json!({"success": true})),
            other => panic!("{other:?}"),
        }
    }
}

struct Shared(Arc<State>);
impl Respond for Shared {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        self.0.respond(request)
    }
}

impl Faulty {
    pub async fn start(create: ResponseTemplate, looks: impl IntoIterator<Item = Value>) -> Self {
        let state = Arc::new(State { looks: Mutex::new(looks.into_iter().collect()), ..State::default() });
        let server = MockServer::start().await;
        Mock::given(method("POST")).and(path("/api/v1/sandboxes")).respond_with(create).mount(&server).await;
        Mock::given(any()).respond_with(Shared(Arc::clone(&state))).with_priority(9).mount(&server).await;
        Self { server, state }
    }

    pub fn builder(&self) -> CloudWorkspaceBuilder {
        CloudWorkspace::builder(API_KEY).url(self.server.uri().parse().unwrap())
    }

    /// The binary with this account.
    pub fn outside(&self) -> Run {
        Run::new().env("OPENHANDS_API_KEY", API_KEY).env("OPENHANDS_CLOUD_API_URL", self.server.uri())
    }

    pub fn deleted(&self) -> Vec<String> {
        self.state.deleted.lock().unwrap().iter().cloned().collect()
    }

    /// Until a sandbox was asked for.
    pub async fn asked(&self) {
        let deadline = Instant::now() + LONGEST;
        while self.created().await == 0 {
            assert!(Instant::now() < deadline, "no request for a sandbox");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Until the sandboxes are listed once more.
    pub async fn listed_again(&self) {
        let (before, deadline) = (self.received("GET", "/api/v1/sandboxes/search").await, Instant::now() + LONGEST);
        while self.received("GET", "/api/v1/sandboxes/search").await == before {
            assert!(Instant::now() < deadline, "the sandboxes are not listed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn created(&self) -> usize {
        self.received("POST", "/api/v1/sandboxes").await
    }

    async fn received(&self, method: &str, path: &str) -> usize {
        let requests = self.server.received_requests().await.unwrap();
        requests.iter().filter(|request| request.method == method && request.url.path() == path).count()
    }
}

pub fn sandbox(id: &str, status: &str) -> Value {
    json!({"id": id, "created_by_user_id": null, "sandbox_spec_id": "spec", "status": status, "session_api_key": null,
        "exposed_urls": null, "created_at": "2026-11-23T03:00:00Z"})
}

/// RUNNING, with the agent-server at `localhost`, which listens on IPv4 alone.
pub fn running(server: &AgentServer) -> Value {
    let mut running = sandbox(ID, "RUNNING");
    running["session_api_key"] = json!(server.key);
    let url = format!("http://localhost:{}", server.port);
    running["exposed_urls"] = json!([{"name": "VSCODE", "url": "http://localhost:1", "port": 1}, {"name": "AGENT_SERVER", "url": url, "port": server.port}]);
    running
}

pub fn made() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(sandbox(ID, "STARTING"))
}
