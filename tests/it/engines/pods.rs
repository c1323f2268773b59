//! Containers do what the indexed Job of `examples/engines/kubernetes.yaml` would: each has one of the indexes, the arguments of the manifest,
//! and the volumes. This test restarts a pod by the Job's rules.

use std::fs;
use std::net::TcpListener;

use futures_util::StreamExt as _;
use serde::Deserialize as _;
use serde_json::Value;
use tokio::process::Command;

use super::eight_rows::{self, EightRows};
use crate::support::engine::Engine;
use crate::support::repository;

/// The Job of the manifest.
fn job() -> Value {
    let text = fs::read_to_string(repository::file("examples/engines/kubernetes.yaml")).unwrap();
    let documents = yaml_serde::Deserializer::from_str(&text).map(|document| Value::deserialize(document).unwrap());
    documents.into_iter().find(|document| document["kind"] == "Job").unwrap()
}

/// One pod of the Job; its exit code.
async fn pod(engine: &Engine, job: &Value, rows: &EightRows, index: u64) -> i64 {
    let home = rows.home.path();
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    // The pods share this machine's network, and each server needs a port of its own.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = format!("{} --port {port}", eight_rows::server_program());
    let arguments = container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap());
    let arguments: Vec<String> =
        arguments.map(|argument| argument.replace("agent-server --port 60000", &server)).collect();

    let mut command = Command::new(engine.command_line());
    command.args(["run", "--rm", "--network", "host", "--entrypoint", "/openhands-runner"]);
    let folder = |from: &str, to: &str| format!("{}:{to}", home.join(from).display());
    let program = format!("{}:/openhands-runner:ro", env!("CARGO_BIN_EXE_openhands-runner"));
    let own = [program, folder("batch", "/batch:ro"), folder("results", "/results")];
    for volume in Engine::volumes().into_iter().chain(own) {
        command.args(["--volume", &volume]);
    }
    for (name, value) in rows.environment().into_iter().filter(|(name, _)| *name != "HOME") {
        command.args(["--env", &format!("{name}={value}")]);
    }
    for variable in container["env"].as_array().unwrap() {
        let [name, value] = ["name", "value"].map(|field| variable[field].as_str().unwrap());
        command.args(["--env", &format!("{name}={value}")]);
    }
    command.args(["--env", &format!("AGENT_SERVER_PORT={port}"), "--env", &format!("JOB_COMPLETION_INDEX={index}")]);
    command.arg(&engine.server_image).args(arguments);
    let ended = command.kill_on_drop(true).output().await.unwrap();
    fs::write(home.join(format!("pod-{index}.log")), &ended.stderr).unwrap();
    ended.status.code().unwrap().into()
}

#[tokio::test]
async fn the_pods_of_an_indexed_job_run_each_row() {
    let engine = Engine::shared().await;
    let (rows, job) = (EightRows::new().await, job());
    let home = rows.home.path();
    for folder in ["batch", "results"] {
        fs::create_dir(home.join(folder)).unwrap();
    }
    for file in ["task.md", "rows.csv"] {
        fs::rename(home.join(file), home.join("batch").join(file)).unwrap();
    }
    let number = |field: &str| job["spec"][field].as_u64().unwrap();
    let at_a_time = usize::try_from(number("parallelism")).unwrap();
    let pods = (0..number("completions")).map(|index| {
        let (job, rows) = (&job, &rows);
        async move { (index, pod(engine, job, rows, index).await) }
    });
    let ended: Vec<(u64, i64)> = futures_util::stream::iter(pods).buffer_unordered(at_a_time).collect().await;
    for (index, code) in ended {
        assert_eq!(code, i64::from(index == 3), "pod {index}: {}", rows.logs());
    }
    rows.are_joined("results/batch").await;

    // The failure of the agent ends its index, and no other failure does.
    let rules = job["spec"]["podFailurePolicy"]["rules"].as_array().unwrap();
    let ends = rules.iter().find(|rule| rule["action"] == "FailIndex").unwrap();
    let codes: Vec<i64> = ends["onExitCodes"]["values"].as_array().unwrap().iter().filter_map(Value::as_i64).collect();
    assert_eq!(codes, [1, 2, 78, 124]);
    // A pod that is started again for a row that has completed changes nothing.
    let calls = rows.llm.calls().len();
    assert_eq!(pod(engine, &job, &rows, 0).await, 0, "{}", rows.logs());
    assert_eq!(rows.llm.calls().len(), calls);
}
