//! The agent of a run: its profile or its tools are looked up before anything is prepared.

use openhands_client::agent_server::AgentServerClient;
use openhands_client::agent_server::wire::{Agent, AgentProfile, Llm};
use openhands_client::http::HttpError;
use openhands_client::retry::{Policy, retry};
use openhands_client::text;

use crate::input::task::agent::{AgentChoice, CondenserChoice};
use crate::outcome::{Failure, FailureKind};
use crate::plan::RunPlan;

/// The browser among the tools.
const BROWSER: &str = "browser_tool_set";

/// The default agent with this LLM and what the task changes of it.
pub(crate) fn agent(llm: Llm, choice: &AgentChoice) -> Agent {
    let mut agent = Agent::default_with(llm);
    if let Some(tools) = &choice.tools {
        agent = agent.tools(tools);
    }
    if choice.browser {
        agent = agent.tool(BROWSER);
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

/// Whether the agent-server has the tools that the task names: it would say so only at the first message.
///
/// # Errors
/// It lacks one.
pub(crate) async fn check_tools(client: &AgentServerClient, choice: &AgentChoice) -> Result<(), Failure> {
    let named = choice.tools.iter().flatten().map(String::as_str).chain(choice.browser.then_some(BROWSER));
    let named: Vec<&str> = named.collect();
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
    let Some((name, id)) = found.and_then(|profile| Some((&profile.name, profile.id.clone()?))) else {
        let known = text::listed(profiles.iter().map(|profile| &profile.name));
        let detail = format!("the agent-server has no agent profile `{wanted}`; it has {known}");
        return Err(Failure::new(FailureKind::InvalidInput, detail));
    };
    tracing::info!(profile = name, id, "agent profile chosen");
    let llm_profile = plan.llm.profile().map(str::to_owned);
    Ok(Some(ChosenProfile { profile: AgentProfile::new(&id).llm_profile(llm_profile), id }))
}
