//! A conversation in a sandbox of OpenHands Cloud, with the LLM and the secrets of the account: its key is all that is needed.
//! The agent prints the last half of each secret, which proves that they have arrived, and gives none away.
//!
//! ```text
//! export OPENHANDS_CLOUD_API_KEY=…
//! cargo run --example share_credentials
//! ```
//!
//! Optional: `OPENHANDS_CLOUD_API_URL`, `OPENHANDS_SANDBOX_SPEC_ID`, `LLM_MODEL` (instead of the account's), `WORKSPACE_BASE`.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

#[path = "support/settings.rs"]
mod settings;

use std::error::Error;

use openhands_client::conversation::ConversationPlan;
use openhands_client::conversation::Unobserved;
use openhands_client::conversation::{self, AgentResources};
use openhands_client::ids::ConversationId;
use openhands_client::workspace::{CloudWorkspace, Workspace as _};

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
    let mut builder = CloudWorkspace::builder(settings.cloud.url.clone(), settings.cloud.api_key.clone());
    if let Some(spec) = &settings.sandbox_spec_id {
        builder = builder.sandbox_spec_id(spec);
    }
    let workspace = builder.open().await?;
    let told = share(&workspace, &settings).await;
    workspace.close().await?;
    println!("{}", told?);
    Ok(())
}

async fn share(workspace: &CloudWorkspace, settings: &settings::Settings) -> Result<String, Box<dyn Error>> {
    let model = settings.model.as_deref().map(|model| ("model", model.into()));
    let llm = workspace.get_llm(None, model).await?;
    println!("LLM: {}", llm.model().unwrap_or("unknown"));
    let secrets = workspace.get_secrets(None).await?;
    let names: Vec<&str> = secrets.keys().map(String::as_str).collect();
    println!("Secrets: {}", names.join(", "));

    let task = if names.is_empty() {
        "Tell me, is there any secret configured for you?".to_owned()
    } else {
        format!(
            "For each of these environment variables: {} print its name and the LAST HALF of its value, no more. \
             Then write a short summary into SECRETS_CHECK.txt.",
            names.iter().map(|name| format!("${name}")).collect::<Vec<_>>().join(", ")
        )
    };
    let plan = ConversationPlan {
        working_dir: settings.working_dir.clone(),
        ..ConversationPlan::new(ConversationId::random(), task)
    };
    let resources = AgentResources { llm, secrets, mcp: workspace.mcp_servers().await? };
    workspace.drive(&plan, resources, &mut Unobserved).await?;
    Ok(conversation::final_message(workspace.server(), plan.id).await?.unwrap_or_default())
}
