//! An automation that runs inside a sandbox: it finds the agent-server and the account in its environment, and sends the completion
//! callback at the end. `orchestrate`, the example beside this one, starts it.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "an example reads its environment and shows what it does"
)]

use std::env::{var, vars};
use std::error::Error;

use openhands_client::Agent;
use openhands_client::automation::completion::CompletionReport;
use openhands_client::conversation::DEFAULT_WORKING_DIR;
use openhands_client::workspace::InsideWorkspace;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // An early return drops the workspace, which then sends FAILED.
    let workspace = InsideWorkspace::from_variables(vars())?.open().await?;
    let mut conversation = workspace
        .conversation(Agent::default_with(workspace.llm().await?))
        .secrets(workspace.secrets().await?)
        .working_dir(var("WORKSPACE_BASE").unwrap_or_else(|_| DEFAULT_WORKING_DIR.to_owned()))
        .start()
        .await?;
    conversation.send("Perform the automation task").await?;
    conversation.run().await?;
    println!("{}", conversation.final_message().await?.unwrap_or_default());
    let report = CompletionReport::completed().of_conversation(conversation.id(), conversation.cost());
    conversation.close().await?;
    workspace.complete(report).await?;
    Ok(())
}
