//! Follows a conversation until its turn is over: the socket for news, the HTTP state for truth. Pure: no clock, no I/O.
//!
//! [`Follow::step`] takes what happened and gives what is to be done; [`Follow::deadline`] says when to call it with
//! [`Input::Tick`]. The driver has at most one request under way; a new one takes the place of the one before.
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

/// A server that dies again and again is not helped for ever.
const MOST_RESUMES: u8 = 3;
/// A conversation that stays idle has its run started so often.
const MOST_STARTS: u32 = 5;
/// The same of a turn that began in a pause. It may be a new pause.
const MOST_STARTS_AFTER_PAUSE: u32 = 2;
/// A refusal of the key, or an unknown conversation, is believed after this many in a row: a gateway may say it for a moment.
const BELIEVED: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// Waiting for news; a poll may be under way.
    Following { polling: bool },
    /// The log is read after a gap; then an idle conversation may have its run started.
    CatchingUp { check_idle: bool },
    /// The claimed end is being confirmed.
    Confirming { certain: bool },
    /// A finished conversation is asked to run: one whose stop hook still thinks answers that it is running.
    AskingToRun,
    /// The state after that.
    AskingState,
    /// The reason of an error may still come.
    Explaining { until: Instant, look_at: Option<Instant> },
    /// The run is being started.
    Starting { resumes: bool },
    /// One more look at a server that seems lost: a process that was frozen finds all its times over at once.
    LastLook,
    /// The rest of the log is read.
    Closing,
}

/// Follows one conversation through its turns.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any two may hold at once")]
pub(super) struct Follow {
    limits: FollowLimits,
    /// Whether the version sends the state that follows a run.
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
    /// Whether the server was away in this turn.
    outage: bool,
    claim: Claim,
    confirm_at: Option<Instant>,
    next_poll: Instant,
    turn_began: Instant,
    /// Whether the conversation was paused when the turn began, and its run was not seen since.
    was_paused: bool,
    last_sign: Instant,
    last_event: Instant,
    /// Since when the state cannot be read, though it was asked for.
    unreadable_since: Option<Instant>,
    /// Whether there was a response since then, and not only silence.
    errors: bool,
    /// Answers in a row that refuse the key, or say that the conversation does not exist.
    refusals: u32,
    unknown: u32,
    last_failure: Option<HttpError>,
    /// Requests to start the run of this turn that were accepted.
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

    /// Forgets the turn before; what is seen from now on belongs to a new one.
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

    /// Whether events of the socket are taken now. In the other phases a request comes first.
    pub(super) fn takes_events(&self) -> bool {
        matches!(self.phase, Phase::Following { .. })
    }

    /// Whether events may have been missed.
    pub(super) fn has_gap(&self) -> bool {
        self.gap
    }

    /// Whether the socket works.
    pub(super) fn is_connected(&self) -> bool {
        self.connected
    }

    /// The last known cost of the conversation.
    pub(super) fn cost(&self) -> Cost {
        self.fold.cost()
    }

    /// The last known status.
    pub(super) fn status(&self) -> Option<&Status> {
        self.fold.status()
    }

    /// Time in which no one looked is not the server's silence.
    pub(super) fn not_watched(&mut self, time: Duration) {
        self.last_sign += time;
        self.last_event += time;
        if let Some(since) = &mut self.unreadable_since {
            *since += time;
        }
    }

    /// A state that was read elsewhere.
    pub(super) fn found(&mut self, status: Option<Status>, cost: Cost) {
        self.fold.state(status, cost);
    }

    /// When a claimed end is to be confirmed, which comes before everything else.
    pub(super) fn urgent(&self) -> Option<Instant> {
        match self.phase {
            Phase::Following { .. } => self.confirm_at,
            _ => None,
        }
    }

    /// When to call [`Follow::step`] with [`Input::Tick`] at the latest.
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

    /// Takes what happened, and gives what is to be done.
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

    /// What the time and the known facts ask for.
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

    /// Decides when a newly claimed end is confirmed: at once, unless the server is still to send the state that follows
    /// a run.
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

    /// Continues from a state that was just read.
    fn state_known(&mut self, phase: Phase, now: Instant, actions: &mut Vec<Action>) {
        match phase {
            Phase::Confirming { certain } => match self.fold.end() {
                None => self.follow_on(),
                Some(TurnEnd::Finished) if self.may_veto && !certain => {
                    self.phase = Phase::AskingToRun;
                    actions.push(Action::StartRun { by: Some(self.last_chance(now)) });
                }
                // That pause is the one before the turn. A message that comes while the paused run still ends starts no run (1.11.5).
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

    /// An unknown status that lasts while nothing happens is not a turn that one could wait for.
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
            // Other signs of life may wait to be heard.
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
            // Versions differ in what they answer for an unknown conversation.
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

    /// Ends a wait that has lasted too long: with what the socket said, where it said something.
    fn give_up_or_follow_on(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let since = self.unreadable_since.unwrap_or(now);
        let limit = match self.fold.claim() {
            Claim::Certain => self.limits.server_silence,
            // The socket is alive: all threads of the server wait for a command of the agent.
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
            // The gap stays, and the next answer of the server brings another attempt.
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

    /// The error with its reason, which may come a moment later. An error without one after an outage is a server that
    /// has started again: its conversation is run again.
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

    /// What a turn ends with when the server is lost: an end that is certain needs no confirmation.
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

    /// Until when a request may be the server's next sign of life. A busy one takes half a minute for each.
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

/// Whether this comes from the server itself, and not from a gateway.
fn is_sign_of_life(error: &HttpError) -> bool {
    match error {
        HttpError::Unexpected { .. } | HttpError::TooLarge { .. } => true,
        other => !matches!(other.status(), None | Some(502..=504)),
    }
}
