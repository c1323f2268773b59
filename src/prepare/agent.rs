//! The agent profile of a run, looked up before anything is prepared.

use openhands_client::agent_server::AgentServerClient;
use openhands_client::agent_server::wire::AgentProfile;
use openhands_client::http::HttpError;
use openhands_client::retry::{Policy, retry};
use openhands_client::text;

use crate::outcome::{Failure, FailureKind};
use crate::plan::RunPlan;

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
