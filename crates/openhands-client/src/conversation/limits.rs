//! Time limits for following a conversation.

use std::time::Duration;

use crate::time_limits::TimeLimits;

/// The time limits that the state machines need.
#[derive(Debug, Clone, Copy)]
pub(super) struct FollowLimits {
    pub(super) server_silence: Duration,
    pub(super) server_errors: Duration,
    pub(super) server_busy: Duration,
    pub(super) last_look: Duration,
    pub(super) last_word: Duration,
    pub(super) confirm_again: Duration,
    pub(super) error_reason: Duration,
    pub(super) idle_after_message: Duration,
    pub(super) poll_with_socket: Duration,
    pub(super) poll_without_socket: Duration,
    pub(super) poll_with_budget: Duration,
}

impl From<&TimeLimits> for FollowLimits {
    fn from(limits: &TimeLimits) -> Self {
        Self {
            server_silence: limits.server_silence,
            server_errors: limits.server_errors,
            server_busy: limits.server_busy,
            last_look: limits.last_look,
            last_word: limits.last_word,
            confirm_again: limits.confirm_again,
            error_reason: limits.error_reason,
            idle_after_message: limits.idle_after_message,
            poll_with_socket: limits.poll_with_socket,
            poll_without_socket: limits.poll_without_socket,
            poll_with_budget: limits.poll_with_budget,
        }
    }
}

#[cfg(test)]
impl Default for FollowLimits {
    fn default() -> Self {
        Self::from(&TimeLimits::default())
    }
}
