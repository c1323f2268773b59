//! The Python wheel, from a package index.

use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use crate::support::automation_service::{Automation, profile};
use crate::support::file_server::FileServer;
use crate::support::release::{Release, succeeds, without_rust};
use crate::support::{AgentServer, AutomationService, NEWEST, Run, ScriptedLlm, Step, repository};

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

/// What the image of a sandbox with uv and this index sets.
fn image(index: &Index) -> String {
    let (uv, python) = (uv(), python());
    let folders = [&uv, &python].map(|program| program.parent().unwrap().display().to_string());
    format!("PATH={}:/usr/local/bin:/usr/bin:/bin UV_DEFAULT_INDEX={}", folders.join(":"), index.url())
}

/// An LLM that says hello, and the name of its profile.
async fn greeting(server: &AgentServer) -> (ScriptedLlm, String) {
    let llm = ScriptedLlm::start(0).await.unwrap();
    let arguments = json!({"message": "said", "status": "success", "outcome_summary": "Said hello."});
    llm.script("Say hello", [Step::call("finish", arguments)]);
    let profile = profile(server, &llm).await;
    (llm, profile)
}

async fn completes(automation: Automation<'_>) {
    let ended = automation.dispatch().await.ended().await;
    assert_eq!(ended["status"], "COMPLETED", "{ended:#}");
    assert_eq!(ended["run_metadata"]["finish_tool_response"]["outcome_summary"], "Said hello.", "{ended:#}");
}

#[tokio::test]
async fn what_automation_create_packs_installs_the_wheel_on_each_version_of_the_service() {
    let index = Index::with_the_wheel().await;
    let (_llm, profile) = greeting(AgentServer::shared(NEWEST).await).await;
    let (older, newest) = tokio::join!(AutomationService::shared(), AutomationService::newest());
    for service in [older, newest] {
        let created = Run::scheduled_by(service).file("task.md", "Say hello.");
        let created = created.args(["automation", "create", "--cron", "0 0 1 1 *", "--timeout", "4m"]);
        let created = created.args(["--profile", &profile, "--format", "json"]).finish().await.exits_with(0).json();
        let automation = service.automation(created["id"].as_str().unwrap()).await.with_content(|content| {
            let file = content.join("setup.sh");
            let setup = std::fs::read_to_string(&file).unwrap();
            std::fs::write(file, format!("export {}\n{setup}", image(&index))).unwrap();
        });
        completes(automation).await;
    }
}

/// An automation of the service's own preset whose sandbox has uv and this index completes with this entrypoint, and without `setup.sh`.
async fn completes_as(entrypoint: &str) {
    let index = Index::with_the_wheel().await;
    let (server, service) = tokio::join!(AgentServer::shared(NEWEST), AutomationService::shared());
    let (_llm, profile) = greeting(server).await;
    let body = json!({
        "name": "From a wheel",
        "prompt": "Say hello",
        "model": profile,
        "trigger": {"type": "cron", "schedule": "0 0 1 1 *"},
        "timeout": 240,
    });
    let automation = service.preset("prompt", body).await;
    let automation = automation.with_content(|content| std::fs::remove_file(content.join("setup.sh")).unwrap());
    automation.change(json!({"entrypoint": entrypoint.replace("IMAGE", &image(&index))})).await;
    completes(automation).await;
}

#[tokio::test]
async fn uv_tool_run_is_an_entrypoint_of_an_automation() {
    completes_as("exec env IMAGE uv tool run openhands-runner").await;
}
