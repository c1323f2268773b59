//! On a real container engine: the image of the Dockerfile, the duties of PID 1, and the provider of sandboxes.

use nix::sys::signal::Signal::SIGKILL;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use openhands_client::http::Network;
use openhands_client::sandbox::Provider as _;
use openhands_client::sandbox::providers::docker::Docker;

use crate::faults::Work;
use crate::faults::container::program_under;
use crate::providers::lifecycle;
use crate::support::agent_server::STARTING;
use crate::support::engine::Engine;
use crate::support::run::Running;
use crate::support::{AgentServer, NEWEST, Run, Step};

/// A user without an entry in any list of users, who may not change anything.
const NARROW: [&str; 8] = [
    "--read-only",
    "--user",
    "12345:12345",
    "--cap-drop",
    "all",
    "--pids-limit",
    "50",
    "--security-opt=no-new-privileges",
];

fn a_name() -> String {
    format!("openhands-runner-test-{}", uuid::Uuid::new_v4())
}

fn pid_1(engine: &Engine, container: &str) -> Pid {
    Pid::from_raw(engine.call(&["inspect", "--format", "{{.State.Pid}}", container]).parse().unwrap())
}

#[tokio::test]
async fn the_image_of_the_dockerfile_runs_a_task_and_needs_nothing_of_its_container() {
    let (engine, server) = (Engine::shared().await, AgentServer::shared(NEWEST).await);
    let image = engine.runner_image().await;
    let work = Work::on(server).await;
    work.llm.script("Do the task", [Step::finish("Done.")]);
    let name = a_name();
    let run = work.run_without_arguments(server).args(["run", "task.md"]).in_container(engine, &name, &NARROW, image);
    let finished = run.finish().await.exits_with(0);
    assert_eq!(finished.stdout, "Done.\n");
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
    assert!(!engine.has(&name));
}

/// A run in a container of this name, whose agent waits at its second step.
async fn held_in_a_container(engine: &Engine) -> (Work, String, Running) {
    let server = AgentServer::shared(NEWEST).await;
    let image = engine.runner_image().await;
    let work = Work::on(server).await;
    work.hold_at("2");
    let name = a_name();
    let run = work.run_without_arguments(server).args(["run", "task.md"]).in_container(engine, &name, &NARROW, image);
    let running = run.start();
    work.reach("2").await;
    (work, name, running)
}

#[tokio::test]
async fn a_container_that_is_stopped_reports_before_it_ends() {
    let engine = Engine::shared().await;
    let (work, name, running) = held_in_a_container(engine).await;
    engine.call(&["stop", "--time", "60", &name]);
    running.finish().await.exits_with(143);
    work.failed_with("Terminated");
}

#[tokio::test]
async fn a_program_that_is_killed_in_its_container_goes_on() {
    let engine = Engine::shared().await;
    let (work, name, running) = held_in_a_container(engine).await;
    kill(program_under(pid_1(engine, &name)), SIGKILL).unwrap();
    running.says_times(" is ready", 2).await;
    work.let_go("2");
    running.finish().await.exits_with(0).says("resuming a run whose runner died");
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
}

/// A whole run in a container of this name, with an agent-server of its own. It takes its turn at the start of servers.
async fn whole_run_in_a_container(engine: &Engine, work: &Work, server: &AgentServer, options: &[&str]) -> Running {
    let mut options: Vec<String> = options.iter().map(ToString::to_string).collect();
    options.extend(Engine::volumes().into_iter().flat_map(|volume| ["--volume".to_owned(), volume]));
    let mut run = work.run_without_arguments(server);
    for (name, value) in server.environment() {
        run = run.env(&name, value);
    }
    let program = run.binary();
    options.extend(["--entrypoint".to_owned(), program.to_str().unwrap().to_owned()]);
    let run = run.args(["run", "--server-command", &server.command(), "--server-log", "server.log", "task.md"]);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let _turn = STARTING.lock().await;
    let running = run.in_container(engine, &a_name(), &options, &engine.server_image).start();
    running.says(" is ready").await;
    running
}

#[tokio::test]
async fn a_container_with_runner_and_agent_server_does_a_whole_run() {
    let engine = Engine::shared().await;
    let server = AgentServer::not_started(NEWEST);
    let work = Work::on(&server).await;
    work.takes(2);
    let running = whole_run_in_a_container(engine, &work, &server, &["--pids-limit", "400", "--read-only"]).await;
    running.finish().await.exits_with(0);
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
    assert_eq!(std::fs::read_to_string(work.working_dir.join("steps.txt")).unwrap(), "1\n2\n");
}

/// A container with this much memory, in which the agent takes all of it.
const LITTLE_MEMORY: [&str; 4] = ["--memory", "900m", "--memory-swap", "900m"];
const ALL_MEMORY: &str = "python3 -c 'import os; whole = bytearray(4 << 30)'; echo \"ended with $?\" >>ended.txt";

#[tokio::test]
async fn a_command_that_takes_all_memory_of_the_container_is_not_the_end_of_the_run() {
    let engine = Engine::shared().await;
    let server = AgentServer::not_started(NEWEST);
    let work = Work::on(&server).await;
    work.llm.script("Do the task", [Step::patient_terminal(ALL_MEMORY), Step::finish("Done.")]);
    let running = whole_run_in_a_container(engine, &work, &server, &LITTLE_MEMORY).await;
    running.finish().await.exits_with(0);
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
    assert_eq!(std::fs::read_to_string(work.working_dir.join("ended.txt")).unwrap(), "ended with 137\n");
}

#[tokio::test]
async fn an_agent_server_that_is_killed_for_its_containers_memory_fails_the_run() {
    let engine = Engine::shared().await;
    let server = AgentServer::not_started(NEWEST);
    let work = Work::on(&server).await;
    // The kernel takes the process with the highest score.
    let first = "for process in /proc/[0-9]*; do tr '\\0' ' ' <$process/cmdline | grep -q openhands.agent_server && \
                 echo 1000 >$process/oom_score_adj; done";
    work.llm.script("Do the task", [Step::patient_terminal(&format!("{first}; {ALL_MEMORY}")), Step::finish("Done.")]);
    let running = whole_run_in_a_container(engine, &work, &server, &LITTLE_MEMORY).await;
    running.finish().await.exits_with(69);
    let report = work.failed_with("AgentServerUnreachable");
    assert!(report["error"]["detail"].as_str().unwrap().contains("signal 9"), "{report}");
}

#[tokio::test]
async fn a_sandbox_in_a_real_container_goes_through_its_life() {
    let engine = Engine::shared().await;
    let mut provider = Docker::new(&Network::default()).unwrap();
    provider.program = engine.command_line();
    provider.server_image.clone_from(&engine.server_image);
    provider.volumes = Engine::volumes();
    let _turn = STARTING.lock().await;
    lifecycle(provider.clone()).await;
    assert_eq!(provider.made_since(&()).await.unwrap(), []);
}

#[tokio::test]
async fn the_command_line_works_in_real_containers() {
    let engine = Engine::shared().await;
    let (llm, url) = engine.llm().await;
    llm.script("Write a file", [Step::terminal("echo content >file.txt; cat file.txt"), Step::finish("Written.")]);
    let volumes = Engine::volumes();
    let docker = |words: &[&str]| {
        let run = Run::new().env("PATH", engine.path()).env("LLM_MODEL", "openai/scripted");
        let run = run.env("LLM_API_KEY", "sk-scripted-key");
        let run = run.env("LLM_BASE_URL", &url).env("WORKSPACE_BASE", "/tmp/project");
        run.file("task.md", "Write a file.").command(|command| {
            command.args(words);
        })
    };
    let new: Vec<&str> = ["--workspace", "docker", "--image", &engine.server_image]
        .into_iter()
        .chain(volumes.iter().flat_map(|volume| ["--volume", volume]))
        .collect();
    let _turn = STARTING.lock().await;

    let run = docker(&[&["run", "--format", "json", "--out", "out", "task.md"], &new[..]].concat()).finish().await;
    let result = run.exits_with(0).says("sandbox deleted");
    let id = result.json()["sandbox_id"].as_str().unwrap().to_owned();
    assert_eq!((result.json()["message"].as_str(), engine.has(&id)), (Some("Written."), false));
    assert!(result.path("out/result.json").exists());

    // One container for what follows: the next command takes the one that the first has made.
    let created = docker(&[&["sandbox", "create"], &new[..]].concat()).finish().await.exits_with(0);
    let (id, at) = (created.stdout.trim(), ["--workspace", "docker"]);
    let there = format!("{id}:/tmp/there");
    docker(&[&["cp", "task.md", &there], &at[..]].concat()).finish().await.exits_with(0);
    let exec = docker(&[&["exec", "--sandbox", id], &at[..], &["--", "cat /tmp/there"]].concat()).finish().await;
    assert_eq!(exec.exits_with(0).stdout, "Write a file.");
    let launch = docker(&[&["launch", "task.md", "--wait", "--out", "out", "--sandbox", id], &at[..]].concat());
    let launched = launch.finish().await.exits_with(0);
    assert_eq!(launched.stdout, "Written.\n");
    assert!(launched.path("out/result.json").exists());
    docker(&[&["sandbox", "delete", id], &at[..]].concat()).finish().await.exits_with(0);
    assert!(!engine.has(id));
}

/// The containers of an agent-server that makes one for each conversation.
struct ConversationContainers<'e> {
    engine: &'e Engine,
    /// Has a program that stands in for the docker CLI.
    folder: tempfile::TempDir,
    label: String,
}

impl<'e> ConversationContainers<'e> {
    fn of(engine: &'e Engine) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let label = format!("openhands-runner-test={}", uuid::Uuid::new_v4());
        // The files of the image, no name that podman does not know, and no file of the server in the agent's workspace.
        let volumes = format!("--volume {}", Engine::volumes().join(" --volume "));
        let script = format!(
            r#"#!/usr/bin/env bash
[ "$1" = run ] || exec {0} "$@"
arguments=()
for argument in "${{@:2}}"; do
    case $argument in
        --add-host | *:host-gateway | core=0) ;;
        *) arguments+=("$argument") ;;
    esac
done
exec {0} run --label {label} {volumes} --env OH_BASH_EVENTS_DIR=/tmp/bash_events "${{arguments[@]}}"
"#,
            engine.command_line().display()
        );
        let program = folder.path().join("docker");
        std::fs::write(&program, script).unwrap();
        let permissions = std::fs::metadata(engine.command_line()).unwrap().permissions();
        std::fs::set_permissions(program, permissions).unwrap();
        Self { engine, folder, label }
    }
}

impl Drop for ConversationContainers<'_> {
    fn drop(&mut self) {
        let label = format!("label={}", self.label);
        for id in self.engine.call(&["ps", "--all", "--quiet", "--filter", &label]).lines() {
            self.engine.output(&["rm", "--force", id]);
        }
    }
}

#[tokio::test]
async fn setup_checks_and_salvage_are_in_the_container_of_the_conversation() {
    let engine = Engine::shared().await;
    let containers = ConversationContainers::of(engine);
    let (llm, url) = engine.llm().await;
    let mut server = AgentServer::not_started(NEWEST);
    server.more_variables = vec![
        format!("PATH={}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", containers.folder.path().display()),
        "OH_CONVERSATION_RUNTIME=docker".to_owned(),
        format!("OH_CONVERSATION_IMAGE={}", engine.server_image),
        "OH_SECRET_KEY=key-of-the-conversations".to_owned(),
    ];
    llm.script("Do the task", [Step::finish("Done.")]);
    llm.script("These checks failed", [Step::terminal("pwd >done.txt"), Step::finish("Now it is done.")]);
    let working_dir = server.working_dir();
    assert!(std::process::Command::new("git").args(["init", "-q"]).arg(&working_dir).status().unwrap().success());
    let _turn = STARTING.lock().await;
    server.launch();
    server.await_ready().await;

    let task = "---\nsetup: ['pwd >setup.txt']\nchecks: [cat done.txt]\ncollect: ['*.txt']\n---\nDo the task.";
    let run = Run::inside(&server).llm(&llm).env("LLM_BASE_URL", &url).env("WORKSPACE_BASE", &working_dir);
    let run = run.file("task.md", task).args(["run", "--out", "out", "--format", "json", "task.md"]);
    let finished = run.finish().await;
    assert_eq!(finished.code, Some(0), "{}\nthe server says:\n{}", finished.stderr, server.log());
    let finished = finished.says("the conversation has a container of its own");
    let result = finished.json();
    assert_eq!((&result["setup"][0]["status"], &result["check_attempts"]), (&"passed".into(), &2.into()), "{result:#}");
    assert_eq!(result["checks"][0]["output"], "/workspace", "{result:#}");
    assert_eq!((&result["patch"]["files"], &result["collected"]["files"]), (&2.into(), &2.into()), "{result:#}");
    let kept = |name: &str| std::fs::read_to_string(finished.path("out/collected").join(name)).unwrap();
    assert_eq!((kept("setup.txt"), kept("done.txt")), ("/workspace\n".to_owned(), "/workspace\n".to_owned()));
    // Nothing of ours is left among the agent's files.
    let mut left: Vec<_> = std::fs::read_dir(&working_dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".git", "done.txt", "setup.txt"]);
}
