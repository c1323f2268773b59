//! Starts a conversation, or attaches to the one that is there.

use std::collections::BTreeMap;

use super::AgentResources;
use super::ConversationPlan;
use super::ledger::{Beginning, already_sent};
use super::working_dir::StartError;
use crate::agent_server::client::{Created, EventQuery};
use crate::agent_server::event::Meaning;
use crate::agent_server::skill::AgentContext;
use crate::agent_server::wire::{Agent, ConversationInfo, Cost, LocalWorkspace, Secrets, StartConversation};
use crate::agent_server::{AgentServerClient, Capabilities, Event};
use crate::http::HttpError;
use crate::retry::{Policy, retry};
use crate::time_limits;

/// The conversation that a run drives, and what of the run it holds already.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) created: Created,
    /// Messages of this run that are there.
    pub(super) sent: usize,
    /// What the conversation had cost before this run; nothing where the run has yet to begin.
    pub(super) spent_before: Option<Cost>,
    /// Whether a stop hook may send the agent back to work. Unknown counts as yes.
    pub(super) may_veto: bool,
}

/// A conversation that is there, by this run or an earlier one.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) created: Created,
    info: ConversationInfo,
    secrets: Secrets,
    /// Whether what we bring may send the agent back to work.
    may_veto: bool,
}

/// How a request of the set-up is retried.
pub const POLICY: Policy = Policy::agent_server(time_limits::SETUP_BUDGET);

/// Starts the planned conversation, or finds it.
pub(super) async fn start_or_find(
    client: &AgentServerClient,
    capabilities: Capabilities,
    plan: &ConversationPlan,
    resources: AgentResources,
) -> Result<Found, StartError> {
    let finish_fields = plan.finish_schema.clone().filter(|_| capabilities.finish_schema);
    let hook_config = plan.hook_config.clone().filter(|_| finish_fields.is_some());
    // A plugin may bring hooks of its own.
    let may_veto = hook_config.is_some() || !plan.plugins.is_empty();
    let agent = Agent::default_with(&resources.llm)
        .with_mcp(resources.mcp.config(capabilities))
        .with_context(AgentContext::new(plan.skills.clone()));
    let body = StartConversation {
        conversation_id: plan.id,
        agent: match finish_fields {
            Some(schema) => agent.with_finish_fields(schema),
            None => agent,
        },
        workspace: LocalWorkspace::new(&plan.working_dir),
        max_iterations: plan.iterations,
        secrets: resources.secrets,
        tags: first_tags(plan),
        user_id: plan.user_id.clone(),
        plugins: plan.plugins.clone(),
        autotitle: plan.title.is_none(),
        hook_config,
        trace: plan.trace.clone(),
    };
    let start =
        async || client.start_conversation(&body).await.map_err(|error| StartError::new(error, &plan.working_dir));
    let (created, info) = retry("starting the conversation", POLICY, start).await?;
    Ok(Found { created, info, secrets: body.secrets, may_veto })
}

/// Finds out where in the conversation this run is.
pub(super) async fn attach(
    client: &AgentServerClient,
    capabilities: Capabilities,
    plan: &ConversationPlan,
    Found { created, info, secrets, may_veto }: Found,
) -> Result<Started, HttpError> {
    if created == Created::New {
        set_title(client, plan).await;
        return Ok(Started { created, sent: 0, spent_before: Some(Cost::default()), may_veto });
    }
    if !secrets.is_empty() {
        retry("adding secrets to the conversation", POLICY, || client.add_secrets(plan.id, &secrets)).await?;
    }
    let beginning = known_beginning(plan, &info);
    let found = match &beginning {
        Some(beginning) => user_messages(client, plan, beginning.after.as_deref()).await?,
        None => Vec::new(),
    };
    let sent = already_sent(&plan.messages, &found, !plan.continued);
    tracing::info!(conversation_id = %plan.id, sent, "the conversation is there already; going on with it");
    // Before 1.22.1 nobody tells.
    let of_others = plan.continued && (info.hook_config.is_some() || !capabilities.state_after_run);
    let spent_before = beginning.map(|beginning| beginning.spent);
    Ok(Started { created, sent, spent_before, may_veto: may_veto || of_others })
}

/// A new conversation under a given id may be continued by others later; so it tells from the start where we began.
fn first_tags(plan: &ConversationPlan) -> BTreeMap<String, String> {
    let mut tags = plan.tags.clone();
    if let (true, Some(run)) = (plan.continued, &plan.run_id) {
        tags.extend(Beginning { after: None, spent: Cost::default() }.tags(run));
    }
    tags
}

/// Where this run began in the conversation, where that is known.
fn known_beginning(plan: &ConversationPlan, info: &ConversationInfo) -> Option<Beginning> {
    if !plan.continued {
        return Some(Beginning { after: None, spent: Cost::default() });
    }
    Beginning::of_run(plan.run_id.as_ref()?, info.tags.as_ref()?)
}

/// Begins the run here in a conversation of others: what it has cost so far is not this run's. Not before nobody else is at
/// work in it, whose own mark this one replaces.
pub(super) async fn begin_here(
    client: &AgentServerClient,
    capabilities: Capabilities,
    plan: &ConversationPlan,
) -> Result<Cost, HttpError> {
    let info = retry("reading the conversation", POLICY, || client.conversation(plan.id)).await?;
    let here = Beginning { after: info.last_user_message_id.clone(), spent: info.cost() };
    if let Some(run) = plan.run_id.as_ref().filter(|_| capabilities.patch_tags) {
        let mut tags = Beginning::cleared(info.tags.unwrap_or_default());
        tags.extend(plan.tags.clone());
        tags.extend(here.tags(run));
        retry("marking where the run begins", POLICY, || client.set_tags(plan.id, &tags)).await?;
    }
    Ok(here.spent)
}

/// The texts of the messages from our side after an event, the oldest first.
async fn user_messages(
    client: &AgentServerClient,
    plan: &ConversationPlan,
    after: Option<&str>,
) -> Result<Vec<String>, HttpError> {
    let mut texts = Vec::new();
    let mut query = EventQuery { source: Some("user"), newest_first: true, ..EventQuery::default() };
    'pages: loop {
        let page = retry("reading the messages of the conversation", POLICY, || client.events(plan.id, &query)).await?;
        for event in page.items.iter().filter_map(|item| Event::parse(item.get())) {
            if Some(event.id.as_str()) == after {
                break 'pages;
            }
            if let Meaning::UserMessage(text) = event.meaning() {
                texts.push(text);
            }
        }
        if page.next_page_id.is_none() || page.next_page_id == query.page_id {
            break;
        }
        query.page_id = page.next_page_id;
    }
    texts.reverse();
    Ok(texts)
}

/// The longest title that the server takes.
const LONGEST_TITLE: usize = 200;

async fn set_title(client: &AgentServerClient, plan: &ConversationPlan) {
    let Some(title) = &plan.title else { return };
    let title: String = title.chars().take(LONGEST_TITLE).collect();
    // A run is not worth less without its title.
    if let Err(error) = client.set_title(plan.id, &title).await {
        tracing::warn!(error = %crate::text::chain(&error), "the conversation's title could not be set");
    }
}
