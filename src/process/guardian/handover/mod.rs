//! When the guardian delivers, and when it leaves the run to a new runner: the rules, without any input or output.
//!
//! The driver (`process`) passes in what happens ([`Input`]) and does what follows ([`Action`]):
//!
//! ```text
//!              runner: settled ┌────────────────────────► Ended
//!                              │                            ▲
//!            ┌──────────┐ ends ├─ with an outcome ─► Delivering ◄────────┐
//!   start ──►│ Watching ├──────┤                     │      ▲            │
//!            └──────────┘      │      asked, nothing │      │ withdrew,  │ time is
//!             asked: is it     │      accepted yet   ▼      │ too slow   │ over
//!             dying? busy if   │                    Offered ┤            │
//!             it lives         │                     ▲  │   ▼            │
//!                              └─ without a word ────┴──┼─ Grace ────────┘
//!                                 (asked: offered)      │
//!                                                       └── taken ─────► Ended
//! ```
//!
//! - A run is offered only when its runner is dead, has named no outcome, and nothing was accepted: no attempt is under way
//!   while it is offered.
//! - An offered run stays the guardian's until the new runner says that it has a guardian of its own. If the new runner dies
//!   before, both guardians may report; the service accepts the first and answers 409 to the second.
//! - A runner that lives and is silent for some time after its deadline is frozen: the guardian delivers the time-out that the
//!   runner has left for this case, or the outcome that it has named and not delivered.
//! - What was decided is never offered: a runner that asks meanwhile hears that the run is busy.

#[cfg(test)]
mod model;

use std::time::{Duration, Instant};

use openhands_client::automation::callback::Progress;

use super::protocol::{Answer, Message};

/// Something that the guardian learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input<R> {
    /// The runner says something.
    Said(RunnerWord<R>),
    /// The runner's end of the line is closed: the runner is dead.
    RunnerEnded,
    /// A new runner asks for the run. Comes only while no other one is being answered.
    Asked,
    /// The new runner to which the run was offered has a guardian of its own.
    Taken,
    /// The new runner has ended, or says what it should not.
    Withdrew,
    /// No attempt to deliver is under way or begins; what is known of those before. Follows [`Action::Pause`].
    Paused(Progress),
    /// The report is delivered, or given up for good.
    DeliveryEnded,
    /// The time of [`Handover::deadline`] has come, and nothing else is there to be heard.
    Deadline,
}

/// What a runner says after its first message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum RunnerWord<R> {
    /// See [`Message::IfSilent`].
    IfSilent(R),
    /// See [`Message::IfFrozen`].
    IfFrozen(Duration, R),
    /// See [`Message::Outcome`].
    Outcome(R),
    /// See [`Message::EndWithRunner`].
    EndWithRunner(u32),
    /// See [`Message::Settled`].
    Settled,
}

impl<R> RunnerWord<R> {
    /// The word that a message is; the first one of a line is none.
    pub(super) fn of(message: Message<R>) -> Option<Self> {
        match message {
            Message::GuardianConfig(..) | Message::Folder(_) => None,
            Message::IfSilent(report) => Some(Self::IfSilent(report)),
            Message::IfFrozen(left, report) => Some(Self::IfFrozen(left, report)),
            Message::Outcome(report) => Some(Self::Outcome(report)),
            Message::EndWithRunner(group) => Some(Self::EndWithRunner(group)),
            Message::Settled => Some(Self::Settled),
        }
    }
}

/// Something that the guardian does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Action<R> {
    /// Answer the new runner that asks. After [`Answer::Busy`] its connection is closed.
    Answer(Answer),
    /// Close its connection without an answer.
    Dismiss,
    /// Close the place where new runners ask: the new runner's own guardian opens it next.
    ClosePlace,
    /// Open it again, unless another guardian has it.
    OpenPlace,
    /// Kill these process groups.
    EndGroups(Vec<u32>),
    /// Begin to deliver this report.
    Deliver(R),
    /// Begin no further attempt, and tell when none is under way.
    Pause,
    /// Attempts may begin again.
    Resume,
    /// End this process.
    End,
}

/// How long the guardian waits for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Patience {
    /// For a runner to be dead that may be dying.
    pub(super) dying: Duration,
    /// For a new runner, before a report without an outcome is delivered.
    pub(super) grace: Duration,
    /// For a new runner to have a guardian of its own.
    pub(super) taking: Duration,
    /// For a runner that lives to name an outcome, after its deadline.
    pub(super) frozen: Duration,
    /// For a runner that lives to deliver the outcome that it has named.
    pub(super) undelivered: Duration,
}

/// The guardian's state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Handover<R> {
    patience: Patience,
    state: State,
    if_silent: R,
    outcome: Option<R>,
    /// When a runner that lives counts as frozen, and what is delivered then.
    overdue: Option<(Instant, R)>,
    settled: bool,
    groups: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum State {
    /// The runner lives, as far as is known.
    Watching {
        /// A new runner asks. Until then the runner may turn out to be dead.
        asked: Option<Instant>,
    },
    /// The runner has ended without a word.
    Grace {
        /// A new runner may come until then.
        until: Instant,
    },
    /// A new runner may take the run.
    Offered {
        /// When it is too slow.
        until: Instant,
        /// What follows if it does not take it.
        otherwise: Otherwise,
    },
    /// A report is being delivered.
    Delivering {
        /// Whether a new runner waits until no attempt is under way.
        asked: bool,
    },
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Otherwise {
    Grace {
        until: Instant,
    },
    Delivery,
    /// The delivery has ended meanwhile.
    Nothing,
}

impl<R: Clone> Handover<R> {
    /// The guardian of a runner that has only just started. `if_silent` is what to deliver if it ends without a word.
    pub(super) fn new(patience: Patience, if_silent: R) -> Self {
        let state = State::Watching { asked: None };
        Self { patience, state, if_silent, outcome: None, overdue: None, settled: false, groups: Vec::new() }
    }

    /// When [`Input::Deadline`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Watching { asked } => {
                let overdue = self.overdue.as_ref().filter(|_| !self.settled).map(|(at, _)| *at);
                asked.into_iter().chain(overdue).min()
            }
            State::Grace { until } | State::Offered { until, .. } => Some(until),
            State::Delivering { .. } | State::Ended => None,
        }
    }

    /// What follows from something that has happened now. Actions are to be done in their order.
    pub(super) fn step(&mut self, input: Input<R>, now: Instant) -> Vec<Action<R>> {
        match (self.state, input) {
            (State::Watching { asked }, Input::Said(word)) => self.hear(word, asked.is_some(), now),
            (State::Watching { asked }, Input::RunnerEnded) => self.runner_ended(asked.is_some(), now),
            (State::Watching { .. }, Input::Asked) => {
                // It may be dying at this moment.
                self.state = State::Watching { asked: Some(now + self.patience.dying) };
                Vec::new()
            }
            (State::Watching { asked }, Input::Deadline) if asked.is_none_or(|asked| asked > now) => {
                self.frozen(asked.is_some(), now)
            }
            (State::Watching { .. }, Input::Deadline) => {
                self.state = State::Watching { asked: None };
                // Reported: the run is over, though its runner still tidies up.
                vec![if self.settled { Action::Dismiss } else { Action::Answer(Answer::Busy) }]
            }
            (State::Watching { asked: Some(_) }, Input::Withdrew) => {
                self.state = State::Watching { asked: None };
                vec![Action::Dismiss]
            }
            (State::Grace { until }, Input::Asked) => self.offer(Otherwise::Grace { until }, now),
            (State::Grace { .. }, Input::Deadline) => self.deliver(self.if_silent.clone()),
            (State::Offered { .. }, Input::Taken) | (State::Delivering { .. }, Input::DeliveryEnded) => {
                self.end(Vec::new())
            }
            (State::Offered { otherwise, .. }, Input::Withdrew | Input::Deadline) => {
                let mut actions = vec![Action::Dismiss];
                match otherwise {
                    Otherwise::Grace { until } => {
                        self.state = State::Grace { until };
                        actions.push(Action::OpenPlace);
                    }
                    Otherwise::Delivery => {
                        self.state = State::Delivering { asked: false };
                        actions.extend([Action::OpenPlace, Action::Resume]);
                    }
                    Otherwise::Nothing => return self.end(actions),
                }
                actions
            }
            (State::Offered { until, .. }, Input::DeliveryEnded) => {
                self.state = State::Offered { until, otherwise: Otherwise::Nothing };
                Vec::new()
            }
            (State::Delivering { .. }, Input::Asked) if self.outcome.is_some() => vec![Action::Answer(Answer::Busy)],
            (State::Delivering { .. }, Input::Asked) => {
                self.state = State::Delivering { asked: true };
                vec![Action::Answer(Answer::Wait), Action::Pause]
            }
            (State::Delivering { asked: true }, Input::Paused(Progress::Nothing)) => {
                self.offer(Otherwise::Delivery, now)
            }
            (State::Delivering { asked: true }, Input::Paused(Progress::Unknown)) => {
                self.state = State::Delivering { asked: false };
                vec![Action::Answer(Answer::Busy), Action::Resume]
            }
            (State::Delivering { .. }, Input::Paused(_)) => vec![Action::Resume],
            (State::Delivering { asked: true }, Input::Withdrew) => {
                self.state = State::Delivering { asked: false };
                vec![Action::Dismiss, Action::Resume]
            }
            // What is late means nothing any more.
            _ => Vec::new(),
        }
    }

    fn hear(&mut self, word: RunnerWord<R>, is_asked: bool, now: Instant) -> Vec<Action<R>> {
        match word {
            RunnerWord::IfSilent(report) => self.if_silent = report,
            RunnerWord::IfFrozen(left, report) => {
                if self.outcome.is_none() {
                    self.overdue = now.checked_add(left.saturating_add(self.patience.frozen)).map(|at| (at, report));
                }
            }
            RunnerWord::Outcome(report) => {
                self.overdue = now.checked_add(self.patience.undelivered).map(|at| (at, report.clone()));
                self.outcome = Some(report);
            }
            RunnerWord::EndWithRunner(group) => self.groups.push(group),
            RunnerWord::Settled => self.settled = true,
        }
        if self.settled && self.groups.is_empty() {
            return self.end(if is_asked { vec![Action::Dismiss] } else { Vec::new() });
        }
        Vec::new()
    }

    /// The runner lives, and does not do what it should have done by now. Should it wake up, the service answers 409 to it.
    fn frozen(&mut self, is_asked: bool, now: Instant) -> Vec<Action<R>> {
        let Some((_, report)) = self.overdue.take_if(|(at, _)| *at <= now && !self.settled) else { return Vec::new() };
        // Decided: the run is not offered any more.
        self.outcome = Some(report.clone());
        let mut actions = Vec::from_iter(is_asked.then_some(Action::Answer(Answer::Busy)));
        actions.extend(self.deliver(report));
        actions
    }

    fn runner_ended(&mut self, is_asked: bool, now: Instant) -> Vec<Action<R>> {
        let mut actions = Vec::new();
        if !self.groups.is_empty() {
            actions.push(Action::EndGroups(std::mem::take(&mut self.groups)));
        }
        match &self.outcome {
            _ if self.settled => {
                actions.extend(is_asked.then_some(Action::Dismiss));
                return self.end(actions);
            }
            Some(outcome) => {
                let outcome = outcome.clone();
                actions.extend(is_asked.then_some(Action::Answer(Answer::Busy)));
                actions.extend(self.deliver(outcome));
            }
            None => {
                let until = now.checked_add(self.patience.grace).unwrap_or(now);
                if is_asked {
                    actions.extend(self.offer(Otherwise::Grace { until }, now));
                } else {
                    self.state = State::Grace { until };
                }
            }
        }
        actions
    }

    fn offer(&mut self, otherwise: Otherwise, now: Instant) -> Vec<Action<R>> {
        self.state = State::Offered { until: now + self.patience.taking, otherwise };
        vec![Action::ClosePlace, Action::Answer(Answer::Yours)]
    }

    fn deliver(&mut self, report: R) -> Vec<Action<R>> {
        self.state = State::Delivering { asked: false };
        vec![Action::Deliver(report)]
    }

    fn end(&mut self, mut actions: Vec<Action<R>>) -> Vec<Action<R>> {
        self.state = State::Ended;
        actions.push(Action::End);
        actions
    }
}
