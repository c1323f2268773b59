//! Fire and forget: a sandbox is made and kept, the runner and a task are put into it and started, and we go. The run's outcome
//! arrives at the callback, if one is set. `openhands-runner launch` does the same.
//!
//! ```text
//! export OPENHANDS_CLOUD_API_KEY=… AUTOMATION_CALLBACK_URL=https://…
//! cargo run --example orchestrate target/x86_64-unknown-linux-musl/release/openhands-runner task.md
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

#[path = "support/settings.rs"]
mod settings;

use std::error::Error;
use std::path::PathBuf;

use openhands_client::sandbox::exec::{self, Command};
use openhands_client::sandbox::install::install;
use openhands_client::secret::Secret;
use openhands_client::workspace::CloudWorkspace;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    tokio::select! {
        done = run() => done,
        // Without a handler nothing would be deleted. Dropping the work deletes its sandbox.
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let [runner, task]: [PathBuf; 2] = std::env::args_os()
        .skip(1)
        .map(PathBuf::from)
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| "give the static binary and a task file")?;
    let settings = settings::read()?;
    let cloud = &settings.cloud;
    let mut workspace = CloudWorkspace::builder(cloud.url.clone(), cloud.api_key.clone()).open().await?;

    let runner = install(workspace.server(), &runner).await?.path;
    workspace.upload(&task, "/tmp/the-task.md").await?;
    let access = &workspace.ready().access;
    let port = access.inner_port.or(access.agent_server.url.port_or_known_default()).unwrap_or_default();
    // A run inside finds its agent-server and its account in these. They are in no command line.
    let mut command = Command::program([runner.as_str(), "run", "/tmp/the-task.md"])
        .env("SANDBOX_ID", Secret::new(workspace.id().as_str()))
        .env("AGENT_SERVER_PORT", Secret::new(port.to_string()))
        .env("OPENHANDS_API_KEY", cloud.api_key.clone())
        .env("OPENHANDS_CLOUD_API_URL", Secret::new(cloud.url.as_str()))
        .env("WORKSPACE_BASE", Secret::new(&settings.working_dir));
    if let Some(key) = &access.agent_server.session_key {
        command = command.env("SESSION_API_KEY", key.clone());
    }
    if let Some(url) = &settings.callback_url {
        command = command.env("AUTOMATION_CALLBACK_URL", Secret::new(url));
    }
    let output = exec::start(workspace.server(), &command).await?.folder().to_owned();

    // Only now, when the run is at work: until here any error would delete the sandbox.
    workspace.keep_alive();
    println!("Sandbox {}, output in {output}", workspace.id());
    Ok(())
}
