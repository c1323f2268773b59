//! The agent's resources from the account: LLM, secrets, MCP servers.

use openhands_client::agent_server::mcp::McpServers;
use openhands_client::agent_server::wire::{AgentSource, Llm, SecretSource, Secrets};
use openhands_client::secret::Redactor;
use openhands_client::text;
use openhands_client::workspace::{AccountClient, SecretSelection, WorkspaceError};

use super::account_secrets::learn_values;
use crate::plan::{LlmBase, RunPlan};
use crate::prepare::agent::{ChosenProfile, agent};

/// The agent's resources from the account.
#[derive(Debug)]
pub(super) struct AgentResources {
    /// The source of the agent.
    pub(super) agent: AgentSource,
    /// The model, if this program knows it.
    pub(super) model: Option<String>,
    /// Secrets that the agent's commands see as environment variables.
    pub(super) secrets: Secrets,
    /// MCP servers whose tools the agent can use.
    pub(super) mcp: McpServers,
}

/// Requests all resources at the same time, and adds their secrets to the redactor.
pub(super) async fn resources(
    account: &AccountClient,
    plan: &RunPlan,
    profile: Option<ChosenProfile>,
    redactor: &Redactor,
) -> Result<AgentResources, WorkspaceError> {
    let agent_profile = profile.as_ref().map(|profile| profile.id.as_str());
    let mcp = async {
        if agent_profile.is_some() {
            // The server takes them from the profile.
            return McpServers::default();
        }
        account.mcp_servers().await.unwrap_or_else(|error| {
            tracing::warn!(error = %text::chain(&error), "continuing without the account's MCP servers");
            McpServers::default()
        })
    };
    let secrets = async {
        let secrets = match account.secrets_of(&plan.secrets, agent_profile).await {
            Err(error @ WorkspaceError::Account { .. }) if plan.secrets == SecretSelection::All => {
                tracing::warn!(error = %text::chain(&error), "continuing without the account's secrets");
                Secrets::new()
            }
            other => other?,
        };
        learn_values(account, &secrets, plan.time_limits.secret_values, redactor).await;
        Ok(secrets)
    };
    let source = async {
        match &profile {
            Some(chosen) => Ok((AgentSource::Profile(chosen.profile.clone()), None)),
            None => llm(account, plan, redactor).await.map(|llm| {
                let model = llm.model_name().map(str::to_owned);
                (agent(llm, &plan.agent).into(), model)
            }),
        }
    };
    let inherited = async { tokio::try_join!(source, secrets) };
    let (inherited, mcp) = tokio::join!(inherited, mcp);
    let ((agent, model), mut secrets) = inherited?;
    let mcp = mcp.with(&plan.conversation.mcp);
    mcp.secrets().iter().for_each(|secret| redactor.learn(secret));
    if !mcp.is_empty() {
        tracing::info!(servers = %mcp.names().join(", "), "MCP servers configured");
    }
    let id = plan.conversation.id;
    if let Some(value) = account.session_url(id).filter(|_| plan.conversation.run_id.is_some()) {
        // For readers of texts that the agent writes elsewhere, such as a comment.
        secrets.entry("AUTOMATION_SESSION_URL".to_owned()).or_insert(SecretSource::Static { value });
    }
    Ok(AgentResources { agent, model, secrets, mcp })
}

async fn llm(account: &AccountClient, plan: &RunPlan, redactor: &Redactor) -> Result<Llm, WorkspaceError> {
    let base = match &plan.llm.base {
        LlmBase::Given(llm) => llm.clone(),
        LlmBase::Inherited { profile: None, .. } => default_llm(account, plan).await?,
        LlmBase::Inherited { profile: Some(profile), .. } => match account.llm(Some(&profile.name)).await {
            Err(missing @ WorkspaceError::NoSuchProfile { .. }) if profile.default_will_do => {
                tracing::warn!("{missing}; using the account's default LLM");
                default_llm(account, plan).await?
            }
            other => other?,
        },
    };
    let llm = plan.llm.complete(&base);
    llm.secrets().iter().for_each(|secret| redactor.learn(secret));
    tracing::info!(model = llm.model_name().unwrap_or("unknown"), "LLM configured");
    Ok(llm)
}

/// Returns the account's default LLM. Some LLMs need no more than the fields in the task.
async fn default_llm(account: &AccountClient, plan: &RunPlan) -> Result<Llm, WorkspaceError> {
    let names_model = plan.llm.fields.get("model").is_some_and(|model| !model.is_null());
    match account.llm(None).await {
        Err(WorkspaceError::NoLlm | WorkspaceError::AcpAgent) if names_model => Ok(Llm::default()),
        other => other,
    }
}
