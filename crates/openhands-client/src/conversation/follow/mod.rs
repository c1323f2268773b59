//! Follows a conversation until its turn is over: the socket for news, the HTTP state for truth.
//!
//! Every event of the log reaches the sinks exactly once, whatever happens to the connection: after each gap, and at the
//! end of each turn, the log is read over HTTP from a little before the last event, and what was seen is dropped.

mod budget;
mod confirm;

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep_until, timeout};

use super::fold::{Claim, Fold, TurnEnd};
use super::log::Log;
use crate::agent_server::event::Meaning;
use crate::agent_server::socket::{Report, Socket};
use crate::agent_server::wire::{ConversationInfo, Cost, Status};
use crate::agent_server::{AgentServerClient, Capabilities, Event};
use crate::conversation::{Observer, Record};
use crate::http::HttpError;
use crate::ids::ConversationId;
use crate::text;
use crate::time_limits::TimeLimits;

pub(super) use budget::Budget;

/// The turn could not be followed to its end.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// No sign of life for this time ([`TimeLimits::server_silence`]).
    #[error("the agent-server gave no sign of life for {} s", limit.as_secs())]
    ServerLost {
        /// The time without a sign of life.
        limit: Duration,
        /// The last failure, if a request failed.
        source: Option<HttpError>,
    },
    /// Nothing but errors for this time ([`TimeLimits::server_errors`]).
    #[error("the agent-server answered with nothing but errors for {} s", limit.as_secs())]
    OnlyErrors {
        /// The time with nothing but errors.
        limit: Duration,
        /// The last error.
        source: HttpError,
    },
    /// The server refuses our key.
    #[error("the agent-server refuses the session key")]
    Refused(#[source] HttpError),
    /// The server is there, and does not start the run of a message.
    #[error("the agent-server does not start the run")]
    NotStarted(#[source] HttpError),
    /// The run has spent more than it may.
    #[error("the run has cost {spent}; its limit is {limit}")]
    OverBudget {
        /// What this run has cost.
        spent: Cost,
        /// What it may cost.
        limit: Cost,
    },
}

/// What does not change while a conversation is followed.
pub(super) struct Target {
    pub(super) client: AgentServerClient,
    pub(super) id: ConversationId,
    pub(super) capabilities: Capabilities,
    /// Whether a stop hook may send the agent back to work after its finish.
    pub(super) may_veto: bool,
    pub(super) budget: Budget,
}

/// Follows one conversation through its turns.
pub(super) struct Follower<'s> {
    target: Target,
    on_cost: &'s (dyn Fn(Cost) + Send + Sync),
    observer: &'s mut dyn Observer,
    socket: Socket,
    /// Whether the socket works now.
    connected: bool,
    /// Whether events may have been missed since the log was last read.
    gap: bool,
    log: Log,
    fold: Fold,
    claim: Claim,
    /// When the claimed end is to be confirmed.
    confirm_at: Option<Instant>,
    turn_began: Instant,
    /// Since when the run of a message is not started.
    not_started_since: Option<Instant>,
    /// Whether the server was away in this turn.
    outage: bool,
    resumes: u8,
    last_sign: Instant,
    /// Since when the server gives nothing but errors.
    errors_since: Option<Instant>,
    last_failure: Option<HttpError>,
}

impl<'s> Follower<'s> {
    /// Subscribes to the conversation, and waits a moment until that works.
    pub(super) async fn open(
        target: Target,
        on_cost: &'s (dyn Fn(Cost) + Send + Sync),
        observer: &'s mut dyn Observer,
    ) -> Self {
        let mut follower = Self {
            on_cost,
            observer,
            socket: Socket::open(&target.client, target.id, target.capabilities),
            connected: false,
            gap: false,
            log: Log::new(target.client.clone(), target.id),
            fold: Fold::default(),
            claim: Claim::Ongoing,
            confirm_at: None,
            turn_began: Instant::now(),
            not_started_since: None,
            outage: false,
            resumes: 0,
            last_sign: Instant::now(),
            errors_since: None,
            last_failure: None,
            target,
        };
        match timeout(follower.limits().subscribe, follower.socket.next()).await {
            Ok(report) => follower.report(report).await,
            Err(_) => tracing::warn!("no events socket yet; going on with polling"),
        }
        follower
    }

    fn limits(&self) -> TimeLimits {
        *self.target.client.time_limits()
    }

    /// Counts what the log holds now as seen, and gives the newest of it, the newest first.
    pub(super) async fn skip(&mut self) -> Result<Vec<Event>, HttpError> {
        self.log.skip().await
    }

    /// Whether the log holds this message from our side after the last one that is known.
    pub(super) async fn has_new(&self, message: &str) -> Result<bool, HttpError> {
        self.log.has_new(message).await
    }

    /// Makes sure that the last message of the turns before is known.
    pub(super) async fn know_messages(&mut self) -> Result<(), HttpError> {
        if self.gap { self.log.know_messages().await } else { Ok(()) }
    }

    /// What may be spent from now on.
    pub(super) fn spend(&mut self, budget: Budget) {
        self.target.budget = budget;
    }

    /// Forgets the turn before; what is seen from now on belongs to a new one.
    pub(super) fn begin_turn(&mut self) {
        self.fold.begin_turn();
        self.claim = Claim::Ongoing;
        self.confirm_at = None;
        self.turn_began = Instant::now();
        self.not_started_since = None;
        self.answered();
        self.outage = false;
    }

    /// The state in which the conversation was found when this run came back to it.
    pub(super) fn found(&mut self, status: Status) {
        self.state(Some(status), Cost::default());
    }

    /// The last known cost of the conversation.
    pub(super) fn cost(&self) -> Cost {
        self.fold.cost()
    }

    /// Hands a record to the sinks.
    pub(super) async fn record(&mut self, record: &Record<'_>) {
        self.observer.record(record).await;
    }

    /// Follows the conversation until the turn is over.
    pub(super) async fn until_over(&mut self) -> Result<TurnEnd, FollowError> {
        let mut poll: Option<BoxFuture<'static, Result<ConversationInfo, HttpError>>> = None;
        let mut next_poll = Instant::now() + self.poll_interval();
        self.answered();
        loop {
            self.weigh_claim();
            if self.fold.end().is_none() {
                self.target.budget.check(self.fold.cost())?;
            }
            let lost_at = self.last_sign + self.limits().server_silence;
            tokio::select! {
                biased;
                () = at(self.confirm_at) => {
                    self.confirm_at = Some(Instant::now() + self.limits().confirm_again);
                    match self.confirmed().await {
                        Ok(Some(end)) => return Ok(end),
                        Ok(None) => {}
                        Err(error) => return self.last_word(error),
                    }
                }
                report = self.socket.next() => {
                    if matches!(report, Report::Lost { .. }) {
                        next_poll = next_poll.min(Instant::now() + self.limits().poll_without_socket);
                    }
                    self.report(report).await;
                }
                state = ready(&mut poll) => {
                    poll = None;
                    if let Err(error) = self.polled(state).await {
                        return self.last_word(error);
                    }
                    next_poll = Instant::now() + self.poll_interval();
                }
                () = sleep_until(next_poll), if poll.is_none() => {
                    let (client, id) = (self.target.client.clone(), self.target.id);
                    poll = Some(Box::pin(async move { client.conversation(id).await }));
                }
                () = sleep_until(lost_at) => {
                    if let Err(error) = self.look_once_more().await {
                        return self.last_word(error);
                    }
                }
            }
        }
    }

    /// What a turn ends with when the server is lost: an end that is certain needs nobody to confirm it.
    fn last_word(&self, error: FollowError) -> Result<TurnEnd, FollowError> {
        match (error, self.claim, self.fold.end()) {
            (FollowError::ServerLost { .. } | FollowError::OnlyErrors { .. }, Claim::Certain, Some(end)) => Ok(end),
            (error, ..) => Err(error),
        }
    }

    /// What seems to be the server's silence may be our own: a process that was frozen finds all its times over at once.
    async fn look_once_more(&mut self) -> Result<(), FollowError> {
        match timeout(self.limits().last_look, self.target.client.conversation(self.target.id)).await {
            Ok(Err(error)) if !Self::is_sign_of_life(&error) => {
                Err(FollowError::ServerLost { limit: self.limits().server_silence, source: Some(error) })
            }
            Ok(state) => self.polled(state).await,
            Err(_) => {
                Err(FollowError::ServerLost { limit: self.limits().server_silence, source: self.last_failure.take() })
            }
        }
    }

    fn poll_interval(&self) -> Duration {
        if !self.connected {
            self.limits().poll_without_socket
        } else if self.target.budget.limit.is_some() {
            self.limits().poll_with_budget
        } else {
            self.limits().poll_with_socket
        }
    }

    /// Decides when a newly claimed end is confirmed: at once, unless the server is still to send the state that follows
    /// a run.
    fn weigh_claim(&mut self) {
        let claim = self.fold.claim();
        if claim != self.claim {
            self.claim = claim;
            self.confirm_at = match claim {
                Claim::Ongoing => None,
                Claim::Perhaps if self.target.capabilities.state_after_run && self.connected => {
                    Some(Instant::now() + self.limits().last_word)
                }
                Claim::Perhaps | Claim::Certain => Some(Instant::now()),
            };
        }
    }

    async fn report(&mut self, report: Report) {
        match report {
            Report::Lost { .. } => {}
            Report::Alive => self.last_sign = Instant::now(),
            Report::Subscribed { .. } | Report::Event(_) => self.answered(),
        }
        match report {
            Report::Subscribed { status, cost } => {
                self.connected = true;
                self.state(status, cost);
                if self.gap {
                    tracing::info!("the events socket is back");
                    self.catch_up().await;
                }
            }
            Report::Event(event) => self.take(&event).await,
            Report::Alive => {}
            Report::Lost { reason } => {
                if self.connected {
                    tracing::warn!(reason, "the events socket is lost; connecting again");
                } else {
                    tracing::debug!(reason, "no events socket");
                }
                self.connected = false;
                self.gap = true;
                self.outage = true;
            }
        }
    }

    async fn polled(&mut self, state: Result<ConversationInfo, HttpError>) -> Result<(), FollowError> {
        match state {
            Ok(info) => {
                self.answered();
                self.learn(&info);
                if !self.connected || self.gap {
                    self.catch_up().await;
                }
                if info.execution_status == Status::Idle && self.turn_began.elapsed() > self.limits().idle_after_message
                {
                    tracing::info!("the conversation is idle after a message; starting its run");
                    let started = self.start_run().await;
                    let since = *self.not_started_since.get_or_insert_with(Instant::now);
                    match started {
                        Ok(()) => self.not_started_since = None,
                        Err(error) if since.elapsed() > self.limits().server_errors => {
                            return Err(FollowError::NotStarted(error));
                        }
                        Err(_) => {}
                    }
                }
                Ok(())
            }
            Err(error) => self.not_answered(error),
        }
    }

    fn not_answered(&mut self, error: HttpError) -> Result<(), FollowError> {
        match error.status() {
            // Versions differ in what they answer for an unknown conversation.
            Some(400 | 404) => self.fold.state(Some(Status::Deleting), Cost::default()),
            Some(401 | 403) => return Err(FollowError::Refused(error)),
            status => {
                let is_error = status.is_some_and(|status| status >= 500);
                if is_error
                    && self.errors_since.get_or_insert_with(Instant::now).elapsed() > self.limits().server_errors
                {
                    return Err(FollowError::OnlyErrors { limit: self.limits().server_errors, source: error });
                }
                if Self::is_sign_of_life(&error) {
                    self.last_sign = Instant::now();
                }
                tracing::debug!(error = %text::chain(&error), "the conversation's state could not be read");
                self.last_failure = Some(error);
            }
        }
        Ok(())
    }

    /// Whether this comes from the server itself, and not from a gateway.
    fn is_sign_of_life(error: &HttpError) -> bool {
        match error.status() {
            None | Some(502..=504) => false,
            Some(_) => true,
        }
    }

    fn learn(&mut self, info: &ConversationInfo) {
        self.state(Some(info.execution_status.clone()), info.cost());
    }

    fn state(&mut self, status: Option<Status>, cost: Cost) {
        self.fold.state(status, cost);
        (self.on_cost)(self.fold.cost());
    }

    async fn take(&mut self, event: &Event) {
        if !self.log.admit(event) {
            return;
        }
        let meaning = event.meaning();
        if matches!(meaning, Meaning::UserMessage(_)) {
            self.log.knows_message(event);
        }
        self.fold.event(&meaning);
        if matches!(meaning, Meaning::Stats(_) | Meaning::FullState { .. }) {
            (self.on_cost)(self.fold.cost());
        }
        let waiting = Instant::now();
        self.observer.record(&Record::Event { event, meaning: &meaning }).await;
        // Our own waiting is not the server's silence.
        self.last_sign += waiting.elapsed();
    }

    /// Reads what the log holds since a little before the last event. A failure does no harm: the gap stays, and the
    /// next answer of the server brings another attempt.
    async fn catch_up(&mut self) {
        self.gap = true;
        let mut cursor = self.log.cursor();
        loop {
            match timeout(self.limits().request, self.log.page(&mut cursor)).await {
                Ok(Ok(Some(events))) => {
                    self.answered();
                    for event in &events {
                        self.take(event).await;
                    }
                }
                Ok(Ok(None)) => break self.gap = false,
                Ok(Err(error)) => break self.last_failure = Some(error),
                Err(_) => break,
            }
        }
    }

    /// Starts a run that should be under way. A failure does no harm: the next poll finds the same state.
    async fn start_run(&mut self) -> Result<(), HttpError> {
        let started = self.target.client.run(self.target.id).await;
        if let Err(error) = &started {
            tracing::warn!(error = %text::chain(error), "the run could not be started");
        }
        started.map(drop)
    }

    fn answered(&mut self) {
        self.last_sign = Instant::now();
        self.errors_since = None;
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn ready<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
