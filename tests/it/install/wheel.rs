//! The Python wheel, from a package index.

use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use crate::support::file_server::FileServer;
use crate::support::release::{Release, succeeds, without_rust};
use crate::support::{
    AgentServer, AutomationService, NEWEST, ScriptedLlm, Step, automation_service::profile, repository,
};

/// A package index with the wheel and nothing else.
struct Index {
    _folder: TempDir,
    server: FileServer,
}

impl Index {
    async fn with_the_wheel() -> Self {
        let wheel = Release::built().await.wheel();
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("simple/openhands-runner");
        std::fs::create_dir_all(&project).unwrap();
        std::fs::copy(&wheel, project.join(wheel.file_name().unwrap())).unwrap();
        let server = FileServer::start(folder.path());
        Self { _folder: folder, server }
    }

    fn url(&self) -> String {
        self.server.url("/simple")
    }
}

/// The uv that installs the environments of the tests.
fn uv() -> PathBuf {
    let tools = std::fs::read_dir(repository::file("target/python")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = tools.map(|folder| folder.join("bin/uv")).filter(|uv| uv.exists()).collect();
    found.pop().expect("the environments of the tests are installed with uv")
}

fn python() -> PathBuf {
    repository::file(format!("target/python/agent-server-{NEWEST}/bin/python"))
}

async fn version(program: &Path) -> String {
    let mut command = without_rust(program, Path::new("/"));
    command.arg("--version");
    succeeds(command).await
}

#[tokio::test]
async fn uv_and_pip_install_the_wheel_into_fresh_environments_and_it_runs() {
    // The python of the environment.
    AgentServer::shared(NEWEST).await;
    let index = Index::with_the_wheel().await;
    let home = tempfile::tempdir().unwrap();
    let by_pip = home.path().join("pip/bin");
    let mut command = without_rust(python(), home.path());
    command.args(["-m", "venv", "pip"]);
    succeeds(command).await;
    let mut command = without_rust(by_pip.join("pip"), home.path());
    command.args(["install", "--disable-pip-version-check", "--index-url", &index.url(), "openhands-runner"]);
    succeeds(command).await;

    let by_uv = home.path().join("uv/bin");
    let mut command = without_rust(uv(), home.path());
    command.args(["venv", "uv", "--python"]).arg(python());
    succeeds(command).await;
    let mut command = without_rust(uv(), home.path());
    command.args(["pip", "install", "--default-index", &index.url(), "openhands-runner"]);
    command.env("VIRTUAL_ENV", home.path().join("uv"));
    succeeds(command).await;

    let expected = format!("openhands-runner {}", env!("CARGO_PKG_VERSION"));
    for folder in [by_pip, by_uv] {
        let shown = version(&folder.join("openhands-runner")).await;
        assert!(shown.starts_with(&expected), "{shown}");
        super::runs(&folder.join("openhands-runner")).await;
    }
}

#[tokio::test]
async fn the_wheel_is_for_each_libc_and_has_a_bill_of_materials() {
    let wheel = Release::built().await.wheel();
    let name = wheel.file_name().unwrap().to_str().unwrap();
    for tag in ["manylinux_2_17_x86_64", "manylinux2014_x86_64", "musllinux_1_1_x86_64"] {
        assert!(name.contains(tag), "{name}");
    }
    assert!(wheel.metadata().unwrap().len() < 4_000_000, "{} bytes", wheel.metadata().unwrap().len());
    let mut command = without_rust("python3", Path::new("/"));
    command.args(["-m", "zipfile", "--list"]).arg(&wheel);
    let list = succeeds(command).await;
    let script = format!("openhands_runner-{}.data/scripts/openhands-runner ", env!("CARGO_PKG_VERSION"));
    assert!(list.contains(&script), "{list}");
    assert!(list.contains(".dist-info/sboms/openhands-runner.cyclonedx.json "), "{list}");
}

/// An automation of the service's own preset whose sandbox has uv and this index completes with this entrypoint, and this `setup.sh`.
async fn completes_as(entrypoint: &str, setup: Option<&str>) {
    let index = Index::with_the_wheel().await;
    let (server, service) = tokio::join!(AgentServer::shared(NEWEST), AutomationService::shared());
    let llm = ScriptedLlm::start(0).await.unwrap();
    let arguments = json!({"message": "said", "status": "success", "outcome_summary": "Said hello."});
    llm.script("Say hello", [Step::call("finish", arguments)]);
    let body = json!({
        "name": "From a wheel",
        "prompt": "Say hello",
        "model": profile(server, &llm).await,
        "trigger": {"type": "cron", "schedule": "0 0 1 1 *"},
        "timeout": 240,
    });
    // What the image of a sandbox has.
    let path = format!(
        "PATH={}:{}:/usr/local/bin:/usr/bin:/bin",
        uv().parent().unwrap().display(),
        python().parent().unwrap().display()
    );
    let image = format!("{path} UV_DEFAULT_INDEX={}", index.url());
    let automation = service.preset("prompt", body).await.with_content(|content| {
        let file = content.join("setup.sh");
        match setup {
            Some(setup) => std::fs::write(file, format!("export {image}\n{setup}\n")).unwrap(),
            None => std::fs::remove_file(file).unwrap(),
        }
    });
    automation.change(json!({"entrypoint": entrypoint.replace("IMAGE", &image)})).await;
    let ended = automation.dispatch().await.ended().await;
    assert_eq!(ended["status"], "COMPLETED", "{ended:#}");
    assert_eq!(ended["run_metadata"]["finish_tool_response"]["outcome_summary"], "Said hello.", "{ended:#}");
}

#[tokio::test]
async fn uv_tool_run_is_an_entrypoint_of_an_automation() {
    completes_as("exec env IMAGE uv tool run openhands-runner", None).await;
}

#[tokio::test]
async fn a_setup_of_one_line_installs_the_wheel_for_an_entrypoint_that_is_the_program_itself() {
    completes_as("exec ./openhands-runner", Some("UV_TOOL_BIN_DIR=$PWD uv tool install --quiet openhands-runner"))
        .await;
}
