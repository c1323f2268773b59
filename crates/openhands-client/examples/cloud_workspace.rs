//! A conversation in a sandbox of OpenHands Cloud, with an LLM key of one's own.
//!
//! ```text
//! export OPENHANDS_CLOUD_API_KEY=… LLM_API_KEY=… LLM_MODEL=anthropic/claude-sonnet-4-5-20250929
//! cargo run --example cloud_workspace
//! ```
//!
//! Optional: `OPENHANDS_CLOUD_API_URL`, `OPENHANDS_SANDBOX_SPEC_ID`, `LLM_BASE_URL` (which the sandbox must reach),
//! `WORKSPACE_BASE`.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

#[path = "support/settings.rs"]
mod settings;

use std::error::Error;

use openhands_client::agent_server::mcp::McpServers;
use openhands_client::agent_server::wire::Secrets;
use openhands_client::conversation::ConversationPlan;
use openhands_client::conversation::Unobserved;
use openhands_client::conversation::{self, AgentResources};
use openhands_client::ids::ConversationId;
use openhands_client::sandbox::exec::Command;
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
    let settings = settings::read()?;
    let llm = settings.own_llm()?;
    let mut builder = CloudWorkspace::builder(settings.cloud.url.clone(), settings.cloud.api_key.clone());
    if let Some(spec) = &settings.sandbox_spec_id {
        builder = builder.sandbox_spec_id(spec);
    }
    let workspace = builder.open().await?;
    println!("Sandbox {}", workspace.id());

    let result = workspace.execute_command(&Command::shell("echo 'Hello from the sandbox!' && pwd")).await?;
    println!("{:?}: {}", result.exit, result.stdout_text());

    let plan = ConversationPlan {
        messages: vec![
            "Read the current repo and write 3 facts about the project into FACTS.txt.".to_owned(),
            "Great! Now delete that file.".to_owned(),
        ],
        working_dir: settings.working_dir.clone(),
        ..ConversationPlan::new(ConversationId::random(), "")
    };
    let resources = AgentResources { llm, secrets: Secrets::new(), mcp: McpServers::default() };
    let driven = workspace.drive(&plan, resources, &mut Unobserved).await;
    let answer = conversation::final_message(workspace.server(), plan.id).await;
    // Before any error is looked at: nothing is left behind.
    workspace.close().await?;
    let known = driven?;
    println!("{}", answer?.unwrap_or_default());
    println!("Cost: {}", known.cost);
    Ok(())
}
