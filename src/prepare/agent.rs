//! The agent of a run: its profile or its tools are looked up before anything is prepared.

use openhands_client::agent_server::wire::{Agent, AgentProfile, Llm, SubAgent};
use openhands_client::agent_server::{AgentServer, AgentServerClient};
use openhands_client::http::HttpError;
use openhands_client::retry::{Policy, retry};
use openhands_client::text;

use crate::input::task::agent::{AgentChoice, CondenserChoice, SubAgentSource};
use crate::outcome::{Failure, FailureKind};
use crate::plan::RunPlan;

/// The browser among the tools.
const BROWSER: &str = "browser_tool_set";
/// The tool that gives work to sub-agents.
const TASKS: &str = "task_tool_set";
/// The server's type of a sub-agent.
const DEFINITION: &str = "AgentDefinition";

/// The default agent with this LLM and what the task changes of it.
pub(crate) fn agent(llm: Llm, choice: &AgentChoice) -> Agent {
    let mut agent = Agent::default_with(llm);
    if let Some(tools) = &choice.tools {
        agent = agent.tools(tools);
    }
    for tool in further_tools(choice) {
        agent = agent.tool(tool);
    }
    if let Some(text) = &choice.system_prompt_suffix {
        agent = agent.system_prompt_suffix(text);
    }
    match choice.condenser {
        None => agent,
        Some(CondenserChoice::Off) => agent.condenser(None),
        Some(CondenserChoice::At { max_size, keep_first }) => agent.condenser(Some((max_size, keep_first))),
    }
}

/// Tools that follow from other fields.
fn further_tools(choice: &AgentChoice) -> Vec<&'static str> {
    let all = [(choice.browser, BROWSER), (!choice.sub_agents.is_empty(), TASKS)];
    all.into_iter().filter_map(|(is_wanted, name)| is_wanted.then_some(name)).collect()
}

/// The sub-agents in the form of the server.
pub(crate) fn sub_agents(choice: &AgentChoice) -> Vec<SubAgent> {
    let sub_agent = |source: &SubAgentSource| {
        let SubAgentSource { name, description, system_prompt, tools } = source.clone();
        SubAgent { name, description, system_prompt, tools }
    };
    choice.sub_agents.iter().map(sub_agent).collect()
}

/// Whether the agent-server knows the security analyzer and sub-agents: it ignores a field that it does not know.
///
/// # Errors
/// It lacks one.
pub(crate) async fn check_types(server: &AgentServer, choice: &AgentChoice) -> Result<(), Failure> {
    let AgentServer { client, capabilities } = server;
    let analyzer = choice.security_analyzer.map(|analyzer| (analyzer.kind(), "agent: security_analyzer"));
    let sub_agents = (!choice.sub_agents.is_empty()).then_some((DEFINITION, "agent: sub_agents"));
    let wanted: Vec<_> = analyzer.into_iter().chain(sub_agents).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let read = retry("reading the types of the agent-server", Policy::setup(client.time_limits()), || client.types());
    let known = read.await.map_err(|error| Failure::of_request("read the types of the agent-server", &error))?;
    let is_known = |kind: &str| known.iter().any(|known| known.strip_suffix("-Input").unwrap_or(known) == kind);
    match wanted.into_iter().find(|(kind, _)| !is_known(kind)) {
        None => Ok(()),
        Some((kind, place)) => {
            let version = capabilities.version.map(|version| format!(" {version}")).unwrap_or_default();
            let detail =
                format!("{place}: agent-server{version} has no `{kind}`; use a newer one, or leave the field out");
            Err(Failure::new(FailureKind::InvalidInput, detail))
        }
    }
}

/// Whether the agent-server has the tools that the task names: it would say so only at the first message.
///
/// # Errors
/// It lacks one.
pub(crate) async fn check_tools(client: &AgentServerClient, choice: &AgentChoice) -> Result<(), Failure> {
    let of_sub_agents = choice.sub_agents.iter().flat_map(|agent| &agent.tools);
    let named = choice.tools.iter().flatten().chain(of_sub_agents).map(String::as_str);
    let mut named: Vec<&str> = named.collect();
    named.extend(further_tools(choice));
    if named.is_empty() {
        return Ok(());
    }
    let read = retry("reading the names of the tools", Policy::setup(client.time_limits()), || client.tools());
    let known = read.await.map_err(|error| Failure::of_request("read the names of the tools", &error))?;
    let missing: Vec<&str> = named.into_iter().filter(|name| known.iter().all(|known| known != name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let detail =
        format!("agent: the agent-server has no tool {}; it has {}", text::listed(&missing), text::listed(&known));
    Err(Failure::new(FailureKind::InvalidInput, detail))
}

/// An agent profile of the agent-server.
#[derive(Debug)]
pub(crate) struct ChosenProfile {
    /// Its id.
    pub(crate) id: String,
    /// The profile, with what the run changes of it.
    pub(crate) profile: AgentProfile,
}

/// The agent profile that the plan names, if it names one.
///
/// # Errors
/// The agent-server has no such profile, or no profiles at all.
pub(crate) async fn agent_profile(
    client: &AgentServerClient,
    plan: &RunPlan,
) -> Result<Option<ChosenProfile>, Failure> {
    let Some(wanted) = &plan.agent_profile else { return Ok(None) };
    let (name, id) = find_profile(client, wanted).await?;
    tracing::info!(profile = name, id, "agent profile chosen");
    let llm_profile = plan.llm.profile().map(str::to_owned);
    Ok(Some(ChosenProfile { profile: AgentProfile::new(&id).llm_profile(llm_profile), id }))
}

/// Name and id of the agent profile that is meant by a name or an id.
///
/// # Errors
/// The agent-server has no such profile, or no profiles at all.
pub(crate) async fn find_profile(client: &AgentServerClient, wanted: &str) -> Result<(String, String), Failure> {
    let read = retry("reading the agent profiles", Policy::setup(client.time_limits()), || client.agent_profiles());
    let profiles = match read.await {
        Ok(list) => list.profiles,
        Err(error @ HttpError::Unsupported { .. }) => {
            let detail =
                format!("agent profile `{wanted}`: {}; use a newer one, or leave the profile out", text::chain(&error));
            return Err(Failure::new(FailureKind::InvalidInput, detail));
        }
        Err(error) => return Err(Failure::of_request("read the agent profiles", &error)),
    };
    let is_wanted = |text: &str| text.eq_ignore_ascii_case(wanted);
    let of_id = profiles.iter().find(|profile| profile.id.as_deref().is_some_and(is_wanted));
    let found = of_id.or_else(|| profiles.iter().find(|profile| profile.name == *wanted));
    found.and_then(|profile| Some((profile.name.clone(), profile.id.clone()?))).ok_or_else(|| {
        let known = text::listed(profiles.iter().map(|profile| &profile.name));
        let detail = format!("the agent-server has no agent profile `{wanted}`; it has {known}");
        Failure::new(FailureKind::InvalidInput, detail)
    })
}
