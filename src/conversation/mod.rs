//! Drives one conversation: starts or re-attaches, sends the turns, follows each to its end, keeps the cost limit.
//!
//! Knows the agent-server's client, never HTTP itself; neither callback nor exit code.

pub mod fold;
mod follow;
mod ledger;
mod log;
mod seen;
mod start;
mod turns;

use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::time::Instant;

use self::follow::{Budget, Follower, Target};
use self::turns::Turns;
use crate::agent_server::client::{Created, EventQuery};
use crate::agent_server::event::Meaning;
use crate::agent_server::mcp::McpServers;
use crate::agent_server::wire::{Cost, Llm, Secrets};
use crate::agent_server::{Capabilities, Client, Event};
use crate::answer::{Answer, FinishFields, Question};
use crate::display;
use crate::http::HttpError;
use crate::ids::ConversationId;
use crate::outcome::{Failure, FailureKind};
use crate::plan::ConversationPlan;
use crate::retry::retry;
use crate::sink::{Record, Sinks};

pub use self::follow::FollowError;
pub use self::turns::WRAP_UP;

/// What is known of the conversation at this moment; for whoever has to report when the drive is cut off.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known {
    /// The conversation, once it exists.
    pub conversation_id: Option<ConversationId>,
    /// Its cost so far.
    pub cost: Cost,
    /// Whether its agent may be at work for this run.
    pub at_work: bool,
}

/// An agent-server whose version is known.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its endpoints.
    pub client: Client,
    /// What its version can do.
    pub capabilities: Capabilities,
}

/// What the agent works with, besides the plan.
#[derive(Debug, Clone, Default)]
pub struct Equipment {
    /// Its LLM.
    pub llm: Llm,
    /// Secrets that its commands see as variables.
    pub secrets: Secrets,
    /// MCP servers whose tools it has.
    pub mcp: McpServers,
}

/// Drives the conversation through all turns of the plan. `known` is kept up to date meanwhile. At `wrap_up_at` the agent is
/// asked to wrap up, and the run is no completion any more. Dropping the future leaves the agent at work: stop it with
/// [`Client::stop`].
///
/// # Errors
/// The [`Failure`] that ends the run.
pub async fn drive(
    server: &Server,
    plan: &ConversationPlan,
    equipment: Equipment,
    sinks: &mut Sinks,
    known: &watch::Sender<Known>,
    wrap_up_at: Option<Instant>,
) -> Result<(), Failure> {
    let Server { client, capabilities } = server;
    let plan = &asked(plan, *capabilities);
    if !plan.continued {
        // From here on it may exist, and in a run that starts again its agent may be at work.
        known.send_modify(|known| (known.conversation_id, known.at_work) = (Some(plan.id), true));
    }
    let found = start::start_or_find(client, *capabilities, plan, equipment).await.map_err(|error| {
        if error.status().is_some() {
            known.send_modify(|known| (known.conversation_id, known.at_work) = (None, false));
        }
        refused("failed to start the conversation", &error)
    })?;
    known.send_modify(|known| known.conversation_id = Some(plan.id));
    let is_new = found.created == Created::New;
    let started = start::attach(client, *capabilities, plan, found)
        .await
        .map_err(|error| refused("failed to go on with the conversation", &error))?;
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
    sinks.record(&Record::Conversation { id: plan.id, new: is_new }).await;

    let target = Target {
        client: client.clone(),
        id: plan.id,
        capabilities: *capabilities,
        may_veto: started.may_veto,
        budget: Budget { limit: plan.cost, spent_before: started.spent_before.unwrap_or_default() },
    };
    let budget = target.budget;
    let follower = Follower::open(target, &on_cost, sinks).await;
    Turns { server, plan, follower, budget, wrap_up_at, at_work: &at_work }.take_all(&started).await
}

/// The plan with its question in words, where the finish tool takes no further fields: an older server's, and that of a
/// conversation which somebody else may have started.
fn asked(plan: &ConversationPlan, capabilities: Capabilities) -> ConversationPlan {
    let mut plan = plan.clone();
    let words = plan.question.in_words(finish_fields(&plan, capabilities));
    if let (Some(words), Some(last)) = (words, plan.messages.last_mut()) {
        last.push_str("\n\n");
        last.push_str(&words);
    }
    plan
}

/// A conversation that may be another run's may be this one's too, with the fields.
fn finish_fields(plan: &ConversationPlan, capabilities: Capabilities) -> FinishFields {
    match (capabilities.finish_schema, plan.continued) {
        (false, _) => FinishFields::None,
        (true, true) => FinishFields::Unknown,
        (true, false) => FinishFields::Asked,
    }
}

/// The object that the agent was asked for, if it was.
///
/// # Errors
/// The [`Failure`] that ends the run: the answer cannot be read, or is not what was asked for.
pub async fn answer(server: &Server, plan: &ConversationPlan) -> Result<Option<Answer>, Failure> {
    if !matches!(plan.question, Question::Schema(_)) {
        return Ok(None);
    }
    let (finish, message) = retry("reading the agent's result", start::POLICY, || last_words(server, plan.id))
        .await
        .map_err(|error| refused("failed to read the agent's result", &error))?;
    plan.question
        .read(finish.as_ref(), message.as_deref(), finish_fields(plan, server.capabilities))
        .map_err(|error| Failure::new(FailureKind::InvalidAnswer, error.to_string()))
}

/// How the task went by the agent's own account, if it was asked and says so. The run has completed without it.
///
/// # Errors
/// [`HttpError`].
pub async fn task_outcome(server: &Server, plan: &ConversationPlan) -> Result<Option<Answer>, HttpError> {
    if plan.question != Question::TaskOutcome || !server.capabilities.finish_schema {
        return Ok(None);
    }
    let (finish, message) = last_words(server, plan.id).await?;
    Ok(plan.question.read(finish.as_ref(), message.as_deref(), finish_fields(plan, server.capabilities)).ok().flatten())
}

/// The arguments of the agent's finish, and its message.
type LastWords = (Option<Map<String, Value>>, Option<String>);

async fn last_words(server: &Server, id: ConversationId) -> Result<LastWords, HttpError> {
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

/// A failed request of the set-up as the run's failure.
fn refused(doing: &str, error: &HttpError) -> Failure {
    let kind = match error {
        _ if error.is_refusal() => FailureKind::CredentialsRefused,
        HttpError::Connect { .. } | HttpError::Timeout { .. } | HttpError::Broken { .. } => {
            FailureKind::AgentServerUnreachable
        }
        _ => FailureKind::RequestRefused,
    };
    Failure::new(kind, format!("{doing}: {}", display::chain(error)))
}

/// The agent's final message, if there is one.
///
/// # Errors
/// [`HttpError`].
pub async fn final_message(server: &Server, id: ConversationId) -> Result<Option<String>, HttpError> {
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
