//! What a client of the Cloud API must survive, on wiremock: faults that the real server has and does not give on demand.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use openhands_runner::secret::Secret;
use openhands_runner::workspace::{CloudWorkspace, CloudWorkspaceBuilder};
use serde_json::{Value, json};
use wiremock::matchers::{any, header, method, path, query_param};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use crate::support::cloud_server::API_KEY;
use crate::support::{AgentServer, NEWEST, Run};

const ID: &str = "sandbox-of-the-test";

/// A Cloud API whose one new sandbox is a real agent-server.
struct Faulty {
    server: MockServer,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// What looks at the sandbox show, the last one from then on.
    looks: Mutex<Vec<Value>>,
    /// What a search lists.
    listed: Mutex<Vec<Value>>,
    /// What deletions are answered with first.
    deletions: Mutex<Vec<ResponseTemplate>>,
    deleted: Mutex<BTreeSet<String>>,
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
    async fn start(create: ResponseTemplate, looks: impl IntoIterator<Item = Value>) -> Self {
        let state = Arc::new(State { looks: Mutex::new(looks.into_iter().collect()), ..State::default() });
        let server = MockServer::start().await;
        Mock::given(method("POST")).and(path("/api/v1/sandboxes")).respond_with(create).mount(&server).await;
        Mock::given(any()).respond_with(Shared(Arc::clone(&state))).with_priority(9).mount(&server).await;
        Self { server, state }
    }

    fn builder(&self) -> CloudWorkspaceBuilder {
        CloudWorkspace::builder(self.server.uri().parse().unwrap(), Secret::new(API_KEY))
    }

    fn deleted(&self) -> Vec<String> {
        self.state.deleted.lock().unwrap().iter().cloned().collect()
    }

    async fn created(&self) -> usize {
        let requests = self.server.received_requests().await.unwrap();
        requests.iter().filter(|request| request.method == "POST" && request.url.path() == "/api/v1/sandboxes").count()
    }
}

fn sandbox(id: &str, status: &str) -> Value {
    json!({"id": id, "created_by_user_id": null, "sandbox_spec_id": "spec", "status": status, "session_api_key": null,
        "exposed_urls": null, "created_at": "2026-11-23T03:00:00Z"})
}

/// RUNNING, with the agent-server at `localhost`, which listens on IPv4 alone.
fn running(server: &AgentServer) -> Value {
    let mut running = sandbox(ID, "RUNNING");
    running["session_api_key"] = json!(server.key);
    let url = format!("http://localhost:{}", server.port);
    running["exposed_urls"] = json!([{"name": "VSCODE", "url": "http://localhost:1", "port": 1}, {"name": "AGENT_SERVER", "url": url, "port": server.port}]);
    running
}

fn made() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(sandbox(ID, "STARTING"))
}

#[tokio::test]
async fn a_status_that_flaps_errs_and_goes_missing_while_booting_is_no_verdict() {
    let server = AgentServer::shared(NEWEST).await;
    let mut keyless = running(server);
    keyless["session_api_key"] = Value::Null;
    let looks = [
        sandbox(ID, "STARTING"),
        Value::Null,
        sandbox(ID, "ERROR"),
        sandbox(ID, "ERROR"),
        sandbox(ID, "STARTING"),
        sandbox(ID, "PAUSED"),
        sandbox(ID, "A_NEW_STATUS"),
        sandbox(ID, "RUNNING"),
        keyless,
        running(server),
        sandbox(ID, "STARTING"),
    ];
    let cloud = Faulty::start(made(), looks).await;
    let workspace = cloud.builder().open().await.unwrap();
    assert_eq!(workspace.id().as_str(), ID);
    workspace.close().await.unwrap();
    assert_eq!(cloud.deleted(), [ID]);
    let resumed = cloud.server.received_requests().await.unwrap();
    assert_eq!(resumed.iter().filter(|request| request.url.path().ends_with("/resume")).count(), 1);
}

#[tokio::test]
async fn a_sandbox_that_is_never_ready_is_deleted_and_its_state_told() {
    let server = AgentServer::shared(NEWEST).await;
    // RUNNING is not ready: nobody listens there.
    let mut nobody = running(server);
    nobody["exposed_urls"][1]["url"] = json!("http://127.0.0.1:1");
    let cloud = Faulty::start(made(), [nobody]).await;
    let error = cloud.builder().init_timeout(Duration::from_secs(2)).open().await.unwrap_err();
    assert!(
        error.to_string().contains("was not ready within 2 s (it is RUNNING; its agent-server does not answer yet)"),
        "{error}"
    );
    assert_eq!(cloud.deleted(), [ID]);
}

#[tokio::test]
async fn another_servers_port_is_noticed_by_the_key() {
    let server = AgentServer::shared(NEWEST).await;
    let mut other = running(server);
    other["session_api_key"] = json!("key-of-another-sandbox");
    let cloud = Faulty::start(made(), [other]).await;
    let error = cloud.builder().open().await.unwrap_err();
    assert!(error.to_string().contains("refuses the sandbox's own key"), "{error}");
    assert_eq!(cloud.deleted(), [ID]);
}

#[tokio::test]
async fn the_accounts_limit_is_told_and_not_retried() {
    let body = json!({"detail": {"error": "CONCURRENCY_LIMIT_REACHED", "message": "3 of 3 sandboxes"}});
    let cloud = Faulty::start(ResponseTemplate::new(429).set_body_json(body), [Value::Null]).await;
    let error = cloud.builder().open().await.unwrap_err();
    assert!(error.to_string().contains("as many sandboxes as it may"), "{error}");
    assert_eq!(cloud.created().await, 1);
}

#[tokio::test]
async fn a_rate_limit_is_waited_for() {
    let server = AgentServer::shared(NEWEST).await;
    let cloud = Faulty::start(made(), [running(server)]).await;
    let limited = ResponseTemplate::new(429)
        .insert_header("retry-after", "1")
        .set_body_json(json!({"message": "Too many requests"}));
    Mock::given(any()).respond_with(limited).up_to_n_times(3).with_priority(1).mount(&cloud.server).await;
    let started = Instant::now();
    cloud.builder().open().await.unwrap().close().await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1), "Retry-After was not obeyed");
    assert_eq!(cloud.deleted(), [ID]);
}

#[tokio::test]
async fn a_create_that_is_cut_off_is_looked_for_deleted_and_not_repeated() {
    let cut_off = made().set_delay(Duration::from_secs(3600));
    let cloud = Faulty::start(cut_off, [Value::Null]).await;
    *cloud.state.listed.lock().unwrap() = vec![sandbox("from before", "RUNNING")];
    let opening = tokio::spawn(cloud.builder().init_timeout(Duration::from_secs(2)).open());
    while cloud.created().await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cloud.state.listed.lock().unwrap().insert(0, sandbox("ours", "STARTING"));
    let error = opening.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("creating the sandbox failed"), "{error}");
    assert_eq!((cloud.deleted(), cloud.created().await), (vec!["ours".to_owned()], 1));
}

#[tokio::test]
async fn of_several_new_sandboxes_none_is_taken_for_ours() {
    let cloud = Faulty::start(made().set_delay(Duration::from_secs(3600)), [Value::Null]).await;
    let opening = tokio::spawn(cloud.builder().init_timeout(Duration::from_secs(2)).open());
    while cloud.created().await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    *cloud.state.listed.lock().unwrap() = vec![sandbox("one", "STARTING"), sandbox("two", "STARTING")];
    let error = opening.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("one and two"), "{error}");
    assert!(cloud.deleted().is_empty());
}

#[tokio::test]
async fn plain_text_and_json_failures_to_create_are_told_as_they_are() {
    for (answer, words) in [
        (ResponseTemplate::new(500).set_body_string("Internal Server Error"), "500 Internal Server Error"),
        (
            ResponseTemplate::new(500).set_body_json(json!({"detail": "Agent Server Failed to start properly"})),
            "Agent Server Failed",
        ),
        (
            ResponseTemplate::new(422).set_body_json(json!({"detail": [{"loc": ["query", "x"], "msg": "bad"}]})),
            "query.x: bad",
        ),
        (ResponseTemplate::new(401).set_body_json(json!({"message": "no such key"})), "401 no such key"),
    ] {
        let cloud = Faulty::start(answer, [Value::Null]).await;
        let error = cloud.builder().open().await.unwrap_err();
        let text = openhands_runner::display::chain(&error);
        assert!(text.contains(words), "{text}");
        assert_eq!(cloud.created().await, 1);
    }
}

#[tokio::test]
async fn deleting_survives_errors_and_what_is_gone_is_done() {
    let server = AgentServer::shared(NEWEST).await;
    for (answers, words) in [
        (vec![404], "sandbox deleted"),
        (vec![503, 500], "sandbox deleted"),
        // What was done stands; the user is told what is left.
        (vec![401], "the sandbox could not be deleted"),
    ] {
        let cloud = Faulty::start(made(), [running(server)]).await;
        *cloud.state.deletions.lock().unwrap() = answers.into_iter().map(ResponseTemplate::new).collect();
        let run = Run::new().env("OPENHANDS_API_KEY", API_KEY).env("OPENHANDS_CLOUD_API_URL", cloud.server.uri());
        let done = run.args(["exec", "--", "echo here"]).finish().await.exits_with(0).says(words).says(ID);
        assert_eq!(done.stdout, "here\n");
    }
}

#[tokio::test]
async fn the_key_and_the_spec_go_with_the_request() {
    let server = AgentServer::shared(NEWEST).await;
    let cloud = Faulty::start(ResponseTemplate::new(400), [running(server)]).await;
    Mock::given(method("POST"))
        .and(path("/api/v1/sandboxes"))
        .and(query_param("sandbox_spec_id", "a spec"))
        .and(header("authorization", format!("Bearer {API_KEY}")))
        .respond_with(made())
        .with_priority(1)
        .mount(&cloud.server)
        .await;
    let mut workspace = cloud.builder().sandbox_spec_id("a spec").keep_alive(true).open().await.unwrap();
    workspace.keep_alive();
    workspace.close().await.unwrap();
    assert!(cloud.deleted().is_empty());
}
