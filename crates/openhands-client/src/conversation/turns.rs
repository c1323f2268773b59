//! Takes a conversation through the turns of a run: sends each message once, follows it to its end, and asks the agent to
//! wrap up when time runs out.

use tokio::time::{Instant, sleep_until, timeout_at};

use super::ConversationError;
use super::Record;
use super::fold::TurnEnd;
use super::follow::{Budget, Follower};
use super::start::{self, Started};
use crate::agent_server::AgentServer;
use crate::agent_server::Event;
use crate::agent_server::client::Created;
use crate::agent_server::event::Meaning;
use crate::agent_server::wire::Status;
use crate::conversation::ConversationPlan;
use crate::http::HttpError;
use crate::retry::{Policy, Retry, Retryable as _, retry};
use crate::text;

/// The one message that an agent gets when its time is nearly up.
pub const WRAP_UP: &str = "Your time is nearly up: this run ends in a few seconds. Start nothing new. \
    Finish now, and say in your final message what is done and what is not.";

pub(super) struct Turns<'r> {
    pub(super) server: &'r AgentServer,
    pub(super) plan: &'r ConversationPlan,
    pub(super) follower: Follower<'r>,
    pub(super) budget: Budget,
    /// When to ask the agent to wrap up.
    pub(super) wrap_up_at: Option<Instant>,
    /// Is told before the agent is set to work.
    pub(super) at_work: &'r (dyn Fn() + Send + Sync),
}

impl Turns<'_> {
    pub(super) async fn take_all(&mut self, started: &Started) -> Result<(), ConversationError> {
        let unread = |source: HttpError| ConversationError::Request { doing: "read the conversation", source };
        let (newest, status) = match started.created {
            Created::New => (Vec::new(), Status::Idle),
            Created::Existing => {
                let newest = self.follower.skip().await.map_err(unread)?;
                // A server that has started again knows the true status when it has read the events.
                let client = &self.server.client;
                let info = retry("reading the conversation", Policy::setup(client.time_limits()), || {
                    client.conversation(self.plan.id)
                })
                .await;
                (newest, info.map_err(unread)?.execution_status)
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
                (self.at_work)();
                self.resume(&status, &newest).await?;
            } else {
                if index == 0 && status == Status::Running {
                    self.let_others_finish().await?;
                }
                if index == 0 && started.spent_before.is_none() {
                    let AgentServer { client, capabilities } = self.server;
                    let begun = start::begin_here(client, *capabilities, self.plan).await;
                    self.budget.spent_before = begun.map_err(unread)?;
                    self.follower.spend(self.budget);
                }
                self.budget.check(self.follower.cost()).map_err(ConversationError::Follow)?;
                (self.at_work)();
                self.send(message).await?;
            }
            let end = self.follow().await?;
            if end != TurnEnd::Finished {
                return Err(ConversationError::Ended(end));
            }
        }
        Ok(())
    }

    /// Follows the turn to its end. When time runs out, the agent is told once, and what it does then is no completion any
    /// more: the caller's own limit ends a turn that goes on all the same.
    async fn follow(&mut self) -> Result<TurnEnd, ConversationError> {
        let (client, id, wrap_up_at) = (&self.server.client, self.plan.id, self.wrap_up_at);
        let following = self.follower.until_over();
        tokio::pin!(following);
        tokio::select! {
            end = &mut following => return end.map_err(ConversationError::Follow),
            () = at(wrap_up_at) => tracing::warn!("time is nearly up; asking the agent to wrap up"),
        }
        // On some versions the request waits for the running command, and with it for nothing.
        tokio::select! {
            end = &mut following => return end.map_err(ConversationError::Follow),
            sent = client.send_message(id, WRAP_UP, client.time_limits().busy_request) => {
                if let Err(error) = sent {
                    tracing::warn!(error = %text::chain(&error), "the agent could not be asked");
                }
            }
        }
        following.await.map_err(ConversationError::Follow)?;
        Err(ConversationError::TimeLimit)
    }

    /// A continued conversation may have a run of somebody else under way. A message sent now would be taken up by that
    /// run, and its end would not be ours; nor is what it costs.
    async fn let_others_finish(&mut self) -> Result<(), ConversationError> {
        tracing::info!("the conversation has a run under way; waiting for its end");
        self.follower.spend(Budget::default());
        self.follower.until_over().await.map_err(ConversationError::Follow)?;
        self.follower.spend(self.budget);
        self.follower.begin_turn();
        Ok(())
    }

    /// Goes on with a turn whose message is there: waits for its run if there is one, else starts it.
    async fn resume(&mut self, status: &Status, newest: &[Event]) -> Result<(), ConversationError> {
        // The newest come first: an error above our message is this turn's.
        let error = newest
            .iter()
            .map(Event::meaning)
            .take_while(|meaning| !matches!(meaning, Meaning::UserMessage(_)))
            .find_map(|meaning| if let Meaning::Error(error) = meaning { Some(error) } else { None });
        match (status, error) {
            (Status::Error, Some(error)) => Err(ConversationError::Ended(TurnEnd::Error(Some(error)))),
            (Status::Idle | Status::Paused | Status::Error, _) => {
                self.start_run().await.map_err(|source| ConversationError::Request { doing: "resume the run", source })
            }
            (status, _) => {
                self.follower.found(status.clone());
                Ok(())
            }
        }
    }

    /// Starts the run of a message that is stored. May be repeated: a run that goes on is no error.
    async fn start_run(&self) -> Result<(), HttpError> {
        retry("starting the run", Policy::setup(self.server.client.time_limits()), || {
            self.server.client.run(self.plan.id)
        })
        .await
        .map(drop)
    }

    /// Sends a message exactly once, as far as the server lets one know: a message carries no id. A server that is away is
    /// waited for as long as one that is away during a turn.
    async fn send(&mut self, message: &str) -> Result<(), ConversationError> {
        const MOST_ATTEMPTS: u8 = 3;
        let failed = |source: HttpError| ConversationError::Request { doing: "send the message", source };
        self.follower.know_messages().await.map_err(failed)?;
        let give_up = Instant::now() + self.server.client.time_limits().server_silence;
        for attempt in 1_u8.. {
            let sent = self
                .server
                .client
                .send_message(self.plan.id, message, self.server.client.time_limits().server_silence)
                .await;
            let Err(error) = sent else { return Ok(()) };
            if error.retry() == Retry::No {
                return Err(failed(error));
            }
            tracing::warn!(attempt, error = %text::chain(&error), "sending the message failed");
            match self.has_arrived(message, &error).await {
                // The message is stored; its run may still have to be started.
                Some(true) => return self.start_run().await.map_err(failed),
                Some(false) => {}
                // Sent again, it might be there twice.
                None => return Err(failed(error)),
            }
            let enough = match error {
                HttpError::Connect { .. } | HttpError::Broken { .. } => Instant::now() >= give_up,
                HttpError::Timeout { .. } => true,
                _ => attempt >= MOST_ATTEMPTS,
            };
            if enough {
                return Err(failed(error));
            }
        }
        Ok(())
    }

    /// Whether the message of a failed request is there all the same; nothing if the server does not say. One that is too
    /// busy to answer may store the message later, so that after a time-out this is asked for a while.
    async fn has_arrived(&self, message: &str, error: &HttpError) -> Option<bool> {
        let give_up = Instant::now() + self.server.client.time_limits().server_silence;
        let believed_from = match error {
            HttpError::Timeout { .. } => give_up,
            _ => Instant::now() + self.server.client.time_limits().poll_without_socket,
        };
        loop {
            match timeout_at(give_up, self.follower.has_new(message)).await {
                Ok(Ok(true)) => return Some(true),
                Ok(Ok(false)) if Instant::now() >= believed_from => return Some(false),
                // It never got there.
                Ok(Err(HttpError::Connect { .. })) if matches!(error, HttpError::Connect { .. }) => {
                    tokio::time::sleep(self.server.client.time_limits().poll_without_socket / 2).await;
                    return Some(false);
                }
                Ok(_) => tokio::time::sleep(self.server.client.time_limits().poll_without_socket / 2).await,
                Err(_) => return None,
            }
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
