//! Drives one conversation: starts or re-attaches, sends the turns, follows each to its end, keeps the cost limit.
//!
//! Knows the agent-server's client, never HTTP itself; neither callback nor exit code.

pub mod fold;
mod follow;
mod log;
mod seen;
mod start;
mod turns;

use tokio::sync::watch;

use self::fold::TurnEnd;
use self::follow::{Budget, Follower, Target};
use self::start::Started;
use crate::agent_server::client::Created;
use crate::agent_server::event::Meaning;
use crate::agent_server::wire::{Cost, Llm, Secrets, Status};
use crate::agent_server::{Capabilities, Client, Event};
use crate::display;
use crate::http::HttpError;
use crate::ids::ConversationId;
use crate::outcome::{Failure, FailureKind};
use crate::plan::ConversationPlan;
use crate::retry::Retryable as _;
use crate::sink::{Record, Sinks};
use crate::timing;

pub use self::follow::FollowError;

/// What is known of the conversation at this moment; for whoever has to report when the drive is cut off.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known {
    /// The conversation, once it exists.
    pub conversation_id: Option<ConversationId>,
    /// Its cost so far.
    pub cost: Cost,
}

/// An agent-server whose version is known.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its endpoints.
    pub client: Client,
    /// What its version can do.
    pub capabilities: Capabilities,
}

/// Drives the conversation through all turns of the plan. `known` is kept up to date meanwhile. Dropping the future
/// leaves the agent at work: stop it with [`Client::stop`].
///
/// # Errors
/// The [`Failure`] that ends the run.
pub async fn drive(
    server: &Server,
    plan: &ConversationPlan,
    llm: &Llm,
    secrets: Secrets,
    sinks: &mut Sinks,
    known: &watch::Sender<Known>,
) -> Result<(), Failure> {
    let Server { client, capabilities } = server;
    let started = start::start_or_attach(client, *capabilities, plan, llm, secrets)
        .await
        .map_err(|error| refused("failed to start the conversation", &error))?;
    let on_cost = |cost: Cost| {
        known.send_if_modified(|known| {
            let news = known.cost != cost && !cost.is_unknown();
            if news {
                known.cost = cost;
            }
            news
        });
    };
    known.send_modify(|known| known.conversation_id = Some(plan.id));
    sinks.record(&Record::Conversation { id: plan.id, new: started.created == Created::New }).await;

    let target = Target {
        client: client.clone(),
        id: plan.id,
        capabilities: *capabilities,
        may_veto: started.may_veto,
        budget: Budget { limit: plan.cost, spent_before: started.spent_before },
    };
    let budget = target.budget;
    let follower = Follower::open(target, &on_cost, sinks).await;
    Turns { client, plan, follower, budget }.take_all(&started).await
}

struct Turns<'r> {
    client: &'r Client,
    plan: &'r ConversationPlan,
    follower: Follower<'r>,
    budget: Budget,
}

impl Turns<'_> {
    async fn take_all(&mut self, started: &Started) -> Result<(), Failure> {
        let newest = match started.created {
            Created::New => Vec::new(),
            Created::Existing => {
                self.follower.skip().await.map_err(|error| refused("failed to read the conversation", &error))?
            }
        };
        let count = self.plan.messages.len();
        for (index, message) in self.plan.messages.iter().enumerate() {
            if index + 1 < started.sent {
                continue;
            }
            self.follower.begin_turn();
            self.follower.record(&Record::Turn { number: index + 1, of: count, message }).await;
            if index + 1 == started.sent {
                self.resume(&started.status, &newest).await?;
            } else {
                if index == 0 && started.status == Status::Running {
                    self.let_others_finish().await?;
                }
                self.budget.check(self.follower.cost()).map_err(failure_of)?;
                self.send(message).await?;
            }
            let end = self.follower.until_over().await.map_err(failure_of)?;
            if let Some(failure) = failure_of_end(end) {
                return Err(failure);
            }
        }
        Ok(())
    }

    /// A continued conversation may have a run of somebody else under way. A message sent now would be taken up by that
    /// run, and its end would not be ours.
    async fn let_others_finish(&mut self) -> Result<(), Failure> {
        tracing::info!("the conversation has a run under way; waiting for its end");
        self.follower.until_over().await.map_err(failure_of)?;
        self.follower.begin_turn();
        Ok(())
    }

    /// Goes on with a turn whose message is there: waits for its run if there is one, else starts it.
    async fn resume(&mut self, status: &Status, newest: &[Event]) -> Result<(), Failure> {
        // The newest come first: an error above our message is this turn's.
        let error = newest
            .iter()
            .map(Event::meaning)
            .take_while(|meaning| !matches!(meaning, Meaning::UserMessage(_)))
            .find_map(|meaning| if let Meaning::Error(error) = meaning { Some(error) } else { None });
        match (status, error) {
            (Status::Error, Some(error)) => Err(Failure::of_server(error)),
            (Status::Idle | Status::Paused | Status::Error, _) => self
                .client
                .run(self.plan.id)
                .await
                .map(drop)
                .map_err(|error| refused("failed to resume the run", &error)),
            _ => Ok(()),
        }
    }

    /// Sends a message exactly once, as far as the server lets one know: a message carries no id.
    async fn send(&mut self, message: &str) -> Result<(), Failure> {
        const MOST_ATTEMPTS: u8 = 3;
        let failed = |error: HttpError| refused("failed to send the message", &error);
        for attempt in 1.. {
            let Err(error) = self.client.send_message(self.plan.id, message).await else { return Ok(()) };
            if error.retry() == crate::retry::Retry::No {
                return Err(failed(error));
            }
            tracing::warn!(attempt, error = %display::chain(&error), "sending the message failed");
            if self.message_arrived(&error).await {
                // The message is stored; its run may still have to be started.
                return self.client.run(self.plan.id).await.map(drop).map_err(failed);
            }
            if attempt >= MOST_ATTEMPTS || matches!(error, HttpError::Timeout { .. }) {
                return Err(failed(error));
            }
        }
        Ok(())
    }

    /// Whether the message of a failed request is there all the same. A server that is too busy to answer may store it
    /// later, so that after a time-out this is asked for a while.
    async fn message_arrived(&self, error: &HttpError) -> bool {
        let patience = match error {
            HttpError::Timeout { .. } => timing::SERVER_SILENCE,
            _ => timing::POLL_WITHOUT_SOCKET,
        };
        let patience = tokio::time::Instant::now() + patience;
        loop {
            if matches!(self.follower.has_unseen_message().await, Ok(true)) {
                return true;
            }
            if tokio::time::Instant::now() >= patience {
                return false;
            }
            tokio::time::sleep(timing::POLL_WITHOUT_SOCKET / 2).await;
        }
    }
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

fn failure_of(error: FollowError) -> Failure {
    let kind = match error {
        FollowError::ServerLost(_) => FailureKind::AgentServerUnreachable,
        FollowError::Refused(_) => FailureKind::CredentialsRefused,
        FollowError::OverBudget { .. } => FailureKind::CostLimitReached,
    };
    Failure::new(kind, display::chain(&error))
}

fn failure_of_end(end: TurnEnd) -> Option<Failure> {
    let own = |kind, detail: &str| Some(Failure::new(kind, detail));
    match end {
        TurnEnd::Finished => None,
        TurnEnd::Error(Some(error)) => Some(Failure::of_server(error)),
        TurnEnd::Error(None) => own(
            FailureKind::ConversationError,
            "the conversation ended in an error, and the agent-server gives no reason",
        ),
        TurnEnd::Stuck => own(FailureKind::AgentStuck, "the agent did the same again and again, and was stopped"),
        TurnEnd::Paused => own(FailureKind::ConversationPaused, "somebody has paused the conversation"),
        TurnEnd::WaitingForConfirmation => {
            own(FailureKind::ConfirmationRequired, "the agent waits for a confirmation, and nobody is here to give it")
        }
        TurnEnd::Deleted => own(FailureKind::ConversationDeleted, "the conversation was deleted during the run"),
    }
}

/// The agent's final message, if there is one.
///
/// # Errors
/// [`HttpError`].
pub async fn final_message(server: &Server, id: ConversationId) -> Result<Option<String>, HttpError> {
    if server.capabilities.final_response {
        return server.client.final_response(id).await;
    }
    let query =
        crate::agent_server::client::EventQuery { source: Some("agent"), newest_first: true, ..Default::default() };
    let page = server.client.events(id, &query).await?;
    Ok(page.items.iter().filter_map(|item| Event::parse(item.get())).find_map(|event| match event.meaning() {
        Meaning::AgentMessage(text) => Some(text),
        Meaning::Action(action) if action.is_finish => action.detail,
        _ => None,
    }))
}
