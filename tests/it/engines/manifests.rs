//! The files of `examples/engines` against what the engines accept, and against the runner.

use std::fs;
use std::process::Command;

use crate::support::repository;
use crate::support::{AgentServer, NEWEST, Run};

const FOLDER: &str = "examples/engines";

#[test]
fn kubernetes_and_github_accept_their_manifests() {
    let validate = |path: &std::path::Path| {
        Command::new(repository::file("scripts/validate-manifests")).arg(path).output().unwrap()
    };
    let checked = validate(&repository::file(FOLDER));
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));

    // The validators see a mistake.
    let folder = tempfile::tempdir().unwrap();
    for (name, right, wrong) in
        [("kubernetes.yaml", "backoffLimitPerIndex", "backoffLimitPerRow"), ("github.yml", "fail-fast", "fail-early")]
    {
        for name in ["kubernetes.yaml", "github.yml"] {
            fs::copy(repository::file(FOLDER).join(name), folder.path().join(name)).unwrap();
        }
        let path = folder.path().join(name);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(right), "{name}");
        fs::write(&path, text.replace(right, wrong)).unwrap();
        let checked = validate(folder.path());
        assert!(!checked.status.success(), "{name} with `{wrong}` is accepted");
    }
}

#[tokio::test]
async fn the_task_of_the_examples_fits_each_of_its_rows() {
    let server = AgentServer::shared(NEWEST).await;
    let folder = repository::file(FOLDER);
    let path = |name: &str| folder.join(name).display().to_string();
    let check = Run::inside(server).env("LLM_MODEL", "m").env("LLM_API_KEY", "sk-key-of-the-test");
    let checked = check.args(["check", &path("task.md"), "--rows", &path("rows.csv")]).finish().await.exits_with(0);
    assert!(checked.stdout.contains("8 in "), "{}", checked.stdout);
}
