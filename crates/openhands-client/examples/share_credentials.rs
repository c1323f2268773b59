//! A conversation in a sandbox of OpenHands Cloud, with the LLM and the secrets of the account: its key is all that is needed.
//! The agent prints the last half of each secret, which proves that they have arrived.
//!
//! ```text
//! export OPENHANDS_CLOUD_API_KEY=…
//! cargo run --example share_credentials
//! ```
//!
//! Optional: `OPENHANDS_CLOUD_API_URL`, `LLM_MODEL` (instead of the account's), `WORKSPACE_BASE`.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "an example reads its environment and shows what it does"
)]

use std::env::var;
use std::error::Error;

use openhands_client::Agent;
use openhands_client::conversation::DEFAULT_WORKING_DIR;
use openhands_client::workspace::CloudWorkspace;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    tokio::select! {
        done = run() => done,
        // Dropping the work deletes its sandbox; without a handler, Ctrl-C would leave it.
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let url = var("OPENHANDS_CLOUD_API_URL").unwrap_or_else(|_| "https://app.all-hands.dev".to_owned());
    println!("Using OpenHands Cloud API: {url}");
    let builder = CloudWorkspace::builder(var("OPENHANDS_CLOUD_API_KEY")?).url(url.parse()?);
    let workspace = builder.open().await?;

    let mut llm = workspace.llm().await?;
    if let Ok(model) = var("LLM_MODEL") {
        llm = llm.model(&model);
    }
    println!("LLM configured: model={}", llm.model_name().unwrap_or("unknown"));
    // References: the agent-server reads the values when a command needs them.
    let secrets = workspace.secrets().await?;
    let names: Vec<&String> = secrets.keys().collect();
    println!("Available secrets: {names:?}");

    let mut conversation = workspace
        .conversation(Agent::default_with(llm))
        .working_dir(var("WORKSPACE_BASE").unwrap_or_else(|_| DEFAULT_WORKING_DIR.to_owned()))
        .start()
        .await?;
    let task = if names.is_empty() {
        "Tell me, is there any secret configured for you?".to_owned()
    } else {
        conversation.update_secrets(&secrets).await?;
        println!("Injected {} secrets into conversation", secrets.len());
        format!(
            "For each of these environment variables: {} — print the variable name and the LAST 50% of its value \
             (i.e. the second half of the string). Then write a short summary into SECRETS_CHECK.txt.",
            names.iter().map(|name| format!("${name}")).collect::<Vec<_>>().join(", ")
        )
    };
    conversation.send(&task).await?;
    conversation.run().await?;
    println!("EXAMPLE_COST: {}", conversation.cost().known().unwrap_or_default());
    let events = conversation.event_count();
    conversation.close().await?;
    println!("Conversation completed successfully.");
    println!("Total {events} events received during conversation.");
    workspace.close().await?;
    Ok(())
}
