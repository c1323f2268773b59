//! What a claimed end of a turn is worth: the server is asked before it is believed.

use tokio::time::{Instant, sleep, timeout_at};

use super::super::fold::{Claim, TurnEnd};
use super::{FollowError, Follower};
use crate::agent_server::client::RunStarted;

/// A server that dies again and again is not helped for ever.
const MOST_RESUMES: u8 = 3;

impl Follower<'_> {
    /// The end of the turn, once the server confirms what was claimed.
    pub(super) async fn confirmed(&mut self) -> Result<Option<TurnEnd>, FollowError> {
        let certain = self.claim == Claim::Certain;
        match timeout_at(self.last_chance(), self.target.client.conversation(self.target.id)).await {
            Ok(Ok(info)) => {
                self.answered();
                self.learn(&info);
            }
            Ok(Err(error)) => {
                self.not_answered(error)?;
                if self.fold.end() != Some(TurnEnd::Deleted) {
                    return Ok(None);
                }
            }
            Err(_) => {
                // Other signs of life may wait to be heard.
                self.confirm_at = Some(Instant::now() + self.limits().confirm_again);
                return Ok(None);
            }
        }
        let end = match self.fold.end() {
            Some(TurnEnd::Finished) if self.target.may_veto && !certain && !self.run_is_over().await => None,
            Some(TurnEnd::Error(_)) => self.explained_error().await,
            end => end,
        };
        if end.is_some() && end != Some(TurnEnd::Deleted) {
            self.catch_up().await;
        }
        Ok(end)
    }

    /// Asks a finished conversation to run: one whose run is over stays finished, one whose stop hook still thinks
    /// answers that it is running.
    async fn run_is_over(&mut self) -> bool {
        let (client, id) = (self.target.client.clone(), self.target.id);
        let Ok(Ok(started)) = timeout_at(self.last_chance(), client.run(id)).await else { return false };
        self.answered();
        if started != RunStarted::Started {
            return false;
        }
        let Ok(Ok(info)) = timeout_at(self.last_chance(), client.conversation(id)).await else { return false };
        self.answered();
        self.learn(&info);
        self.fold.end() == Some(TurnEnd::Finished)
    }

    /// Until when a request may be the server's next sign of life. A busy one takes half a minute for each.
    fn last_chance(&self) -> Instant {
        (self.last_sign + self.limits().server_silence).max(Instant::now() + self.limits().last_look)
    }

    /// The error with its reason, which may come a moment later. An error without one after an outage is a server that
    /// has started again: its conversation is run again.
    async fn explained_error(&mut self) -> Option<TurnEnd> {
        let patience = Instant::now() + self.limits().error_reason;
        loop {
            self.catch_up().await;
            match self.fold.end() {
                Some(TurnEnd::Error(None)) if Instant::now() < patience => sleep(self.limits().error_reason / 10).await,
                Some(TurnEnd::Error(None)) if self.outage && self.resumes < MOST_RESUMES => {
                    self.resumes += 1;
                    tracing::warn!("the agent-server has started again; resuming the conversation");
                    let _ = self.start_run().await;
                    self.begin_turn();
                    return None;
                }
                end => return end,
            }
        }
    }
}
