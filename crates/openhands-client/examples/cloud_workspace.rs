//! A conversation in a sandbox of OpenHands Cloud, with an LLM key of one's own.
//!
//! ```text
//! export OPENHANDS_CLOUD_API_KEY=… LLM_API_KEY=…
//! cargo run --example cloud_workspace
//! ```
//!
//! Optional: `LLM_MODEL`, `LLM_BASE_URL` (which the sandbox must reach), `OPENHANDS_CLOUD_API_URL`, `OPENHANDS_SANDBOX_SPEC_ID`,
//! `WORKSPACE_BASE`.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "an example reads its environment and shows what it does"
)]

use std::env::var;
use std::error::Error;

use openhands_client::conversation::DEFAULT_WORKING_DIR;
use openhands_client::workspace::CloudWorkspace;
use openhands_client::{Agent, Llm};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    tokio::select! {
        done = run() => done,
        // Dropping the work deletes its sandbox; without a handler, Ctrl-C would leave it.
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let model = var("LLM_MODEL").unwrap_or_else(|_| "anthropic/claude-sonnet-4-5-20250929".to_owned());
    let mut llm = Llm::new(&model, &var("LLM_API_KEY")?);
    if let Ok(url) = var("LLM_BASE_URL") {
        llm = llm.base_url(&url);
    }
    let url = var("OPENHANDS_CLOUD_API_URL").unwrap_or_else(|_| "https://app.all-hands.dev".to_owned());
    println!("Using OpenHands Cloud API: {url}");
    let mut builder = CloudWorkspace::builder(var("OPENHANDS_CLOUD_API_KEY")?).url(url.parse()?);
    if let Ok(spec) = var("OPENHANDS_SANDBOX_SPEC_ID") {
        builder = builder.sandbox_spec_id(spec);
    }
    let workspace = builder.open().await?;

    let result = workspace.execute_command("echo 'Hello from OpenHands Cloud sandbox!' && pwd").await?;
    println!("Command completed: {}, {}", result.exit, result.stdout_text());

    let mut conversation = workspace
        .conversation(Agent::default_with(llm))
        .working_dir(var("WORKSPACE_BASE").unwrap_or_else(|_| DEFAULT_WORKING_DIR.to_owned()))
        .start()
        .await?;
    conversation.send("Read the current repo and write 3 facts about the project into FACTS.txt.").await?;
    conversation.run().await?;
    conversation.send("Great! Now delete that file.").await?;
    conversation.run().await?;
    println!("EXAMPLE_COST: {}", conversation.cost().known().unwrap_or_default());
    let events = conversation.event_count();
    conversation.close().await?;
    println!("Conversation completed successfully.");
    println!("Total {events} events received during conversation.");
    workspace.close().await?;
    Ok(())
}
