//! Starts a conversation, or attaches to an existing one.

use std::collections::BTreeMap;

use super::ledger::{Beginning, already_sent};
use super::working_dir::StartError;
use super::{CHECKS_FAILED, ConversationSpec};
use crate::agent_server::client::{Created, EventQuery};
use crate::agent_server::event::Meaning;
use crate::agent_server::wire::{AgentSource, ConversationInfo, Cost, LocalWorkspace, StartConversation};
use crate::agent_server::{AgentServer, AgentServerClient, Capabilities, Event};
use crate::http::HttpError;
use crate::retry::{Policy, retry, retry_while_full};

/// The conversation that a run drives, and what it already holds of the run.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) created: Created,
    /// The number of messages of this run that the conversation holds.
    pub(super) sent: usize,
    /// How many times this run has sent the agent back to work because checks failed.
    pub(super) sent_back: usize,
    /// The cost of the conversation before this run; `None` if the run has not begun.
    pub(super) spent_before: Option<Cost>,
    /// Whether a stop hook may send the agent back to work. Unknown counts as `true`.
    pub(super) may_veto: bool,
}

/// An existing conversation, created by this run or an earlier one.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) created: Created,
    info: ConversationInfo,
    /// Whether our hooks or plugins may send the agent back to work.
    may_veto: bool,
}

/// Starts the conversation, or finds the existing one.
pub(super) async fn start_or_find(server: &AgentServer, spec: &ConversationSpec) -> Result<Found, StartError> {
    let AgentServer { client, capabilities } = server;
    // A profile defines its own tools.
    let takes_fields = capabilities.finish_schema && matches!(spec.agent, AgentSource::Agent { .. });
    let finish_schema = spec.finish_schema.clone().filter(|_| takes_fields);
    // The container of a conversation does not contain the program of the hook.
    let hook_config = spec.hook_config.clone().filter(|_| finish_schema.is_some() && !capabilities.own_container);
    // A plugin may bring its own hooks.
    let may_veto = hook_config.is_some() || !spec.plugins.is_empty();
    let agent = match spec.agent.clone() {
        AgentSource::Profile(profile) => AgentSource::Profile(profile.with_skills(spec.skills.clone())),
        AgentSource::Agent { agent } => {
            let agent = agent.with_mcp(spec.mcp.config(*capabilities)).with_skills(spec.skills.clone());
            AgentSource::from(match finish_schema {
                Some(schema) => agent.with_finish_fields(schema),
                None => agent,
            })
        }
    };
    let body = StartConversation {
        conversation_id: spec.id,
        agent,
        workspace: LocalWorkspace::new(&spec.working_dir),
        max_iterations: spec.max_iterations,
        secrets: spec.secrets.clone(),
        tags: first_tags(spec),
        user_id: spec.user_id.clone(),
        plugins: spec.plugins.clone(),
        autotitle: spec.title.is_none(),
        hook_config,
        agent_definitions: spec.sub_agents.clone(),
        trace: spec.trace.clone(),
    };
    let start =
        async || client.start_conversation(&body).await.map_err(|error| StartError::new(error, &spec.working_dir));
    let limits = client.time_limits();
    let (created, info) =
        retry_while_full("starting the conversation", Policy::setup(limits), Policy::run_capacity(limits), start)
            .await?;
    Ok(Found { created, info, may_veto })
}

/// Finds out how far this run has come in the conversation.
pub(super) async fn attach(
    client: &AgentServerClient,
    capabilities: Capabilities,
    spec: &ConversationSpec,
    Found { created, info, may_veto }: Found,
) -> Result<Started, HttpError> {
    if created == Created::New {
        set_title(client, spec).await;
        return Ok(Started { created, sent: 0, sent_back: 0, spent_before: Some(Cost::default()), may_veto });
    }
    if !spec.secrets.is_empty() {
        retry("adding secrets to the conversation", Policy::setup(client.time_limits()), || {
            client.add_secrets(spec.id, &spec.secrets)
        })
        .await?;
    }
    let beginning = known_beginning(spec, &info);
    let found = match &beginning {
        Some(beginning) => user_messages(client, spec, beginning.after.as_deref()).await?,
        None => Vec::new(),
    };
    let sent = already_sent(spec.messages(), &found, !spec.is_continued());
    let sent_back = found.iter().filter(|text| text.starts_with(CHECKS_FAILED)).count();
    tracing::info!(conversation_id = %spec.id, sent, "reusing the existing conversation");
    // Before 1.22.1 the server does not say whether there are hooks.
    let of_others = spec.is_continued() && (info.hook_config.is_some() || !capabilities.state_after_run);
    let spent_before = beginning.map(|beginning| beginning.spent);
    Ok(Started { created, sent, sent_back, spent_before, may_veto: may_veto || of_others })
}

/// Others may later continue a new conversation that was started under a given id. So its tags record from the start where this
/// run began.
fn first_tags(spec: &ConversationSpec) -> BTreeMap<String, String> {
    let mut tags = spec.tags.clone();
    if let (true, Some(run)) = (spec.is_continued(), spec.run_id()) {
        tags.extend(Beginning { after: None, spent: Cost::default() }.tags(run));
    }
    tags
}

/// Returns where this run began in the conversation, if that is known.
fn known_beginning(spec: &ConversationSpec, info: &ConversationInfo) -> Option<Beginning> {
    if !spec.is_continued() {
        return Some(Beginning { after: None, spent: Cost::default() });
    }
    Beginning::of_run(spec.run_id()?, info.tags.as_ref()?)
}

/// Begins the run at this point of a conversation that others use too: the cost so far does not belong to this run. Only called
/// when no one else is working in the conversation, because this run's mark replaces theirs.
pub(super) async fn begin_here(
    client: &AgentServerClient,
    capabilities: Capabilities,
    spec: &ConversationSpec,
) -> Result<Cost, HttpError> {
    let info =
        retry("reading the conversation", Policy::setup(client.time_limits()), || client.conversation(spec.id)).await?;
    let here = Beginning { after: info.last_user_message_id.clone(), spent: info.cost() };
    if let Some(run) = spec.run_id().filter(|_| capabilities.patch_tags) {
        let mut tags = Beginning::cleared(info.tags.unwrap_or_default());
        tags.extend(spec.tags.clone());
        tags.extend(here.tags(run));
        retry("marking where the run begins", Policy::setup(client.time_limits()), || client.set_tags(spec.id, &tags))
            .await?;
    }
    Ok(here.spent)
}

/// Returns the texts of the user messages after an event, the oldest first.
async fn user_messages(
    client: &AgentServerClient,
    spec: &ConversationSpec,
    after: Option<&str>,
) -> Result<Vec<String>, HttpError> {
    let mut texts = Vec::new();
    let mut query = EventQuery { source: Some("user"), newest_first: true, ..EventQuery::default() };
    'pages: loop {
        let page = retry("reading the messages of the conversation", Policy::setup(client.time_limits()), || {
            client.events(spec.id, &query)
        })
        .await?;
        for event in page.items.iter().filter_map(|item| Event::parse(item.get())) {
            if Some(event.id.as_str()) == after {
                break 'pages;
            }
            if let Meaning::UserMessage(text) = event.meaning() {
                texts.push(text.clone());
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

/// The longest title that the server accepts.
const LONGEST_TITLE: usize = 200;

async fn set_title(client: &AgentServerClient, spec: &ConversationSpec) {
    let Some(title) = &spec.title else { return };
    let title: String = title.chars().take(LONGEST_TITLE).collect();
    // A run without its title is still a valid run.
    if let Err(error) = client.set_title(spec.id, &title).await {
        tracing::warn!(error = %crate::text::chain(&error), "the conversation's title could not be set");
    }
}
