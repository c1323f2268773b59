//! Drives one conversation: starts or re-attaches, sends the turns, follows each to its end, keeps the cost limit.
//!
//! Knows the agent-server's client, never HTTP itself; neither callback nor exit code.

mod error;
pub mod fold;
mod follow;
mod ledger;
mod log;
mod observer;
mod plan;
mod seen;
mod start;
mod turns;
mod working_dir;

use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::time::Instant;

use self::follow::{Budget, Follower, Target};
use self::turns::Turns;
use crate::agent_server::client::{Created, EventQuery};
use crate::agent_server::event::Meaning;
use crate::agent_server::mcp::McpServers;
use crate::agent_server::wire::{Cost, Llm, Secrets};
use crate::agent_server::{AgentServer, Event};
use crate::http::HttpError;
use crate::ids::ConversationId;

pub use self::error::ConversationError;
pub use self::follow::FollowError;
pub use self::observer::{Observer, Record, Unobserved};
pub use self::plan::{ConversationPlan, DEFAULT_WORKING_DIR};
pub use self::start::POLICY as SETUP_POLICY;
pub use self::turns::WRAP_UP;

/// What is known of the conversation at this moment; for whoever has to report when the drive is cut off.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunState {
    /// The conversation, once it exists.
    pub conversation_id: Option<ConversationId>,
    /// Its cost so far.
    pub cost: Cost,
    /// Whether its agent may be at work for this run.
    pub at_work: bool,
}

/// What the agent works with, besides the plan.
#[derive(Debug, Clone, Default)]
pub struct AgentResources {
    /// Its LLM.
    pub llm: Llm,
    /// Secrets that its commands see as variables.
    pub secrets: Secrets,
    /// MCP servers whose tools it has.
    pub mcp: McpServers,
}

/// Drives the conversation through all turns of the plan. `known` is kept up to date meanwhile. At `wrap_up_at` the agent is
/// asked to wrap up, and the run is no completion any more. Dropping the future leaves the agent at work: stop it with
/// [`crate::agent_server::AgentServerClient::stop`].
///
/// # Errors
/// [`ConversationError`].
pub async fn drive(
    server: &AgentServer,
    plan: &ConversationPlan,
    resources: AgentResources,
    observer: &mut dyn Observer,
    known: &watch::Sender<RunState>,
    wrap_up_at: Option<Instant>,
) -> Result<(), ConversationError> {
    let AgentServer { client, capabilities } = server;
    if !plan.continued {
        // From here on it may exist, and in a run that starts again its agent may be at work.
        known.send_modify(|known| (known.conversation_id, known.at_work) = (Some(plan.id), true));
    }
    let found = start::start_or_find(client, *capabilities, plan, resources).await.map_err(|error| {
        if error.http().status().is_some() {
            known.send_modify(|known| (known.conversation_id, known.at_work) = (None, false));
        }
        error.into_conversation_error(&plan.working_dir)
    })?;
    known.send_modify(|known| known.conversation_id = Some(plan.id));
    let is_new = found.created == Created::New;
    let started = start::attach(client, *capabilities, plan, found)
        .await
        .map_err(|source| ConversationError::Request { doing: "continue the conversation", source })?;
    let at_work = || known.send_modify(|known| known.at_work = true);
    if started.sent > 0 {
        at_work();
    }
    let on_cost = |cost: Cost| {
        known.send_if_modified(|known| {
            let news = known.cost != cost && !cost.is_unknown();
            if news {
                known.cost = cost;
            }
            news
        });
    };
    observer.record(&Record::Conversation { id: plan.id, new: is_new }).await;

    let target = Target {
        client: client.clone(),
        id: plan.id,
        capabilities: *capabilities,
        may_veto: started.may_veto,
        budget: Budget { limit: plan.cost, spent_before: started.spent_before.unwrap_or_default() },
    };
    let budget = target.budget;
    let follower = Follower::open(target, &on_cost, observer).await;
    Turns { server, plan, follower, budget, wrap_up_at, at_work: &at_work }.take_all(&started).await
}

/// The arguments of the agent's finish, and its message.
pub type LastWords = (Option<Map<String, Value>>, Option<String>);

/// What the agent did last: the arguments of its finish, and its message.
///
/// # Errors
/// [`HttpError`].
pub async fn last_words(server: &AgentServer, id: ConversationId) -> Result<LastWords, HttpError> {
    let query = EventQuery { source: Some("agent"), newest_first: true, limit: Some(20), ..Default::default() };
    let page = server.client.events(id, &query).await?;
    let (mut finish, mut message) = (None, None);
    // Only the last thing that the agent did counts: it may have gone on after a finish.
    for event in page.items.iter().filter_map(|item| Event::parse(item.get())) {
        match event.meaning() {
            Meaning::AgentMessage(text) => message = Some(text),
            Meaning::Action(action) => {
                finish = event.finish_arguments();
                message = action.detail.filter(|_| action.is_finish);
            }
            _ => continue,
        }
        break;
    }
    Ok((finish, message))
}

/// The agent's final message, if there is one.
///
/// # Errors
/// [`HttpError`].
pub async fn final_message(server: &AgentServer, id: ConversationId) -> Result<Option<String>, HttpError> {
    if server.capabilities.final_response {
        return server.client.final_response(id).await;
    }
    let query = EventQuery { source: Some("agent"), newest_first: true, ..Default::default() };
    let page = server.client.events(id, &query).await?;
    Ok(page.items.iter().filter_map(|item| Event::parse(item.get())).find_map(|event| match event.meaning() {
        Meaning::AgentMessage(text) => Some(text),
        Meaning::Action(action) if action.is_finish => action.detail,
        _ => None,
    }))
}
