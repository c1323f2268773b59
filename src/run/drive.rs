//! Takes the conversation of a run through its turns, and passes what happens to the sinks.

use std::pin::pin;

use openhands_client::agent_server::client::Created;
use openhands_client::agent_server::{AgentServer, Event};
use openhands_client::conversation::{Conversation, ConversationError, ConversationSpec, TurnEnd, Update, WRAP_UP};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::confirmation::{MOST_REJECTIONS, REASON};
use super::mcp::McpStart;
use super::reminders::{Reminded, Reminders};
use super::state::RunState;
use super::warnings::Warnings;
use crate::agent_work::AgentSteps;
use crate::outcome::{Failure, FailureKind};
use crate::process::footprint::give_back_code;
use crate::sinks::{Record, Sinks};

/// What the agent is told about the run's limits during the run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    /// When the agent is asked to wrap up. After that, no further message is sent.
    pub(super) wrap_up_at: Option<Instant>,
    /// The limits that the agent is reminded of.
    pub(super) reminded: Reminded,
    /// Whether an action that needs confirmation is rejected.
    pub(super) rejects: bool,
}

/// Starts the conversation of the run, or continues the existing one. Keeps `state` up to date.
///
/// # Errors
/// The [`Failure`] that ends the run.
pub(super) async fn open(
    server: &AgentServer,
    spec: ConversationSpec,
    sinks: &mut Sinks,
    state: &watch::Sender<RunState>,
) -> Result<Conversation, Failure> {
    let id = spec.id;
    if spec.run.as_ref().is_none_or(|run| !run.continued) {
        // From here on, the conversation may exist, and in a restarted run its agent may be working.
        state.send_modify(|state| (state.conversation_id, state.at_work) = (Some(id), true));
    }
    let conversation = Conversation::from_spec(server, spec).await.inspect_err(|error| {
        if let ConversationError::Request { source, .. } | ConversationError::WorkingDir { source, .. } = error
            && source.status().is_some()
        {
            state.send_modify(|state| (state.conversation_id, state.at_work) = (None, false));
        }
    })?;
    let at_work = conversation.messages_found() > 0;
    state.send_modify(|state| (state.conversation_id, state.at_work) = (Some(id), at_work));
    let new = conversation.created() == Created::New;
    sinks.record(&Record::Conversation { id, new }).await;
    Ok(conversation)
}

/// Takes the conversation through its turns. Dropping one of its futures does not stop the agent.
pub(super) struct Driver<'d> {
    conversation: &'d mut Conversation,
    mcp: McpStart,
    limits: Limits,
    /// Kept up to date during the run.
    state: &'d watch::Sender<RunState>,
    warnings: &'d Warnings,
    /// The number of turns so far.
    turns: usize,
}

impl<'d> Driver<'d> {
    /// Creates a driver of this conversation.
    pub(super) fn new(
        conversation: &'d mut Conversation,
        mcp: McpStart,
        state: &'d watch::Sender<RunState>,
        warnings: &'d Warnings,
        told: Told,
    ) -> Self {
        Self { conversation, mcp, limits: Limits::new(told), state, warnings, turns: 0 }
    }

    /// Takes the conversation through all turns of the run.
    ///
    /// # Errors
    /// The [`Failure`] that ends the run.
    pub(super) async fn drive(&mut self, sinks: &mut Sinks) -> Result<(), Failure> {
        // A turn needs little of the code that ran before it.
        give_back_code();
        while let Some(turn) = self.conversation.upcoming_turn() {
            let (number, of) = (turn.number, turn.of);
            sinks.record(&Record::Turn { number, of, message: &turn.message }).await;
            if self.conversation.is_others_turn() {
                self.conversation.follow_others();
                follow_others(self.conversation, sinks, self.state).await?;
            }
            self.state.send_modify(|state| state.at_work = true);
            let turn = async {
                self.conversation.begin_turn().await?;
                let see = |event: &Event| self.mcp.see(event, self.warnings);
                follow(self.conversation, sinks, self.state, see, &mut self.limits).await
            };
            let ended = turn.await.map_err(|failure| self.mcp.explain(failure));
            self.warn_of_rejections();
            let ended = ended?;
            self.turns = of;
            if ended == Followed::WrappedUp {
                let left = of - number;
                if left > 0 {
                    let detail =
                        format!("time limit reached; the agent wrapped up when asked; messages not sent: {left}");
                    return Err(Failure::new(FailureKind::Timeout, detail));
                }
                self.is_cut_short();
            }
        }
        self.state.send_modify(|state| state.at_work = false);
        Ok(())
    }

    /// Adds a turn with this message after those of the run.
    ///
    /// # Errors
    /// The [`Failure`] that ends the run.
    pub(super) async fn continue_with(&mut self, message: &str, sinks: &mut Sinks) -> Result<(), Failure> {
        self.turns += 1;
        sinks.record(&Record::Turn { number: self.turns, of: self.turns, message }).await;
        self.state.send_modify(|state| state.at_work = true);
        self.conversation.send(message).await?;
        let see = |event: &Event| self.mcp.see(event, self.warnings);
        let ended = follow(self.conversation, sinks, self.state, see, &mut self.limits).await;
        self.warn_of_rejections();
        if ended? == Followed::WrappedUp {
            self.is_cut_short();
        }
        self.state.send_modify(|state| state.at_work = false);
        Ok(())
    }

    /// Returns how many times an earlier runner of the run, or this one before a pause, has sent the agent back to work.
    pub(super) fn sent_back(&self) -> usize {
        self.conversation.sent_back()
    }

    /// Returns whether there is time for another turn: the agent was not asked to wrap up, and would not be asked at once.
    pub(super) fn has_time(&self) -> bool {
        !self.state.borrow().cut_short && self.limits.wrap_up_at.is_none_or(|at| Instant::now() < at)
    }

    fn warn_of_rejections(&self) {
        let count = self.limits.rejected;
        if count > 0 {
            self.warnings.warn(format!("actions that needed a confirmation and were rejected: {count}"));
        }
    }

    fn is_cut_short(&self) {
        self.warnings.warn("time limit near; the agent wrapped up when asked, and may not have done all".to_owned());
        self.state.send_modify(|state| state.cut_short = true);
    }
}

/// Waits for the end of someone else's turn, whether it fails or not.
async fn follow_others(
    conversation: &mut Conversation,
    sinks: &mut Sinks,
    state: &watch::Sender<RunState>,
) -> Result<(), Failure> {
    loop {
        match conversation.next().await? {
            Update::Event(event) => sinks.record(&Record::Event { event: &event, meaning: event.meaning() }).await,
            Update::Cost(cost) => state.send_modify(|state| state.cost = cost),
            Update::TurnOver(_) => return Ok(()),
            _ => {}
        }
    }
}

/// How a turn of this run ended successfully.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Followed {
    /// The agent finished.
    Finished,
    /// The agent finished after it was asked to wrap up.
    WrappedUp,
}

/// Follows the turn to its end. When time runs out, the agent gets one message. If the turn does not end after it, the run's own
/// limit ends it.
async fn follow(
    conversation: &mut Conversation,
    sinks: &mut Sinks,
    state: &watch::Sender<RunState>,
    mut see: impl FnMut(&Event),
    limits: &mut Limits,
) -> Result<Followed, Failure> {
    limits.begin_turn();
    let mut asked_to_wrap_up = false;
    loop {
        let update = tokio::select! {
            biased;
            // Pinned where it is created: moving it would copy 4 kB for each event.
            update = pin!(conversation.next()) => update?,
            () = at(limits.wrap_up_at), if !asked_to_wrap_up => {
                tracing::warn!("the time limit is near; asking the agent to wrap up");
                asked_to_wrap_up = true;
                conversation.wrap_up(WRAP_UP);
                continue;
            }
            () = at(limits.remind_at()), if !asked_to_wrap_up => {
                limits.remind(conversation);
                continue;
            }
        };
        match update {
            Update::Event(event) => {
                see(&event);
                limits.see(&event);
                if !asked_to_wrap_up {
                    limits.remind(conversation);
                }
                sinks.record(&Record::Event { event: &event, meaning: event.meaning() }).await;
            }
            Update::Cost(cost) => state.send_modify(|state| state.cost = cost),
            Update::TurnOver(TurnEnd::WaitingForConfirmation) if limits.may_reject() => {
                tracing::warn!("rejecting an action that needs a confirmation");
                limits.reject();
                conversation.reject(REASON).await?;
            }
            Update::TurnOver(TurnEnd::Finished) if asked_to_wrap_up => return Ok(Followed::WrappedUp),
            Update::TurnOver(TurnEnd::Finished) => return Ok(Followed::Finished),
            Update::TurnOver(end) => return Err(ConversationError::Ended { cost: conversation.cost(), end }.into()),
            _ => {}
        }
    }
}

/// What the agent is told about the run's limits, and how much of them the run has used.
struct Limits {
    wrap_up_at: Option<Instant>,
    reminders: Reminders,
    steps: AgentSteps,
    rejects: bool,
    /// The number of rejected actions in this turn.
    rejected: u32,
}

impl Limits {
    fn new(Told { wrap_up_at, reminded, rejects }: Told) -> Self {
        Self { wrap_up_at, reminders: Reminders::new(reminded), steps: AgentSteps::default(), rejects, rejected: 0 }
    }

    fn may_reject(&self) -> bool {
        self.rejects && self.rejected < MOST_REJECTIONS
    }

    /// Records that the waiting action is rejected.
    fn reject(&mut self) {
        self.rejected += 1;
        self.steps.no_tool_is_at_work();
    }

    fn begin_turn(&mut self) {
        self.steps = AgentSteps::default();
        self.rejected = 0;
        self.reminders.begin_turn();
    }

    fn see(&mut self, event: &Event) {
        self.steps.see(event);
    }

    /// Returns when to remind the agent, if possible: only while a tool is running is it certain that the agent has a further
    /// step. A message after its last step would start it again.
    fn remind_at(&self) -> Option<Instant> {
        self.reminders.next_at().filter(|_| self.steps.is_at_tools())
    }

    fn remind(&mut self, conversation: &mut Conversation) {
        if !self.steps.is_at_tools() {
            return;
        }
        let spent = conversation.spent().unwrap_or_default();
        if let Some(message) = self.reminders.due(Instant::now(), spent, self.steps.iterations) {
            tracing::info!("a limit of the run is near; reminding the agent");
            conversation.remind(message);
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
