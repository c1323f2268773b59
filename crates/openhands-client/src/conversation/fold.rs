//! The state of a turn, computed from everything that was seen of it. Pure: no clock, no I/O.
//!
//! Two kinds of facts come in: events in their order ([`Fold::event`]), and states that were read at some moment
//! ([`Fold::state`]). A status that ends a turn is only a claim at first: a stop hook can veto the agent's finish, and an event
//! can be a late one of the previous turn. [`Fold::claim`] returns the claim and how certain it is.

use super::turn::TurnEnd;
use crate::agent_server::event::{Meaning, ServerError};
use crate::agent_server::wire::{Cost, Status};

/// Whether the turn is over, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// The turn continues.
    Ongoing,
    /// A status says that the turn is over, but it may still change.
    Perhaps,
    /// The server has sent its final state of the run (the state event that follows a run, from 1.22.1).
    Certain,
}

/// The known state of a conversation and its current turn.
#[derive(Debug, Default)]
pub(super) struct Fold {
    status: Option<Status>,
    last_word: bool,
    error: Option<ServerError>,
    cost: Cost,
    /// The number of consecutive agent messages without text.
    empty_responses: u32,
}

/// The number of consecutive messages without text after which the agent counts as stuck.
const EMPTY_RESPONSES: u32 = 3;

impl Fold {
    /// Forgets the previous turn. The cost stays.
    pub(super) fn begin_turn(&mut self) {
        self.status = None;
        self.last_word = false;
        self.error = None;
        self.empty_responses = 0;
    }

    /// Adds an event, in its order.
    pub(super) fn event(&mut self, meaning: &Meaning) {
        match meaning {
            Meaning::Status(status) => {
                self.last_word = false;
                self.status = Some(status.clone());
            }
            Meaning::FullState { status, usage } => {
                self.cost = usage.cost().or(self.cost);
                if let Some(status) = status {
                    self.status = Some(status.clone());
                    self.last_word = true;
                }
            }
            Meaning::Stats(usage) => self.cost = usage.cost().or(self.cost),
            // The first error counts: a failing title call adds another one (1.50.1, 1.58.0).
            Meaning::Error(error) if self.error.is_none() => self.error = Some(error.clone()),
            Meaning::AgentMessage(text) if text.trim().is_empty() => self.empty_responses += 1,
            Meaning::Action(_) => self.empty_responses = 0,
            _ => {}
        }
    }

    /// Adds a state that was read from the server at this moment.
    pub(super) fn state(&mut self, status: Option<Status>, cost: Cost) {
        self.cost = cost.or(self.cost);
        if let Some(status) = status {
            if self.status.as_ref() != Some(&status) {
                self.last_word = false;
            }
            self.status = Some(status);
        }
    }

    /// Returns whether the turn is over, as far as it is known.
    #[must_use]
    pub(super) fn claim(&self) -> Claim {
        match (self.end(), self.last_word) {
            (None, _) => Claim::Ongoing,
            (Some(_), false) => Claim::Perhaps,
            (Some(_), true) => Claim::Certain,
        }
    }

    /// Returns how the turn ended, if the status ends a turn.
    #[must_use]
    pub(super) fn end(&self) -> Option<TurnEnd> {
        match self.status.as_ref()? {
            Status::Finished => Some(TurnEnd::Finished),
            Status::Error => Some(TurnEnd::Error(self.error.clone())),
            Status::Stuck if self.empty_responses >= EMPTY_RESPONSES => Some(TurnEnd::EmptyResponses),
            Status::Stuck => Some(TurnEnd::Stuck),
            Status::Paused => Some(TurnEnd::Paused),
            Status::WaitingForConfirmation => Some(TurnEnd::WaitingForConfirmation),
            Status::Deleting => Some(TurnEnd::Deleted),
            Status::Idle | Status::Running | Status::Other(_) => None,
        }
    }

    /// Returns the last known status.
    #[must_use]
    pub(super) fn status(&self) -> Option<&Status> {
        self.status.as_ref()
    }

    /// Returns the last known cost.
    #[must_use]
    pub(super) fn cost(&self) -> Cost {
        self.cost
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::agent_server::wire::Usage;

    fn error(code: &str) -> ServerError {
        let mut fields = Map::new();
        fields.insert("code".to_owned(), json!(code));
        ServerError(fields)
    }

    fn after(events: &[Meaning]) -> Fold {
        let mut fold = Fold::default();
        for event in events {
            fold.event(event);
        }
        fold
    }

    fn full_state(status: Status) -> Meaning {
        Meaning::FullState { status: Some(status), usage: Usage::default() }
    }

    #[test]
    fn a_run_ends_with_the_state_that_follows_it() {
        let mut fold = after(&[Meaning::Status(Status::Running), Meaning::Status(Status::Finished)]);
        assert_eq!(fold.claim(), Claim::Perhaps);
        fold.event(&full_state(Status::Finished));
        assert_eq!((fold.claim(), fold.end()), (Claim::Certain, Some(TurnEnd::Finished)));
    }

    #[test]
    fn a_stop_hook_can_veto_the_finish() {
        let mut fold = after(&[Meaning::Status(Status::Finished)]);
        fold.event(&Meaning::Status(Status::Running));
        assert_eq!(fold.claim(), Claim::Ongoing);
        assert_eq!(fold.end(), None);
    }

    #[test]
    fn a_state_read_later_overrules_a_late_event_of_the_turn_before() {
        let mut fold = after(&[]);
        fold.begin_turn();
        fold.event(&full_state(Status::Finished));
        assert_eq!(fold.claim(), Claim::Certain);
        fold.state(Some(Status::Running), Cost::default());
        assert_eq!(fold.claim(), Claim::Ongoing);
    }

    #[test]
    fn a_confirming_state_keeps_the_last_word() {
        let mut fold = after(&[full_state(Status::Finished)]);
        fold.state(Some(Status::Finished), Cost::dollars(1.0));
        assert_eq!(fold.claim(), Claim::Certain);
        assert_eq!(fold.cost(), Cost::dollars(1.0));
    }

    #[test]
    fn the_first_error_of_a_turn_is_its_reason() {
        let mut fold = after(&[
            Meaning::Error(error("LLMAuthenticationError")),
            Meaning::Error(error("title")),
            Meaning::Status(Status::Error),
        ]);
        assert_eq!(fold.end(), Some(TurnEnd::Error(Some(error("LLMAuthenticationError")))));
        fold.begin_turn();
        assert_eq!(fold.end(), None);
        fold.event(&Meaning::Status(Status::Error));
        assert_eq!(fold.end(), Some(TurnEnd::Error(None)));
    }

    #[test]
    fn every_ending_status_has_its_end() {
        for (status, end) in [
            (Status::Stuck, Some(TurnEnd::Stuck)),
            (Status::Paused, Some(TurnEnd::Paused)),
            (Status::WaitingForConfirmation, Some(TurnEnd::WaitingForConfirmation)),
            (Status::Deleting, Some(TurnEnd::Deleted)),
            (Status::Idle, None),
            (Status::Running, None),
            (Status::Other("new".to_owned()), None),
        ] {
            assert_eq!(after(&[Meaning::Status(status)]).end(), end);
        }
    }

    #[test]
    fn a_known_cost_is_not_forgotten_for_an_unknown_one() {
        let mut fold = after(&[Meaning::Stats(Usage::parse(r#"{"usage_to_metrics":{"a":{"accumulated_cost":0.5}}}"#))]);
        fold.state(Some(Status::Running), Cost::default());
        assert_eq!(fold.cost(), Cost::dollars(0.5));
    }

    #[test]
    fn an_agent_that_is_stuck_in_empty_responses_says_so() {
        let empty = || Meaning::AgentMessage(" ".to_owned());
        let stuck = || Meaning::Status(Status::Stuck);
        assert_eq!(after(&[empty(), empty(), empty(), stuck()]).end(), Some(TurnEnd::EmptyResponses));
        assert_eq!(after(&[empty(), empty(), stuck()]).end(), Some(TurnEnd::Stuck));
        assert_eq!(after(&[Meaning::AgentMessage("Hm.".to_owned()), stuck()]).end(), Some(TurnEnd::Stuck));
    }
}
