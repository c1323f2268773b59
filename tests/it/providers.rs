//! The other providers of sandboxes: fakes that answer as the official client expects, with real agent-servers behind them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use openhands_client::http::Network;
use openhands_client::sandbox::exec::Command;
use openhands_client::sandbox::providers::docker::Docker;
use openhands_client::sandbox::providers::runtime_api::RuntimeApi;
use openhands_client::sandbox::{Provider, Sandbox};
use openhands_client::workspace::RemoteWorkspace;
use serde_json::{Value, json};
use wiremock::matchers::{any, header, path, path_regex};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use crate::support::agent_server::STARTING;
use crate::support::{AgentServer, NEWEST, Run, ScriptedLlm, Step};

fn runtime(api: &MockServer) -> RuntimeApi {
    RuntimeApi::new(&Network::default(), api.uri().parse().unwrap(), "runtime-key", "an-image:1").unwrap()
}

/// What every provider's sandbox goes through.
pub async fn lifecycle<P: Provider>(provider: P) {
    let mut workspace = RemoteWorkspace::create(provider).await.unwrap();
    let done = workspace.execute_command(&Command::shell("echo here")).await.unwrap();
    assert_eq!(done.stdout_text(), "here\n");
    workspace.pause().await.unwrap();
    workspace.resume().await.unwrap();
    let here = tempfile::tempdir().unwrap();
    std::fs::write(here.path().join("file"), "content").unwrap();
    let there = format!("/tmp/copy-of-the-test-{}", uuid::Uuid::new_v4());
    workspace.upload(here.path().join("file"), &there).await.unwrap();
    workspace.download(&there, here.path().join("back")).await.unwrap();
    assert_eq!(std::fs::read(here.path().join("back")).unwrap(), b"content");
    workspace.execute_command(&Command::program(["rm", &there])).await.unwrap();
    workspace.close().await.unwrap();
}

/// The Runtime API: one session at most, whose pod takes some looks to be ready.
#[derive(Clone)]
struct Runtimes {
    state: Arc<Mutex<State>>,
    url: String,
    key: String,
}

#[derive(Default)]
struct State {
    status: Option<&'static str>,
    looks: usize,
    calls: Vec<(String, Value)>,
}

impl Runtimes {
    fn answer(&self, state: &State) -> Value {
        let pod = ["not found", "Pending", "running", "Ready"][state.looks.min(3)];
        json!({"runtime_id": "runtime-1", "status": state.status, "pod_status": pod, "url": self.url, "session_api_key": self.key})
    }

    fn calls(&self) -> Vec<String> {
        self.state.lock().unwrap().calls.iter().map(|(call, _)| call.clone()).collect()
    }
}

impl Respond for Runtimes {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut state = self.state.lock().unwrap();
        let path = request.url.path();
        if path.starts_with("/sessions/agent-server-") {
            if state.status.is_none() {
                return ResponseTemplate::new(404);
            }
            state.looks += 1;
            return ResponseTemplate::new(200).set_body_json(self.answer(&state));
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        state.status = match path {
            "/start" | "/resume" => Some("running"),
            "/pause" => Some("paused"),
            "/stop" => None,
            other => panic!("{other}"),
        };
        state.calls.push((path.to_owned(), body));
        ResponseTemplate::new(200).set_body_json(self.answer(&state))
    }
}

async fn runtime_api() -> (MockServer, Runtimes) {
    let agent_server = AgentServer::shared(NEWEST).await;
    let fake = Runtimes { state: Arc::default(), url: agent_server.url(""), key: agent_server.key.clone() };
    let server = MockServer::start().await;
    Mock::given(any()).and(header("x-api-key", "runtime-key")).respond_with(fake.clone()).mount(&server).await;
    (server, fake)
}

#[tokio::test]
async fn a_runtime_of_the_runtime_api_goes_through_its_life() {
    let (server, fake) = runtime_api().await;
    let mut provider = runtime(&server);
    provider.resource_factor = 2;
    lifecycle(provider.clone()).await;
    assert_eq!(fake.calls(), ["/start", "/pause", "/resume", "/stop"]);
    let start = fake.state.lock().unwrap().calls[0].1.clone();
    assert_eq!(
        start,
        json!({"image": "an-image:1", "command": "/usr/local/bin/openhands-agent-server --port 60000", "working_dir": "/",
            "environment": {}, "session_id": provider.session_id, "run_as_user": 10001, "fs_group": 10001,
            "image_pull_policy": "IfNotPresent", "runtime_class": "sysbox-runc", "resource_factor": 2})
    );
    assert_eq!(fake.state.lock().unwrap().calls[3].1, json!({"runtime_id": "runtime-1"}));

    // A session that is there is taken up again.
    fake.state.lock().unwrap().status = Some("paused");
    let mut sandbox = Sandbox::create(provider);
    sandbox.ready().await.unwrap();
    assert_eq!(fake.calls().last().unwrap(), "/resume");
    drop(sandbox);
    assert_eq!(fake.calls().last().unwrap(), "/stop");
}

/// Outside of any sandbox, with this Runtime API.
fn with_runtime_api(api: &MockServer) -> Run {
    Run::new().env("RUNTIME_API_URL", api.uri()).env("RUNTIME_API_KEY", "runtime-key")
}

#[tokio::test]
async fn the_command_line_uses_sandboxes_of_the_runtime_api() {
    let (api, fake) = runtime_api().await;
    let server = AgentServer::shared(NEWEST).await;
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Write a file", [Step::terminal("echo content >file.txt"), Step::finish("Written.")]);
    let work = server.working_dir();
    let run = with_runtime_api(&api).llm(&llm).env("WORKSPACE_BASE", work.to_str().unwrap());
    let run = run.args(["run", "--workspace", "runtime-api", "--image", "an-image:2", "--format", "json"]);
    let result = run.args(["-p", "Write a file."]).finish().await.exits_with(0).says("sandbox deleted").json();
    let session = fake.state.lock().unwrap().calls[0].1.clone();
    assert_eq!((result["message"].as_str(), session["image"].as_str()), (Some("Written."), Some("an-image:2")));
    assert_eq!(result["sandbox_id"], session["session_id"], "{result}");
    assert_eq!(std::fs::read_to_string(work.join("file.txt")).unwrap(), "content\n");
    assert_eq!(fake.calls(), ["/start", "/stop"]);

    // The id that one command prints is the one that the others take.
    let at = ["--workspace", "runtime-api"];
    let created = with_runtime_api(&api).args(["sandbox", "create"]).args(at).finish().await.exits_with(0);
    let id = created.stdout.trim();
    with_runtime_api(&api).args(["sandbox", "pause", id]).args(at).finish().await.exits_with(0);
    let exec = with_runtime_api(&api).args(["exec"]).args(at).args(["--sandbox", id, "--", "echo here"]);
    assert_eq!(exec.finish().await.exits_with(0).stdout, "here\n");
    with_runtime_api(&api).args(["sandbox", "delete", id]).args(at).finish().await.exits_with(0);
    assert_eq!(fake.calls()[2..], ["/start", "/pause", "/resume", "/stop"]);
    let gone = with_runtime_api(&api).args(["exec"]).scaled(0.1, ["sandbox_unknown"]).args(at);
    gone.args(["--sandbox", id, "--", "true"]).finish().await.exits_with(69).says("there is no sandbox").says(id);
}

#[tokio::test]
async fn what_a_provider_needs_is_told_before_a_sandbox_is_made() {
    let run = |words: &[&'static str]| {
        let words = words.to_vec();
        Run::new().file("task.md", "Do nothing.").command(move |command| {
            command.args(words);
        })
    };
    for command in [&["run"][..], &["launch"]] {
        let told = run(&[command, &["--workspace", "runtime-api", "task.md"]].concat()).finish().await.exits_with(78);
        told.says("RUNTIME_API_URL").says("RUNTIME_API_KEY");
    }
    let told = run(&["run", "--workspace", "cloud", "--image", "i", "task.md"]).finish().await.exits_with(2);
    told.says("`--image` is for `--workspace docker`");
    let told = run(&["run", "--volume", "/a:/b", "task.md"]).finish().await.exits_with(2);
    told.says("add `--workspace docker`");
}

#[tokio::test]
async fn a_runtime_that_was_there_before_is_not_deleted_after_a_failed_start() {
    let (server, fake) = runtime_api().await;
    fake.state.lock().unwrap().status = Some("stopped");
    let start = Mock::given(path("/start")).respond_with(ResponseTemplate::new(500)).with_priority(1);
    start.mount(&server).await;
    let provider = runtime(&server);
    RemoteWorkspace::create(provider).await.unwrap_err();
    assert!(fake.calls().is_empty(), "{:?}", fake.calls());
}

#[tokio::test]
async fn a_sandbox_that_may_be_left_is_named_with_the_command_that_deletes_it() {
    let (api, fake) = runtime_api().await;
    // The start gets a response that no one understands, and after it the API does not know its sessions.
    let start = Mock::given(path("/start")).respond_with(ResponseTemplate::new(200).set_body_string("<html>"));
    start.with_priority(1).mount(&api).await;
    let looks = ResponseTemplate::new(404);
    Mock::given(path_regex("^/sessions/")).respond_with(looks).with_priority(1).up_to_n_times(2).mount(&api).await;
    let looks = ResponseTemplate::new(403);
    Mock::given(path_regex("^/sessions/")).respond_with(looks).with_priority(2).mount(&api).await;
    let run = with_runtime_api(&api).args(["sandbox", "create", "--workspace", "runtime-api"]).finish().await;
    let told = run.exits_with(69).says("may have created a sandbox: one of agent-server-");
    told.says(
        "delete the one that no one else created with `openhands-runner sandbox delete --workspace runtime-api ID`",
    );
    assert!(fake.calls().is_empty(), "{:?}", fake.calls());
}

/// A docker CLI whose container is a real agent-server.
fn fake_docker(folder: &Path) -> PathBuf {
    let script = format!(
        r#"#!/usr/bin/env bash
set -euo pipefail
cd {folder}
echo "$*" >>calls
known() {{ [ -e "$1" ] || {{ echo "Error: No such container: $1" >&2; exit 1; }}; }}
case $1 in
    run)
        while [ "$1" != --name ]; do shift; done
        port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
        mkfifo pipe
        {scripts}/agent-server --temporary --with-stdin --port "$port" --folder "$PWD/server" --key "$OH_SESSION_API_KEYS_0" <pipe >/dev/null 2>&1 &
        setsid sleep 600 >pipe 2>/dev/null &
        echo $! >holder
        echo "$port" >"$2"
        echo "$OH_SESSION_API_KEYS_0" >key
        echo 0123456789ab ;;
    inspect)
        known "$4"
        printf '[{{"Config":{{"Env":["PATH=/bin","OH_SESSION_API_KEYS_0=%s"]}},"State":{{"Running":true,"Paused":%s}},"NetworkSettings":{{"Ports":{{"8000/tcp":[{{"HostIp":"127.0.0.1","HostPort":"%s"}}]}}}}}}]' \
            "$(cat key)" "$([ -e paused ] && echo true || echo false)" "$(cat "$4")" ;;
    pause) known "$2"; touch paused ;;
    unpause) known "$2"; rm paused ;;
    rm) known "$3"; kill "$(cat holder)"; rm "$3" ;;
esac
"#,
        folder = folder.display(),
        scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").display()
    );
    let path = folder.join("docker");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn a_container_goes_through_its_life() {
    let folder = tempfile::tempdir().unwrap();
    let mut provider = Docker::new(&Network::default()).unwrap();
    provider.program = fake_docker(folder.path());
    provider.volumes = vec!["/here:/there".to_owned()];
    lifecycle(provider).await;
    let calls = std::fs::read_to_string(folder.path().join("calls")).unwrap();
    let lines: Vec<&str> = calls.lines().collect();
    assert!(
        lines[0]
            .starts_with("run --detach --rm --ulimit nofile=65536:65536 --platform linux/amd64 --name agent-server-")
    );
    assert!(lines[0].ends_with(
        "--publish 127.0.0.1::8000 --env OH_SESSION_API_KEYS_0 --volume /here:/there \
         ghcr.io/openhands/agent-server:latest-python --host 0.0.0.0 --port 8000"
    ));
    assert!(lines.last().unwrap().starts_with("rm --force agent-server-"));
}

#[tokio::test]
async fn the_command_line_uses_containers_of_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let program = fake_docker(folder.path());
    let path = format!("{}:{}", program.parent().unwrap().display(), env!("PATH"));
    let docker = || Run::new().env("PATH", &path);
    let at = ["--workspace", "docker"];
    let turn = STARTING.lock().await;
    let exec = docker().args(["exec", "--keep-alive", "--image", "an-image:3", "--volume", "/here:/there"]).args(at);
    let exec = exec.args(["--format", "json", "--", "echo here"]).finish().await.exits_with(0).json();
    drop(turn);
    assert_eq!(exec["stdout"], "here\n");
    // Its key is the container's: no other process of ours has it.
    let id = exec["sandbox_id"].as_str().unwrap();
    let there = format!("{id}:/tmp/copy-of-the-test-{}", uuid::Uuid::new_v4());
    docker().args(["cp", "file", &there]).args(at).file("file", "content").finish().await.exits_with(0);
    let back = docker().args(["cp", &there, "back"]).args(at).finish().await.exits_with(0);
    assert_eq!(std::fs::read(back.path("back")).unwrap(), b"content");
    std::fs::remove_file(there.split_once(':').unwrap().1).unwrap();
    docker().args(["sandbox", "delete", id]).args(at).finish().await.exits_with(0);
    let calls = std::fs::read_to_string(folder.path().join("calls")).unwrap();
    assert_eq!(calls.lines().filter(|line| line.starts_with("run ")).count(), 1);
    assert!(calls.lines().next().unwrap().contains(" --volume /here:/there an-image:3 "), "{calls}");
    assert!(calls.ends_with(&format!("rm --force {id}\n")), "{calls}");
}

#[tokio::test]
async fn a_docker_that_is_not_there_is_told() {
    let mut provider = Docker::new(&Network::default()).unwrap();
    provider.program = "/no/docker".into();
    let error = RemoteWorkspace::create(provider).await.unwrap_err();
    assert!(error.to_string().contains("/no/docker"), "{error}");
}
