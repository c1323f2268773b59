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
