//! Follows a conversation until its turn is over. The socket is the fast source, the HTTP state is the authoritative one. Pure:
//! no clock, no I/O.
//!
//! [`Follow::step`] takes an input and returns the actions to perform. [`Follow::deadline`] returns when to call it with
//! [`Input::Tick`]. The driver has at most one request in progress; a new one replaces the previous one.
//!
//! ```text
//!             poll, reconnect                    claimed end                  confirmed
//! CatchingUp ◄───────────────► Following ─────────────────► Confirming ────────────────────► Closing ─► over
//!                               ▲   │  ▲                        │ finished, a hook may veto     ▲
//!                               │   │  └──── still at work ─────┼────────► AskingToRun ─────────┤
//!                               │   │ silence                   │ error                         │
//!                               │   └────────► LastLook ─► lost └────────► Explaining ──────────┘
//!                               └── the run is started ◄─ Starting ◄─ idle, or restarted server
//! ```

mod action;
mod error;
mod input;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::Instant;

pub(super) use self::action::{Action, Note};
pub use self::error::FollowError;
pub(super) use self::input::{Input, StateRead};
use super::budget::Budget;
use super::fold::{Claim, Fold};
use super::limits::FollowLimits;
use super::turn::TurnEnd;
use crate::agent_server::client::RunStarted;
use crate::agent_server::wire::{Cost, Status};
use crate::http::HttpError;

/// The maximum number of resumes in a turn: a server that dies repeatedly is not resumed forever.
const MOST_RESUMES: u8 = 3;
/// The maximum number of requests to start the run of a conversation that stays idle.
const MOST_STARTS: u32 = 5;
/// The same for a turn that began while the conversation was paused. The pause may be a new one.
const MOST_STARTS_AFTER_PAUSE: u32 = 2;
/// The number of consecutive responses after which a rejected key or an unknown conversation is believed: a gateway may report
/// either for a moment.
const BELIEVED: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// Waiting for events; a poll may be in progress.
    Following { polling: bool },
    /// Reading the log after a gap. After that, the run of an idle conversation may have to be started.
    CatchingUp { check_idle: bool },
    /// Confirming the claimed end.
    Confirming { certain: bool },
    /// Asking a finished conversation to run. If its stop hook is still working, the server responds that the conversation is
    /// running.
    AskingToRun,
    /// Reading the state after that.
    AskingState,
    /// Waiting for the reason of an error, which may still arrive.
    Explaining { until: Instant, look_at: Option<Instant> },
    /// Starting the run.
    Starting { resumes: bool },
    /// Checking a server that seems lost once more: if this process was frozen, all its time limits expire at once.
    LastLook,
    /// Reading the rest of the log.
    Closing,
}

/// Follows one conversation through its turns.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any two may hold at once")]
pub(super) struct Follow {
    limits: FollowLimits,
    /// Whether the version sends a state event after a run.
    state_after_run: bool,
    /// Whether a stop hook may send the agent back to work after its finish.
    pub(super) may_veto: bool,
    pub(super) budget: Budget,
    fold: Fold,
    phase: Phase,
    end: Option<TurnEnd>,
    connected: bool,
    /// Whether events may have been missed since the log was last read.
    gap: bool,
    /// Whether the server was unavailable during this turn.
    outage: bool,
    claim: Claim,
    confirm_at: Option<Instant>,
    next_poll: Instant,
    turn_began: Instant,
    /// Whether the conversation was paused when the turn began and has not been seen running since.
    was_paused: bool,
    last_sign: Instant,
    last_event: Instant,
    /// The time since which every request for the state has failed.
    unreadable_since: Option<Instant>,
    /// Whether there was an error response since then, and not only silence.
    errors: bool,
    /// The number of consecutive responses that reject the key, or say that the conversation does not exist.
    refusals: u32,
    unknown: u32,
    last_failure: Option<HttpError>,
    /// The number of accepted requests to start the run of this turn.
    starts: u32,
    not_started_since: Option<Instant>,
    resumes: u8,
    noted_status: Option<String>,
}

impl Follow {
    pub(super) fn new(
        limits: FollowLimits,
        state_after_run: bool,
        may_veto: bool,
        budget: Budget,
        now: Instant,
    ) -> Self {
        Self {
            limits,
            state_after_run,
            may_veto,
            budget,
            fold: Fold::default(),
            phase: Phase::Following { polling: false },
            end: None,
            connected: false,
            gap: false,
            outage: false,
            claim: Claim::Ongoing,
            confirm_at: None,
            next_poll: now,
            turn_began: now,
            was_paused: false,
            last_sign: now,
            last_event: now,
            unreadable_since: None,
            errors: false,
            refusals: 0,
            unknown: 0,
            last_failure: None,
            starts: 0,
            not_started_since: None,
            resumes: 0,
            noted_status: None,
        }
    }

    /// Forgets the previous turn. Everything seen from now on belongs to a new one.
    pub(super) fn begin_turn(&mut self, now: Instant) {
        self.was_paused = self.fold.status() == Some(&Status::Paused);
        self.fold.begin_turn();
        self.claim = Claim::Ongoing;
        self.confirm_at = None;
        self.end = None;
        self.turn_began = now;
        self.last_event = now;
        self.starts = 0;
        self.not_started_since = None;
        self.outage = false;
        self.phase = Phase::Following { polling: false };
        self.next_poll = now + self.poll_interval();
        self.answered(now);
    }

    /// Returns whether events of the socket are accepted now. In the other phases a request has to complete first.
    pub(super) fn takes_events(&self) -> bool {
        matches!(self.phase, Phase::Following { .. })
    }

    /// Returns whether events may have been missed.
    pub(super) fn has_gap(&self) -> bool {
        self.gap
    }

    /// Returns whether the socket is connected.
    pub(super) fn is_connected(&self) -> bool {
        self.connected
    }

    /// Returns the last known cost of the conversation.
    pub(super) fn cost(&self) -> Cost {
        self.fold.cost()
    }

    /// Returns the last known status.
    pub(super) fn status(&self) -> Option<&Status> {
        self.fold.status()
    }

    /// Excludes a time in which the caller did not wait for updates: it is not silence of the server.
    pub(super) fn not_watched(&mut self, time: Duration) {
        self.last_sign += time;
        self.last_event += time;
        if let Some(since) = &mut self.unreadable_since {
            *since += time;
        }
    }

    /// Adds a state that was read elsewhere.
    pub(super) fn found(&mut self, status: Option<Status>, cost: Cost) {
        self.fold.state(status, cost);
    }

    /// Returns when a claimed end has to be confirmed. This comes before everything else.
    pub(super) fn urgent(&self) -> Option<Instant> {
        match self.phase {
            Phase::Following { .. } => self.confirm_at,
            _ => None,
        }
    }

    /// Returns the latest time to call [`Follow::step`] with [`Input::Tick`].
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Following { polling } => {
                let lost = self.last_sign + self.limits.server_silence;
                let poll = (!polling).then_some(self.next_poll);
                [self.confirm_at, poll].into_iter().flatten().chain([lost]).min()
            }
            Phase::Explaining { look_at, .. } => look_at,
            _ => None,
        }
    }

    /// Takes an input, and returns the actions to perform.
    pub(super) fn step(&mut self, input: Input<'_>, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        match input {
            Input::Event(meaning) => {
                self.fold.event(meaning);
                self.last_event = now;
                self.sign(now);
            }
            Input::Alive | Input::LogPage => self.sign(now),
            Input::Subscribed { status, cost } => {
                self.connected = true;
                self.sign(now);
                self.fold.state(status, cost);
                if self.gap {
                    actions.push(Action::Note(Note::SocketIsBack));
                    self.read_log(Phase::CatchingUp { check_idle: false }, &mut actions);
                }
            }
            Input::Lost => {
                self.connected = false;
                self.gap = true;
                self.outage = true;
                self.next_poll = self.next_poll.min(now + self.limits.poll_without_socket);
            }
            Input::State(read) => self.state_read(read, now, &mut actions),
            Input::StateTimedOut => self.state_timed_out(now, &mut actions),
            Input::LogRead(read) => self.log_read(read, now, &mut actions),
            Input::Run(started) => self.run_started(started, now, &mut actions),
            Input::Tick => {}
        }
        self.was_paused &= self.fold.status() != Some(&Status::Running);
        self.settle(now, &mut actions);
        actions
    }

    /// Adds the actions that the time and the known facts require.
    fn settle(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if let Phase::Explaining { until, look_at: Some(look_at) } = self.phase
            && look_at <= now
        {
            self.read_log(Phase::Explaining { until, look_at: None }, actions);
        }
        let Phase::Following { polling } = self.phase else { return };
        self.weigh_claim(now);
        if self.fold.end().is_none()
            && let Err(error) = self.budget.check(self.fold.cost())
        {
            return actions.push(Action::Fail(error));
        }
        self.note_unknown_status(actions);
        if self.confirm_at.is_some_and(|at| at <= now) {
            self.confirm_at = Some(now + self.limits.confirm_again);
            self.phase = Phase::Confirming { certain: self.claim == Claim::Certain };
            actions.push(Action::ReadState { by: Some(self.last_chance(now)) });
        } else if self.last_sign + self.limits.server_silence <= now {
            self.phase = Phase::LastLook;
            actions.push(Action::ReadState { by: Some(now + self.limits.last_look) });
        } else if !polling && self.next_poll <= now {
            self.phase = Phase::Following { polling: true };
            actions.push(Action::ReadState { by: None });
        }
    }

    /// Decides when a newly claimed end is confirmed: at once, unless the server still has to send the state event that follows a
    /// run.
    fn weigh_claim(&mut self, now: Instant) {
        let claim = self.fold.claim();
        if claim != self.claim {
            self.claim = claim;
            self.confirm_at = match claim {
                Claim::Ongoing => None,
                Claim::Perhaps if self.state_after_run && self.connected => Some(now + self.limits.last_word),
                Claim::Perhaps | Claim::Certain => Some(now),
            };
        }
    }

    fn note_unknown_status(&mut self, actions: &mut Vec<Action>) {
        if let Some(Status::Other(status)) = self.fold.status()
            && self.noted_status.as_ref() != Some(status)
        {
            self.noted_status = Some(status.clone());
            actions.push(Action::Note(Note::UnknownStatus(status.clone())));
        }
    }

    fn state_read(&mut self, read: Result<StateRead, HttpError>, now: Instant, actions: &mut Vec<Action>) {
        let phase = self.phase;
        match (phase, read) {
            (Phase::Closing, _) => {}
            (Phase::LastLook, Err(error)) if !is_sign_of_life(&error) => {
                self.fail(
                    FollowError::ServerLost { silence: self.limits.server_silence, source: Some(error) },
                    actions,
                );
            }
            (_, Ok(state)) => {
                self.answered(now);
                self.fold.state(Some(state.status), state.cost);
                self.state_known(phase, now, actions);
            }
            (_, Err(error)) => self.not_answered(error, now, actions),
        }
    }

    /// Continues with a state that was just read.
    fn state_known(&mut self, phase: Phase, now: Instant, actions: &mut Vec<Action>) {
        match phase {
            Phase::Confirming { certain } => match self.fold.end() {
                None => self.follow_on(),
                Some(TurnEnd::Finished) if self.may_veto && !certain => {
                    self.phase = Phase::AskingToRun;
                    actions.push(Action::StartRun { by: Some(self.last_chance(now)) });
                }
                // This is the pause from before the turn. A message that arrives while the paused run is still ending starts no
                // run (1.11.5).
                Some(TurnEnd::Paused) if self.was_paused && self.starts < MOST_STARTS_AFTER_PAUSE => {
                    self.phase = Phase::Starting { resumes: false };
                    actions.push(Action::StartRun { by: None });
                }
                Some(TurnEnd::Error(_)) => {
                    let until = now + self.limits.error_reason;
                    self.read_log(Phase::Explaining { until, look_at: None }, actions);
                }
                Some(end) => self.close(end, actions),
            },
            Phase::AskingState => match self.fold.end() {
                Some(end @ TurnEnd::Finished) => self.close(end, actions),
                _ => self.follow_on(),
            },
            _ => {
                self.next_poll = now + self.poll_interval();
                if let Some(error) = self.stalled(now) {
                    return self.fail(error, actions);
                }
                if !self.connected || self.gap {
                    self.read_log(Phase::CatchingUp { check_idle: true }, actions);
                } else {
                    self.follow_on();
                    self.start_if_idle(now, actions);
                }
            }
        }
    }

    /// Returns an error if an unknown status lasts for too long without events: the turn may never end.
    fn stalled(&self, now: Instant) -> Option<FollowError> {
        let limit = self.limits.server_errors;
        match self.fold.status() {
            Some(Status::Other(status)) if now >= self.last_event + limit => {
                Some(FollowError::UnknownStatus { status: status.clone(), limit })
            }
            _ => None,
        }
    }

    fn start_if_idle(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.fold.status() != Some(&Status::Idle) || now <= self.turn_began + self.limits.idle_after_message {
            return;
        }
        if self.starts >= MOST_STARTS {
            return self.fail(FollowError::NotStarted { starts: self.starts, source: None }, actions);
        }
        actions.push(Action::Note(Note::IdleAfterMessage));
        self.phase = Phase::Starting { resumes: false };
        actions.push(Action::StartRun { by: None });
    }

    fn state_timed_out(&mut self, now: Instant, actions: &mut Vec<Action>) {
        match self.phase {
            Phase::LastLook => {
                let source = self.last_failure.take();
                self.fail(FollowError::ServerLost { silence: self.limits.server_silence, source }, actions);
            }
            // Other signs of life may still be waiting in the socket.
            _ => {
                self.confirm_at = self.confirm_at.map(|_| now + self.limits.confirm_again);
                self.unreadable(now);
                self.give_up_or_follow_on(now, actions);
            }
        }
    }

    fn not_answered(&mut self, error: HttpError, now: Instant, actions: &mut Vec<Action>) {
        self.next_poll = now + self.poll_interval();
        if is_sign_of_life(&error) {
            self.last_sign = now;
        }
        match error.status() {
            // Versions respond differently for an unknown conversation.
            Some(400 | 404 | 410) => {
                self.unknown += 1;
                self.next_poll = now + self.limits.poll_without_socket;
                if self.unknown >= BELIEVED {
                    return actions.push(Action::Over(TurnEnd::Deleted));
                }
            }
            Some(401 | 403) => {
                self.refusals += 1;
                self.next_poll = now + self.limits.poll_without_socket;
                if self.refusals >= BELIEVED {
                    return self.fail(FollowError::Refused(error), actions);
                }
            }
            _ => {}
        }
        self.unreadable(now);
        self.errors |= !matches!(error, HttpError::Timeout { .. });
        self.last_failure = Some(error);
        self.give_up_or_follow_on(now, actions);
    }

    fn unreadable(&mut self, now: Instant) {
        self.unreadable_since.get_or_insert(now);
    }

    /// Ends a wait that has lasted too long, with what the socket reported if it reported anything.
    fn give_up_or_follow_on(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let since = self.unreadable_since.unwrap_or(now);
        let limit = match self.fold.claim() {
            Claim::Certain => self.limits.server_silence,
            // The socket is alive: all threads of the server are waiting for commands of the agent.
            Claim::Ongoing if !self.errors => self.limits.server_busy,
            Claim::Perhaps | Claim::Ongoing => self.limits.server_errors,
        };
        if now < since.max(self.last_event) + limit {
            return self.follow_on();
        }
        match (self.fold.end(), self.last_failure.take()) {
            (Some(end), _) => {
                actions.push(Action::Note(Note::EndNotConfirmed));
                actions.push(Action::Over(end));
            }
            (None, Some(source)) => actions.push(Action::Fail(FollowError::OnlyErrors { limit, source })),
            (None, None) => self.follow_on(),
        }
    }

    fn log_read(&mut self, read: Result<(), Option<HttpError>>, now: Instant, actions: &mut Vec<Action>) {
        match read {
            Ok(()) => {
                self.gap = false;
                self.sign(now);
            }
            // The gap stays. The next response of the server causes another attempt.
            Err(error) => self.last_failure = error.or(self.last_failure.take()),
        }
        match self.phase {
            Phase::CatchingUp { check_idle } => {
                self.follow_on();
                if check_idle {
                    self.start_if_idle(now, actions);
                }
            }
            Phase::Explaining { until, .. } => self.explained(until, now, actions),
            Phase::Closing => actions.extend(self.end.take().map(Action::Over)),
            _ => {}
        }
    }

    /// Ends the turn with the error and its reason, which may arrive a moment later. An error without a reason after an outage
    /// means that the server has restarted: the conversation is run again.
    fn explained(&mut self, until: Instant, now: Instant, actions: &mut Vec<Action>) {
        match self.fold.end() {
            None => self.follow_on(),
            Some(TurnEnd::Error(None)) if now < until => {
                self.phase = Phase::Explaining { until, look_at: Some(now + self.limits.error_reason / 10) };
            }
            Some(TurnEnd::Error(None)) if self.outage && self.resumes < MOST_RESUMES => {
                self.resumes += 1;
                actions.push(Action::Note(Note::Resuming));
                self.phase = Phase::Starting { resumes: true };
                actions.push(Action::StartRun { by: None });
            }
            Some(end) => self.close(end, actions),
        }
    }

    fn run_started(&mut self, started: Result<RunStarted, Option<HttpError>>, now: Instant, actions: &mut Vec<Action>) {
        if started.is_ok() {
            self.sign(now);
        }
        match (self.phase, started) {
            (Phase::Starting { resumes: true }, _) => {
                let resumes = self.resumes;
                self.begin_turn(now);
                self.resumes = resumes;
            }
            (Phase::Starting { resumes: false }, Ok(_)) => {
                self.starts += 1;
                self.not_started_since = None;
                self.follow_on();
            }
            (Phase::Starting { resumes: false }, Err(source)) => {
                let since = *self.not_started_since.get_or_insert(now);
                if now > since + self.limits.server_errors {
                    return self.fail(FollowError::NotStarted { starts: self.starts, source }, actions);
                }
                self.follow_on();
            }
            (Phase::AskingToRun, Ok(RunStarted::Started)) => {
                self.phase = Phase::AskingState;
                actions.push(Action::ReadState { by: Some(self.last_chance(now)) });
            }
            (Phase::AskingToRun, _) => self.follow_on(),
            _ => {}
        }
    }

    /// Reads the rest of the log; then the turn is over.
    fn close(&mut self, end: TurnEnd, actions: &mut Vec<Action>) {
        if end == TurnEnd::Deleted {
            return actions.push(Action::Over(end));
        }
        self.end = Some(end);
        self.read_log(Phase::Closing, actions);
    }

    fn read_log(&mut self, phase: Phase, actions: &mut Vec<Action>) {
        self.gap = true;
        self.phase = phase;
        actions.push(Action::ReadLog);
    }

    fn follow_on(&mut self) {
        self.phase = Phase::Following { polling: false };
    }

    /// Ends a turn whose server is lost: an end that is certain needs no confirmation.
    fn fail(&mut self, error: FollowError, actions: &mut Vec<Action>) {
        let is_loss = matches!(error, FollowError::ServerLost { .. } | FollowError::OnlyErrors { .. });
        actions.push(match (self.fold.claim(), self.fold.end()) {
            (Claim::Certain, Some(end)) if is_loss => Action::Over(end),
            _ => Action::Fail(error),
        });
    }

    fn poll_interval(&self) -> Duration {
        if !self.connected {
            self.limits.poll_without_socket
        } else if self.budget.limit.is_some() {
            self.limits.poll_with_budget
        } else {
            self.limits.poll_with_socket
        }
    }

    /// Returns the time until which a request may bring the server's next sign of life. A busy server takes half a minute for
    /// each request.
    fn last_chance(&self, now: Instant) -> Instant {
        (self.last_sign + self.limits.server_silence).max(now + self.limits.last_look)
    }

    fn sign(&mut self, now: Instant) {
        self.last_sign = now;
    }

    fn answered(&mut self, now: Instant) {
        self.sign(now);
        self.unreadable_since = None;
        self.errors = false;
        self.refusals = 0;
        self.unknown = 0;
    }
}

/// Returns whether the error comes from the server itself, and not from a gateway.
fn is_sign_of_life(error: &HttpError) -> bool {
    match error {
        HttpError::Unexpected { .. } | HttpError::TooLarge { .. } => true,
        other => !matches!(other.status(), None | Some(502..=504)),
    }
}
