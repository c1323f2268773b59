//! What a client of the Cloud API must survive, on wiremock: faults that the real server has and does not give on demand.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use openhands_client::time_limits::{RetryDelays, TimeLimits};
use serde_json::{Value, json};
use wiremock::matchers::{header, method, path, query_param};
use wiremock::{Mock, ResponseTemplate};

use crate::support::cloud_server::API_KEY;
use crate::support::faulty_cloud::{Faulty, ID, made, running, sandbox};
use crate::support::run::Running;
use crate::support::{AgentServer, NEWEST, ScriptedLlm, Step, time_scale};

/// A tenth of the time between two looks at a sandbox.
fn quick_looks() -> TimeLimits {
    let mut limits = TimeLimits::default();
    let RetryDelays { first, longest } = &mut limits.cloud_poll_delays;
    for delay in [first, longest] {
        *delay = delay.mul_f64(time_scale(0.1));
    }
    limits
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
    let workspace = cloud.builder().time_limits(quick_looks()).open().await.unwrap();
    assert_eq!(workspace.id().as_str(), ID);
    workspace.close().await.unwrap();
    assert_eq!(cloud.deleted(), [ID]);
    let resumed = cloud.server.received_requests().await.unwrap();
    assert_eq!(resumed.iter().filter(|request| request.url.path().ends_with("/resume")).count(), 1);
}

#[tokio::test]
async fn a_sandbox_that_is_never_ready_is_deleted_and_its_state_told() {
    let server = AgentServer::shared(NEWEST).await;
    // RUNNING is not ready: no one listens there.
    let mut unreachable = running(server);
    unreachable["exposed_urls"][1]["url"] = json!("http://127.0.0.1:1");
    let cloud = Faulty::start(made(), [unreachable]).await;
    let error = cloud.builder().init_timeout(Duration::from_secs(2)).open().await.unwrap_err();
    assert!(
        error.to_string().contains("was not ready within 2 s (it is RUNNING; its agent-server does not respond yet)"),
        "{error}"
    );
    assert_eq!(cloud.deleted(), [ID]);
}

#[tokio::test]
async fn a_sandbox_with_an_error_fails_within_a_few_looks_with_the_clouds_reason() {
    let mut failed = sandbox(ID, "ERROR");
    failed["error"] = json!("no node has room for it");
    let cloud = Faulty::start(made(), [sandbox(ID, "STARTING"), failed]).await;
    let started = Instant::now();
    let error = cloud.builder().open().await.unwrap_err();
    assert!(error.to_string().contains("has failed: ERROR: no node has room for it"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(cloud.deleted(), [ID]);
}

#[tokio::test]
async fn a_running_sandbox_without_an_address_or_a_key_says_what_is_missing() {
    let server = AgentServer::shared(NEWEST).await;
    let (mut keyless, mut nowhere) = (running(server), running(server));
    keyless["session_api_key"] = Value::Null;
    nowhere["exposed_urls"] = Value::Null;
    for (look, missing) in [(keyless, "no session key"), (nowhere, "no valid address of its agent-server")] {
        let cloud = Faulty::start(made(), [look]).await;
        let error = cloud.builder().init_timeout(Duration::from_secs(1)).open().await.unwrap_err();
        assert!(error.to_string().contains("RUNNING, but the Cloud gives"), "{error}");
        assert!(error.to_string().contains(missing), "{error}");
    }
}

#[tokio::test]
async fn exec_passes_standard_input_on_when_asked_for() {
    let server = AgentServer::shared(NEWEST).await;
    for (flag, expected) in [("-i", "hi\n"), ("--stdin", "hi\n"), ("--cwd=/", "")] {
        let cloud = Faulty::start(made(), [running(server)]).await;
        let (reader, mut writer) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut writer, b"hi\n").unwrap();
        drop(writer);
        let command = cloud.outside().args(["exec", flag, "--sandbox", ID, "--", "cat"]).command(|command| {
            command.stdin(reader);
        });
        let ended = command.start().finish().await.exits_with(0);
        assert_eq!(ended.stdout, expected, "{flag}");
    }
}

#[tokio::test]
async fn a_refusal_of_the_sandboxs_file_system_is_a_refusal_with_its_reason() {
    let server = AgentServer::shared(NEWEST).await;
    let here = tempfile::tempdir().unwrap();
    let file = here.path().join("file");
    std::fs::write(&file, "content").unwrap();
    let cloud = Faulty::start(made(), [running(server)]).await;
    let copy = cloud.outside().args(["cp", file.to_str().unwrap(), &format!("{ID}:/proc/x")]);
    copy.start().finish().await.exits_with(69).says("RequestRefused").says("/proc/x");
}

#[tokio::test]
async fn another_servers_port_is_noticed_by_the_key() {
    let server = AgentServer::shared(NEWEST).await;
    let mut other = running(server);
    other["session_api_key"] = json!("key-of-another-sandbox");
    let cloud = Faulty::start(made(), [other]).await;
    let error = cloud.builder().time_limits(quick_looks()).open().await.unwrap_err();
    assert!(error.to_string().contains("refuses the sandbox's own key"), "{error}");
    assert_eq!(cloud.deleted(), [ID]);
}

#[tokio::test]
async fn this_machines_program_is_no_hook_of_an_agent_server_elsewhere() {
    let (server, llm) = (AgentServer::shared(NEWEST).await, ScriptedLlm::start(0).await.unwrap());
    llm.script("Do the task", [Step::finish("Done.")]);
    let cloud = Faulty::start(made(), [running(server)]).await;
    let user = Mock::given(path("/api/v1/users/me")).respond_with(ResponseTemplate::new(200).set_body_json(json!({})));
    user.mount(&cloud.server).await;
    let task = "---\nsecrets: []\nresult: outcome\n---\nDo the task.";
    let run = cloud.outside().llm(&llm).env("WORKSPACE_BASE", server.working_dir()).file("task.md", task);
    let done = run.args(["run", "--workspace", "cloud", "--format", "json", "task.md"]).finish().await;
    let id = done.json()["conversation_id"].as_str().unwrap().to_owned();
    let conversation = server.conversation(&id).await;
    assert!(conversation["hook_config"].is_null(), "{}", conversation["hook_config"]);
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
        let done = cloud.outside().args(["exec", "--", "echo here"]).finish().await.exits_with(0).says(words).says(ID);
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

#[tokio::test]
async fn a_named_sandbox_that_is_never_ready_is_not_deleted() {
    let server = AgentServer::shared(NEWEST).await;
    let mut unreachable = running(server);
    unreachable["exposed_urls"][1]["url"] = json!("http://127.0.0.1:1");
    let cloud = Faulty::start(made(), [unreachable]).await;
    let named = cloud.builder().sandbox_id(ID).init_timeout(Duration::from_secs(1));
    named.clone().open().await.unwrap_err();
    assert!(tokio::time::timeout(Duration::from_millis(300), named.open()).await.is_err());
    assert!(cloud.deleted().is_empty());
}

#[tokio::test]
async fn a_sandbox_that_does_not_go_on_at_once_is_asked_again() {
    let server = AgentServer::shared(NEWEST).await;
    let looks = [sandbox(ID, "PAUSED"), sandbox(ID, "PAUSED"), sandbox(ID, "PAUSED"), running(server)];
    let cloud = Faulty::start(made(), looks).await;
    for status in [503, 429] {
        let resume = Mock::given(method("POST")).and(path(format!("/api/v1/sandboxes/{ID}/resume")));
        let resume = resume.respond_with(ResponseTemplate::new(status)).up_to_n_times(1).with_priority(1);
        resume.mount(&cloud.server).await;
    }
    cloud.builder().sandbox_id(ID).open().await.unwrap().close().await.unwrap();
    assert_eq!(cloud.deleted(), [ID]);
}

/// The limits are long: 60 s of silence for a transfer, for a command two requests of 40 s about it or 120 s
/// for its output.
#[tokio::test]
async fn a_frozen_agent_server_ends_commands_and_copies_in_bounded_time() {
    let server = &AgentServer::lent(NEWEST).await;
    let cloud = Faulty::start(made(), [running(server)]).await;
    let big = server.working_dir().join("big");
    std::fs::File::create(&big).unwrap().set_len(1 << 30).unwrap();
    let there = format!("{ID}:{}", big.display());
    let (scale, limits) = (time_scale(0.2), ["stalled", "request", "busy_request", "setup_budget"]);
    let command = cloud.outside().args(["exec"]).scaled(scale, limits);
    let command = command.args(["--sandbox", ID, "--", "echo begun; sleep 600"]).start();
    command.says("is ready").await;
    let copy = || cloud.outside().args(["cp", &there, "copy"]).scaled(scale, limits).start();
    let (copies, part) = ([copy(), copy()], |copy: &Running| {
        let mut names = std::fs::read_dir(copy.path("")).unwrap().flatten();
        names.any(|name| name.file_name().to_string_lossy().ends_with(".part"))
    });
    while !copies.iter().all(part) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.freeze();
    let frozen = Instant::now();
    let [copy, interrupted] = copies;
    interrupted.signal(Signal::SIGINT);
    let interrupted = interrupted.finish().await.exits_with(130);
    assert_eq!(std::fs::read_dir(interrupted.path("")).unwrap().count(), 0, "a part is left");
    let (command, copy) = tokio::join!(command.finish(), copy.finish());
    command.exits_with(69).says("within the time limit of the request");
    let copy = copy.exits_with(69).says("within the time limit of the request");
    assert_eq!(std::fs::read_dir(copy.path("")).unwrap().count(), 0, "a part is left");
    assert!(frozen.elapsed() < Duration::from_secs(150).mul_f64(scale), "{:?}", frozen.elapsed());
    server.thaw();
}

/// A frozen sandbox is left soon, by one signal and by two, also while the command is being started.
#[tokio::test]
async fn signals_end_a_command_in_a_frozen_sandbox_in_bounded_time() {
    let server = &AgentServer::lent(NEWEST).await;
    for twice in [false, true] {
        let begun = Begun::start(server).await;
        while !begun.marker.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let starting = Begun::start(server).await;
        server.freeze();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let left = tokio::join!(begun.ended_by_signals(twice), starting.ended_by_signals(twice));
        server.thaw();
        tokio::join!(remove(left.0), remove(left.1));
    }
}

/// A command in a new sandbox, which writes a file when it begins.
struct Begun {
    cloud: Faulty,
    running: Running,
    marker: PathBuf,
}

impl Begun {
    /// Started as far as to the moment in which the sandbox is ready.
    async fn start(server: &AgentServer) -> Self {
        let cloud = Faulty::start(made(), [running(server)]).await;
        let marker = server.working_dir().join("begun");
        let run = cloud.outside().args(["exec"]).scaled(time_scale(0.3), ["tidy_up"]);
        let running = run.args(["--", &format!("touch {}; sleep 100", marker.display())]).start();
        running.says("is ready").await;
        Self { cloud, running, marker }
    }

    /// The folder that is left in the sandbox.
    async fn ended_by_signals(self, twice: bool) -> String {
        let signalled = Instant::now();
        self.running.signal(Signal::SIGINT);
        if twice {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.running.signal(Signal::SIGTERM);
        }
        let ended = self.running.finish().await.exits_with(130);
        let limit = if twice { Duration::from_secs(5) } else { Duration::from_secs(20).mul_f64(time_scale(0.3)) };
        assert!(signalled.elapsed() < limit, "{:?}", signalled.elapsed());
        let ended = if twice {
            assert!(self.cloud.deleted().is_empty());
            ended.says(&format!("sandbox {ID} may be left"))
        } else {
            assert_eq!(self.cloud.deleted(), [ID]);
            ended.says("no response within")
        };
        let start = ended.stderr.find("/tmp/sandbox-command-").expect("it does not say what is left");
        ended.stderr[start..].split(['"', ' ', '\n']).next().unwrap().to_owned()
    }
}

/// What is left would be gone with a sandbox.
async fn remove(folder: String) {
    let remove = format!("exec 2>/dev/null; sleep 2; kill -KILL -- -$(cat {folder}/pid); rm -rf {folder}");
    let removed = tokio::process::Command::new("sh").args(["-c", &remove]).status().await.unwrap();
    assert!(removed.success());
}

#[tokio::test]
async fn a_signal_ends_a_command_whose_output_nobody_reads() {
    let server = AgentServer::shared(NEWEST).await;
    // A JSON object is written at the end.
    for (format, last) in [("text", "sleep 600"), ("json", "true")] {
        let cloud = Faulty::start(made(), [running(server)]).await;
        let (marker, (reader, writer)) = (server.working_dir().join(format), std::io::pipe().unwrap());
        let line = format!("seq 300000; touch {}; {last}", marker.display());
        let running = cloud.outside().args(["exec", "--format", format, "--", &line]).command(|command| {
            command.stdout(writer);
        });
        let running = running.start();
        while !marker.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // By now the pipe is full.
        tokio::time::sleep(Duration::from_secs(3)).await;
        running.signal(Signal::SIGINT);
        let ended = tokio::time::timeout(Duration::from_secs(30), running.finish()).await.expect("it continues");
        ended.exits_with(130).says("sandbox deleted");
        drop(reader);
    }
}
