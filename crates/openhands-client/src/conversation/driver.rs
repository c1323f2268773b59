//! Performs the I/O that the state machines ask for: the client, the socket and the clock of a conversation.

use std::collections::VecDeque;
use std::pin::Pin;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, Sleep, sleep_until, timeout, timeout_at};

use super::delivery::{Delivery, Looked, Next, SendFailure};
use super::follow::{Action, Follow, FollowError, Input, Note, StateRead};
use super::history::{Cursor, History};
use super::limits::FollowLimits;
use super::turn::TurnEnd;
use super::{ConversationError, Update};
use crate::agent_server::client::RunStarted;
use crate::agent_server::event::Meaning;
use crate::agent_server::socket::{Socket, SocketUpdate};
use crate::agent_server::wire::{ConversationInfo, Cost, Usage};
use crate::agent_server::{AgentServer, AgentServerClient, Event};
use crate::http::HttpError;
use crate::ids::ConversationId;
use crate::retry::{Policy, retry_while_full};
use crate::text;

/// A completed request.
enum Completed {
    State(Result<ConversationInfo, HttpError>),
    StateTimedOut,
    Log(Result<(Vec<Event>, Option<Cursor>), Option<HttpError>>),
    Run(Result<RunStarted, Option<HttpError>>),
}

/// Drives one conversation.
pub(super) struct Driver {
    server: AgentServer,
    id: ConversationId,
    socket: Socket,
    pub(super) history: History,
    pub(super) follow: Follow,
    limits: FollowLimits,
    updates: VecDeque<Update>,
    actions: VecDeque<Action>,
    pending: Option<BoxFuture<'static, Completed>>,
    /// A message that is sent while a turn is followed.
    aside: Option<BoxFuture<'static, ()>>,
    usage: Usage,
    told_cost: Cost,
    events: u64,
    /// One timer for all waits, so that no event creates a timer of its own.
    timer: Pin<Box<Sleep>>,
    /// The time since which the caller has not waited for updates.
    left_at: Option<Instant>,
    over: Option<TurnEnd>,
}

impl Driver {
    /// Subscribes to the conversation, and waits a moment for the subscription.
    pub(super) async fn open(server: AgentServer, id: ConversationId, limits: FollowLimits, follow: Follow) -> Self {
        let mut driver = Self {
            socket: Socket::open(&server.client, id, server.capabilities),
            history: History::new(server.client.clone(), id),
            server,
            id,
            follow,
            limits,
            updates: VecDeque::new(),
            actions: VecDeque::new(),
            pending: None,
            aside: None,
            usage: Usage::default(),
            told_cost: Cost::default(),
            events: 0,
            timer: Box::pin(sleep_until(Instant::now())),
            left_at: None,
            over: None,
        };
        match timeout(driver.server.client.time_limits().subscribe, driver.socket.next()).await {
            Ok(update) => driver.hear(update),
            Err(_) => tracing::warn!("no events socket yet; polling"),
        }
        driver
    }

    /// Forgets the previous turn. Everything seen from now on belongs to a new one.
    pub(super) fn begin_turn(&mut self) {
        self.over = None;
        self.actions.clear();
        self.pending = None;
        self.follow.begin_turn(Instant::now());
    }

    /// Returns the usage of the conversation, as far as it is known.
    pub(super) fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Returns the number of events that were passed on.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// Returns whether the turn is over.
    pub(super) fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// Makes sure that the last message of the previous turns is known.
    pub(super) async fn know_messages(&mut self) -> Result<(), HttpError> {
        if self.follow.has_gap() { self.history.know_messages().await } else { Ok(()) }
    }

    /// Sends a message while the turn is followed, after the messages that are still being sent. On some server versions the
    /// request waits for the running command.
    pub(super) fn send_aside(&mut self, message: String) {
        let (client, id) = (self.server.client.clone(), self.id);
        let limit = client.time_limits().busy_request;
        let before = self.aside.take();
        self.aside = Some(Box::pin(async move {
            if let Some(before) = before {
                before.await;
            }
            if let Err(error) = client.send_message(id, &message, limit).await {
                tracing::warn!(error = %text::chain(&error), "the agent could not be reminded of a limit");
            }
        }));
    }

    /// Waits for the next update. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Update, FollowError> {
        if let Some(left_at) = self.left_at.take() {
            // The time in which the caller did not wait is not silence of the server.
            self.follow.not_watched(left_at.elapsed());
        }
        loop {
            if let Some(update) = self.updates.pop_front() {
                self.left_at = Some(Instant::now());
                return Ok(update);
            }
            if let Some(action) = self.actions.pop_front() {
                self.perform(action)?;
                continue;
            }
            if let Some(end) = &self.over {
                return Ok(Update::TurnOver(end.clone()));
            }
            if self.follow.urgent().is_some_and(|at| at <= Instant::now()) {
                self.step(Input::Tick);
                continue;
            }
            let deadline = self.follow.deadline();
            tokio::select! {
                biased;
                update = self.socket.next(), if self.follow.takes_events() => self.hear(update),
                completed = ready(&mut self.pending) => {
                    self.pending = None;
                    self.complete(completed);
                }
                () = ready(&mut self.aside) => self.aside = None,
                () = wake(&mut self.timer, deadline) => self.step(Input::Tick),
            }
        }
    }

    fn step(&mut self, input: Input<'_>) {
        self.actions.extend(self.follow.step(input, Instant::now()));
        let cost = self.follow.cost();
        if cost != self.told_cost && !cost.is_unknown() {
            self.told_cost = cost;
            self.updates.push_back(Update::Cost(cost));
        }
    }

    fn perform(&mut self, action: Action) -> Result<(), FollowError> {
        let (client, id) = (self.server.client.clone(), self.id);
        match action {
            Action::ReadState { by } => {
                self.pending = Some(Box::pin(async move {
                    match by {
                        None => Completed::State(client.conversation(id).await),
                        Some(by) => match timeout_at(by, client.conversation(id)).await {
                            Ok(state) => Completed::State(state),
                            Err(_) => Completed::StateTimedOut,
                        },
                    }
                }));
            }
            Action::ReadLog => self.read(self.history.cursor()),
            Action::StartRun { by } => {
                let by = by.unwrap_or_else(|| Instant::now() + client.time_limits().busy_request);
                self.pending = Some(Box::pin(async move {
                    Completed::Run(match timeout_at(by, client.run(id)).await {
                        Ok(started) => started.map_err(Some),
                        Err(_) => Err(None),
                    })
                }));
            }
            Action::Note(note) => log(&note),
            Action::Over(end) => {
                self.actions.clear();
                self.over = Some(end);
            }
            Action::Fail(error) => {
                self.actions.clear();
                return Err(error);
            }
        }
        Ok(())
    }

    fn read(&mut self, cursor: Cursor) {
        let (client, id): (AgentServerClient, _) = (self.server.client.clone(), self.id);
        let limit = client.time_limits().request;
        self.pending = Some(Box::pin(async move {
            Completed::Log(match timeout(limit, cursor.read(client, id)).await {
                Ok(read) => read.map_err(Some),
                Err(_) => Err(None),
            })
        }));
    }

    fn complete(&mut self, completed: Completed) {
        match completed {
            Completed::State(Ok(info)) => {
                let read = StateRead { cost: info.cost(), status: info.execution_status };
                self.learn(info.stats);
                self.step(Input::State(Ok(read)));
            }
            Completed::State(Err(error)) => {
                tracing::debug!(error = %text::chain(&error), "the conversation's state could not be read");
                self.step(Input::State(Err(error)));
            }
            Completed::StateTimedOut => self.step(Input::StateTimedOut),
            Completed::Run(started) => {
                if let Err(error) = &started {
                    let error = error.as_ref().map(|error| text::chain(error));
                    tracing::warn!(error, "the run could not be started");
                }
                self.step(Input::Run(started));
            }
            Completed::Log(Ok((events, next))) => {
                self.step(Input::LogPage);
                for event in events {
                    self.admit(event);
                }
                match next {
                    Some(cursor) => self.read(cursor),
                    None => self.step(Input::LogRead(Ok(()))),
                }
            }
            Completed::Log(Err(error)) => self.step(Input::LogRead(Err(error))),
        }
    }

    fn hear(&mut self, update: SocketUpdate) {
        match update {
            SocketUpdate::Subscribed { status, usage } => {
                let cost = usage.cost();
                self.learn(usage);
                self.step(Input::Subscribed { status, cost });
            }
            SocketUpdate::Event(event) => self.admit(*event),
            SocketUpdate::Alive => self.step(Input::Alive),
            SocketUpdate::Lost { reason } => {
                if self.follow.is_connected() {
                    tracing::warn!(reason, "the events socket is lost; reconnecting");
                } else {
                    tracing::debug!(reason, "no events socket");
                }
                self.step(Input::Lost);
            }
        }
    }

    /// Admits an event, unless it has been seen before.
    fn admit(&mut self, event: Event) {
        if !self.history.admit(&event) {
            return self.step(Input::Alive);
        }
        if let Meaning::Stats(usage) | Meaning::FullState { usage, .. } = event.meaning() {
            self.learn(usage.clone());
        }
        self.step(Input::Event(event.meaning()));
        self.events += 1;
        self.updates.push_back(Update::Event(event));
    }

    fn learn(&mut self, usage: Usage) {
        if !usage.is_empty() {
            self.usage = usage;
        }
    }

    /// Sends a message exactly once, as far as the server allows; see [`super::delivery`].
    pub(super) async fn send(&mut self, message: &str) -> Result<(), ConversationError> {
        let failed = |source: HttpError| ConversationError::Request { doing: "send the message", source };
        self.know_messages().await.map_err(failed)?;
        let mut delivery = Delivery::new(self.limits, Instant::now());
        loop {
            let sent = self.server.client.send_message(self.id, message, self.limits.server_silence).await;
            let Err(error) = sent else { return Ok(()) };
            let mut next = delivery.failed(SendFailure::from(&error), Instant::now());
            if next != Next::Fail {
                let attempt = delivery.attempts();
                tracing::warn!(attempt, error = %text::chain(&error), "sending the message failed");
            }
            loop {
                match next {
                    Next::Fail => return Err(failed(error)),
                    Next::StartRun => return self.start_run().await.map_err(failed),
                    Next::Send { after } => break tokio::time::sleep(after).await,
                    Next::Look { after, until } => {
                        tokio::time::sleep(after).await;
                        let looked = match timeout_at(until, self.history.has_new(message)).await {
                            Ok(Ok(true)) => Looked::Found,
                            Ok(Ok(false)) => Looked::Missing,
                            Ok(Err(HttpError::Connect { .. })) => Looked::NotConnected,
                            Ok(Err(_)) | Err(_) => Looked::Unreadable,
                        };
                        next = delivery.looked(looked, Instant::now());
                    }
                }
            }
        }
    }

    /// Starts the run of a stored message. Can be repeated: a run that is already in progress is not an error.
    pub(super) async fn start_run(&self) -> Result<(), HttpError> {
        let client = &self.server.client;
        let (policy, while_full) = (Policy::setup(client.time_limits()), Policy::run_capacity(client.time_limits()));
        retry_while_full("starting the run", policy, while_full, || client.run(self.id)).await.map(drop)
    }
}

/// Waits until the given time. A timer that is set to an earlier time stays as it is: one early wake-up costs less than setting
/// the timer at each event.
async fn wake(timer: &mut Pin<Box<Sleep>>, at: Option<Instant>) {
    let Some(at) = at else { return std::future::pending().await };
    loop {
        if timer.is_elapsed() || timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().await;
        if at <= Instant::now() {
            return;
        }
    }
}

/// Logs a note of the state machine.
fn log(note: &Note) {
    match note {
        Note::SocketIsBack => tracing::info!("the events socket is back"),
        Note::IdleAfterMessage => tracing::info!("the conversation is idle after a message; starting its run"),
        Note::Resuming => tracing::warn!("the agent-server has restarted; resuming the conversation"),
        Note::UnknownStatus(status) => tracing::warn!(status, "the conversation has an unknown status"),
        Note::EndNotConfirmed => {
            tracing::warn!("the end of the turn could not be confirmed; taking what the events socket said");
        }
    }
}

async fn ready<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
