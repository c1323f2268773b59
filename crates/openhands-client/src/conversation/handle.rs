//! The handle of a conversation: start, send, follow, stop.

use std::fmt;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::time::{Instant, timeout, timeout_at};

use super::budget::Budget;
use super::driver::Driver;
use super::follow::{Follow, FollowError};
use super::limits::FollowLimits;
use super::start::{self, Started};
use super::turn::TurnEnd;
use super::{ConversationBuilder, ConversationError, ConversationSpec, final_message};
use crate::agent_server::client::Created;
use crate::agent_server::event::Meaning;
use crate::agent_server::wire::{Agent, AgentSource, Cost, Secrets, Status, Usage};
use crate::agent_server::{AgentServer, Event};
use crate::http::HttpError;
use crate::ids::ConversationId;
use crate::retry::{Policy, retry};
use crate::text;

pub(super) type EventHandler = Box<dyn FnMut(&Event) + Send>;

/// Something that happened in a conversation.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Update {
    /// An event of the conversation's log. Each event comes once, and in order.
    Event(Event),
    /// The cost of the conversation so far.
    Cost(Cost),
    /// The turn is over.
    TurnOver(TurnEnd),
}

/// One turn of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Turn {
    /// The number of the turn, starting at 1.
    pub number: usize,
    /// The number of turns in the run.
    pub of: usize,
    /// The message to the agent.
    pub message: String,
}

/// A conversation on an agent-server.
///
/// [`Conversation::send`] sends the agent a message and starts its work. [`Conversation::run`] waits until the turn is over.
/// Dropping a conversation, even in the middle of a turn, closes its connections but **does not stop the agent**: it finishes its
/// turn on the server, which costs money. [`Conversation::stop`] stops it.
pub struct Conversation {
    server: AgentServer,
    spec: ConversationSpec,
    created: Created,
    pub(super) driver: Driver,
    on_event: Option<EventHandler>,
    /// The number of messages of the run that the conversation held when this process attached to it.
    found: usize,
    /// How many times the run had sent the agent back to work before that.
    sent_back: usize,
    /// The number of turns of the run that have begun.
    begun: usize,
    /// The cost of the conversation before the run; `None` if the run has not begun.
    spent_before: Option<Cost>,
    /// The newest events of a conversation that existed before, the newest first, and its status.
    before: (Vec<Event>, Option<Status>),
    ends_at: Option<Instant>,
}

impl Conversation {
    /// Returns a builder for a conversation with this agent.
    #[doc(hidden)]
    #[must_use]
    pub fn builder(server: &AgentServer, agent: Agent) -> ConversationBuilder {
        ConversationBuilder::new(server.clone(), agent)
    }

    /// Starts a conversation, or continues the existing one with its id.
    ///
    /// # Errors
    /// [`ConversationError::Request`].
    pub(super) async fn start(
        server: AgentServer,
        spec: ConversationSpec,
        on_event: Option<EventHandler>,
    ) -> Result<Self, ConversationError> {
        let ends_at = spec.time_limit.map(|limit| Instant::now() + limit);
        let found = start::start_or_find(&server, &spec).await;
        let found = found.map_err(|error| error.into_conversation_error(&spec.working_dir))?;
        let started = start::attach(&server.client, server.capabilities, &spec, found)
            .await
            .map_err(request("continue the conversation"))?;
        Self::open(server, spec, started, on_event, ends_at).await
    }

    /// Starts the conversation that a specification describes.
    ///
    /// # Errors
    /// [`ConversationError::Request`]. If the error has an HTTP status, the server rejected the request and created no
    /// conversation.
    #[doc(hidden)]
    pub async fn from_spec(server: &AgentServer, spec: ConversationSpec) -> Result<Self, ConversationError> {
        Self::start(server.clone(), spec, None).await
    }

    async fn open(
        server: AgentServer,
        spec: ConversationSpec,
        started: Started,
        on_event: Option<EventHandler>,
        ends_at: Option<Instant>,
    ) -> Result<Self, ConversationError> {
        let limits = FollowLimits::from(server.client.time_limits());
        let Started { created, sent, sent_back, spent_before, may_veto } = started;
        let budget = Budget { limit: spec.cost_limit, spent_before: spent_before.unwrap_or_default() };
        let follow = Follow::new(limits, server.capabilities.state_after_run, may_veto, budget, Instant::now());
        let mut driver = Driver::open(server.clone(), spec.id, limits, follow).await;
        let before = match created {
            Created::New => (Vec::new(), None),
            Created::Existing => {
                let newest = driver.history.skip().await.map_err(request("read the conversation"))?;
                // A restarted server knows the true status only after it has read the events.
                let policy = Policy::setup(server.client.time_limits());
                let info = retry("reading the conversation", policy, || server.client.conversation(spec.id)).await;
                (newest, Some(info.map_err(request("read the conversation"))?.execution_status))
            }
        };
        Ok(Self {
            server,
            spec,
            created,
            driver,
            on_event,
            found: sent,
            sent_back,
            begun: 0,
            spent_before,
            before,
            ends_at,
        })
    }

    /// Returns the id of the conversation.
    #[must_use]
    pub fn id(&self) -> ConversationId {
        self.spec.id
    }

    /// Returns the agent-server.
    #[doc(hidden)]
    #[must_use]
    pub fn server(&self) -> &AgentServer {
        &self.server
    }

    /// Returns the agent, if this process described it.
    pub(super) fn agent(&self) -> Option<&Agent> {
        match &self.spec.agent {
            AgentSource::Agent { agent } => Some(agent),
            AgentSource::Profile(_) => None,
        }
    }

    /// Returns whether the conversation is new or existed before.
    #[doc(hidden)]
    #[must_use]
    pub fn created(&self) -> Created {
        self.created
    }

    /// Returns the cost of the conversation in US dollars, as far as it is known.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.driver.follow.cost()
    }

    /// Returns tokens and cost for each usage id, as far as they are known.
    #[must_use]
    pub fn usage(&self) -> &Usage {
        self.driver.usage()
    }

    /// Returns the last known status.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        self.driver.follow.status()
    }

    /// Returns the number of events that this process has seen.
    #[must_use]
    pub fn event_count(&self) -> u64 {
        self.driver.events()
    }

    /// Returns the number of messages of the run that the conversation already holds.
    #[doc(hidden)]
    #[must_use]
    pub fn messages_found(&self) -> usize {
        self.found
    }

    /// Returns how many times the run had sent the agent back to work with [`CHECKS_FAILED`](super::CHECKS_FAILED) before this
    /// process attached to the conversation.
    #[doc(hidden)]
    #[must_use]
    pub fn sent_back(&self) -> usize {
        self.sent_back
    }

    /// Sends the agent a message and starts its work. The message is sent once, as far as the server allows.
    ///
    /// # Errors
    /// [`ConversationError`]: the message was not sent, or may have been sent; or the cost limit has already been reached.
    pub async fn send(&mut self, message: &str) -> Result<(), ConversationError> {
        self.driver.begin_turn();
        self.driver.follow.budget.check(self.cost()).map_err(|error| self.follow_error(error))?;
        self.driver.send(message).await
    }

    /// Waits until the turn is over, and passes every event to the handler of [`ConversationBuilder::on_event`].
    ///
    /// # Errors
    /// [`ConversationError`]: the turn ended with an error, could not be followed to its end, or reached a limit.
    pub async fn run(&mut self) -> Result<TurnEnd, ConversationError> {
        loop {
            match self.next().await? {
                Update::Event(event) => {
                    if let Some(handler) = &mut self.on_event {
                        handler(&event);
                    }
                }
                Update::Cost(_) => {}
                Update::TurnOver(end @ (TurnEnd::Finished | TurnEnd::Paused | TurnEnd::WaitingForConfirmation)) => {
                    return Ok(end);
                }
                Update::TurnOver(end) => return Err(ConversationError::Ended { cost: self.cost(), end }),
            }
        }
    }

    /// Waits for the next update of this turn. Cancel safe. Events wait on the server's side while no one calls this; the time
    /// between two calls does not count as silence of the server.
    ///
    /// # Errors
    /// [`ConversationError`]. If a cost or time limit is reached, the agent is stopped first.
    pub async fn next(&mut self) -> Result<Update, ConversationError> {
        let next = match self.ends_at {
            None => self.driver.next().await,
            Some(ends_at) => match timeout_at(ends_at, self.driver.next()).await {
                Ok(next) => next,
                Err(_) => {
                    self.stop_at_limit().await;
                    let limit = self.spec.time_limit.unwrap_or_default();
                    return Err(ConversationError::TimeLimit { cost: self.cost(), limit });
                }
            },
        };
        match next {
            Ok(update) => Ok(update),
            Err(error) => {
                if matches!(error, FollowError::OverBudget { .. }) {
                    self.stop_at_limit().await;
                }
                Err(self.follow_error(error))
            }
        }
    }

    /// Returns the events of this turn as a stream that ends with the turn.
    pub fn events(&mut self) -> impl Stream<Item = Result<Event, ConversationError>> + '_ {
        unfold(Some(self), async |conversation| {
            let conversation = conversation?;
            loop {
                match conversation.next().await {
                    Ok(Update::Event(event)) => return Some((Ok(event), Some(conversation))),
                    Ok(Update::Cost(_)) => {}
                    Ok(Update::TurnOver(_)) => return None,
                    Err(error) => return Some((Err(error), None)),
                }
            }
        })
    }

    /// Stops the agent with `interrupt`, or with `pause` if the version has no `interrupt`. The server responds to a pause only
    /// after the running command.
    ///
    /// # Errors
    /// [`ConversationError::Request`].
    pub async fn stop(&self) -> Result<(), ConversationError> {
        let stopped = self.server.client.stop(self.id(), self.server.capabilities).await;
        stopped.map_err(request("stop the agent"))
    }

    async fn stop_at_limit(&self) {
        // A pause takes effect even if no one waits for its response.
        if let Ok(Err(error)) = timeout(self.server.client.time_limits().stop_agent, self.stop()).await {
            tracing::warn!(error = %text::chain(&error), "the agent could not be stopped");
        }
    }

    /// Returns the cost of this run alone in US dollars, as far as it is known.
    #[doc(hidden)]
    #[must_use]
    pub fn spent(&self) -> Option<f64> {
        self.driver.follow.budget.spent(self.cost())
    }

    /// Sends the agent a message outside the turns. The agent reads it before its next step. Returns at once, like
    /// [`Conversation::wrap_up`].
    #[doc(hidden)]
    pub fn remind(&mut self, message: impl Into<String>) {
        self.driver.send_aside(message.into());
    }

    /// Asks the agent to wrap up, in a message outside the turns. Returns at once; the message is sent while
    /// [`Conversation::next`] waits.
    pub fn wrap_up(&mut self, message: impl Into<String>) {
        self.driver.send_aside(message.into());
    }

    /// Adds secrets, and replaces those with the same name. The agent's next command sees them.
    ///
    /// # Errors
    /// [`ConversationError::Request`].
    pub async fn update_secrets(&self, secrets: &Secrets) -> Result<(), ConversationError> {
        let added =
            retry("adding secrets to the conversation", Policy::setup(self.server.client.time_limits()), || {
                self.server.client.add_secrets(self.id(), secrets)
            });
        added.await.map_err(request("add secrets to the conversation"))
    }

    /// Reads the agent's final message, if there is one.
    ///
    /// # Errors
    /// [`ConversationError::Request`].
    pub async fn final_message(&self) -> Result<Option<String>, ConversationError> {
        final_message(&self.server, self.id()).await.map_err(request("read the final message"))
    }

    /// Closes the connections. A turn that is still in progress is stopped; the conversation stays on the server.
    ///
    /// # Errors
    /// [`ConversationError::Request`]: the agent may still be working.
    pub async fn close(self) -> Result<(), ConversationError> {
        match self.status() {
            Some(Status::Running) if !self.driver.is_over() => self.stop().await,
            _ => Ok(()),
        }
    }
}

/// The turns of a run that may have been restarted.
#[doc(hidden)]
impl Conversation {
    /// Returns the next turn to begin: the last one that was sent before, or else the first one that was not.
    #[must_use]
    pub fn upcoming_turn(&self) -> Option<Turn> {
        let messages = self.spec.messages();
        let index = self.begun.max(self.found.saturating_sub(1));
        Some(Turn { number: index + 1, of: messages.len(), message: messages.get(index)?.clone() })
    }

    /// Returns whether someone else's run is in progress in a conversation that this run continues. That run would pick up a
    /// message sent now, and neither its end nor its cost would belong to this run.
    #[must_use]
    pub fn is_others_turn(&self) -> bool {
        self.begun == 0 && self.found == 0 && self.before.1 == Some(Status::Running)
    }

    /// Follows the turn of someone else's run, without the limits of this run: [`Conversation::next`] returns its events until it
    /// is over.
    pub fn follow_others(&mut self) {
        tracing::info!("the conversation has a run under way; waiting for its end");
        self.driver.begin_turn();
        self.driver.follow.budget = Budget::default();
        self.before.1 = None;
    }

    /// Begins the upcoming turn: resumes it if its message was sent before, or else sends the message.
    ///
    /// # Errors
    /// [`ConversationError`].
    pub async fn begin_turn(&mut self) -> Result<(), ConversationError> {
        let Some(Turn { number, message, .. }) = self.upcoming_turn() else { return Ok(()) };
        self.begun = number;
        if number == self.found {
            self.driver.begin_turn();
            return self.resume().await;
        }
        if self.spent_before.is_none() {
            let AgentServer { client, capabilities } = &self.server;
            let spent = start::begin_here(client, *capabilities, &self.spec).await;
            self.spent_before = Some(spent.map_err(request("read the conversation"))?);
        }
        let spent_before = self.spent_before.unwrap_or_default();
        self.driver.follow.budget = Budget { limit: self.spec.cost_limit, spent_before };
        self.send(&message).await
    }

    /// Continues a turn whose message the log holds: waits for its run if there is one, or else starts it.
    async fn resume(&mut self) -> Result<(), ConversationError> {
        let (newest, status) = &self.before;
        // The newest events come first: an error above our message belongs to this turn.
        let error = newest
            .iter()
            .map(Event::meaning)
            .take_while(|meaning| !matches!(meaning, Meaning::UserMessage(_)))
            .find_map(|meaning| if let Meaning::Error(error) = meaning { Some(error) } else { None });
        match (status, error) {
            (Some(Status::Error), Some(error)) => {
                Err(ConversationError::Ended { cost: self.cost(), end: TurnEnd::Error(Some(error.clone())) })
            }
            (Some(Status::Idle | Status::Paused | Status::Error), _) => {
                self.driver.start_run().await.map_err(request("resume the run"))
            }
            (status, _) => {
                self.driver.follow.found(status.clone(), Cost::default());
                Ok(())
            }
        }
    }
}

impl Conversation {
    fn follow_error(&self, error: FollowError) -> ConversationError {
        ConversationError::Follow { cost: self.cost(), error }
    }

    /// Returns the remaining time of the conversation, if it has a time limit.
    #[doc(hidden)]
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.ends_at.map(|at| at.saturating_duration_since(Instant::now()))
    }
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation").field("id", &self.spec.id).finish_non_exhaustive()
    }
}

/// Converts a failed request into the conversation's error.
pub(super) fn request(doing: &'static str) -> impl FnOnce(HttpError) -> ConversationError {
    move |source| ConversationError::Request { doing, source }
}
