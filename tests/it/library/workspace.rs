//! The operations of a workspace.

use std::path::Path;
use std::process::Command as Process;
use std::time::Duration;

use openhands_client::CloudWorkspace;
use openhands_client::sandbox::exec::{Command, Exit};
use serde_json::Value;

use super::open;
use crate::support::cloud_server::API_KEY;
use crate::support::{AgentServer, CloudServer};

crate::on_newest_and_oldest!(
    commands_give_exit_code_and_output,
    files_are_uploaded_from_paths_and_bytes_and_downloaded,
    changes_in_a_git_repository_are_listed_and_shown,
);

async fn commands_give_exit_code_and_output(server: &AgentServer) {
    let workspace = open(server).await;
    let result = workspace.execute_command("echo to stdout; echo to stderr >&2; exit 7").await.unwrap();
    assert_eq!(result.exit_code(), Some(7));
    assert_eq!((result.stdout_text().as_str(), result.stderr_text().as_str()), ("to stdout\n", "to stderr\n"));
    assert!(!result.is_success());
    let command = Command::program(["sh", "-c", "echo $A; pwd; sleep 600"]).env("A", "x y").directory("/");
    let result = workspace.execute_command(command.limit(Duration::from_secs(2))).await.unwrap();
    assert_eq!((result.exit, result.exit_code()), (Exit::TimedOut, None));
    assert_eq!(result.stdout_text(), "x y\n/\n");
}

async fn files_are_uploaded_from_paths_and_bytes_and_downloaded(server: &AgentServer) {
    let (workspace, here, there) = (open(server).await, tempfile::tempdir().unwrap(), server.working_dir());
    let there = there.to_str().unwrap();
    let local = |name: &str| here.path().join(name);
    std::fs::create_dir_all(local("data/deep")).unwrap();
    std::fs::write(local("data/deep/file"), "content").unwrap();
    assert_eq!(workspace.upload(local("data"), &format!("{there}/data")).await.unwrap().files, 1);
    workspace.upload_bytes(&b"one line\n"[..], &format!("{there}/new/line")).await.unwrap();
    assert_eq!(workspace.download_bytes(&format!("{there}/new/line")).await.unwrap(), "one line\n");
    workspace.download(&format!("{there}/data"), local("back")).await.unwrap();
    assert_eq!(std::fs::read_to_string(local("back/deep/file")).unwrap(), "content");
    workspace.download(&format!("{there}/new/line"), local("line")).await.unwrap();
    assert_eq!(std::fs::read_to_string(local("line")).unwrap(), "one line\n");
    let missing = workspace.download_bytes(&format!("{there}/none")).await.unwrap_err();
    assert!(format!("{missing:?}").contains("404"), "{missing:?}");
}

fn git(directory: &Path, arguments: &[&str]) {
    let mut git = Process::new("git");
    git.args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]);
    assert!(git.arg("-C").arg(directory).args(arguments).output().unwrap().status.success(), "{arguments:?}");
}

async fn changes_in_a_git_repository_are_listed_and_shown(server: &AgentServer) {
    let (workspace, directory) = (open(server).await, server.working_dir());
    let repository = directory.join("repository");
    std::fs::create_dir(directory.join("origin")).unwrap();
    git(&directory, &["init", "origin"]);
    std::fs::write(directory.join("origin/old.txt"), "before\n").unwrap();
    git(&directory.join("origin"), &["add", "."]);
    git(&directory.join("origin"), &["commit", "-m", "first"]);
    git(&directory, &["clone", "origin", "repository"]);
    std::fs::write(repository.join("old.txt"), "after\n").unwrap();
    std::fs::write(repository.join("new.txt"), "new\n").unwrap();

    let mut changes = workspace.git_changes(repository.to_str().unwrap()).await.unwrap();
    changes.sort_by(|one, other| one.path.cmp(&other.path));
    let changes: Vec<_> = changes.iter().map(|change| (change.status.as_str(), change.path.as_str())).collect();
    assert_eq!(changes, [("ADDED", "new.txt"), ("UPDATED", "old.txt")]);
    let diff = workspace.git_diff(repository.join("old.txt").to_str().unwrap()).await.unwrap();
    let text = |content: &Option<String>| content.clone().unwrap_or_default().trim_end().to_owned();
    assert_eq!((text(&diff.original), text(&diff.modified)), ("before".to_owned(), "after".to_owned()));
}

#[tokio::test]
async fn a_sandbox_that_is_kept_alive_is_paused_and_resumed_by_its_id() {
    let cloud = &CloudServer::lent().await;
    let builder = || CloudWorkspace::builder(API_KEY).url(cloud.url().parse().unwrap());
    let workspace = builder().keep_alive(true).open().await.unwrap();
    let id = workspace.id().to_string();
    workspace.close().await.unwrap();

    let mut workspace = builder().sandbox_id(&id).keep_alive(true).open().await.unwrap();
    workspace.pause().await.unwrap();
    assert_eq!(cloud.sandboxes().await[0]["status"], "PAUSED");
    workspace.resume().await.unwrap();
    workspace.pause().await.unwrap();
    drop(workspace);

    // A paused one is resumed when it is opened; at the end this one is deleted.
    let workspace = builder().sandbox_id(&id).open().await.unwrap();
    assert_eq!(workspace.execute_command("echo here").await.unwrap().stdout_text(), "here\n");
    workspace.close().await.unwrap();
    assert_eq!(cloud.sandboxes().await, Vec::<Value>::new());
}
