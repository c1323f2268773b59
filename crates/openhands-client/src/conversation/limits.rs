//! The time limits of following a conversation.

use std::time::Duration;

use crate::time_limits;

/// What the state machine needs of the time limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct FollowLimits {
    pub(super) server_silence: Duration,
    pub(super) server_errors: Duration,
    pub(super) last_look: Duration,
    pub(super) last_word: Duration,
    pub(super) confirm_again: Duration,
    pub(super) error_reason: Duration,
    pub(super) idle_after_message: Duration,
    pub(super) poll_with_socket: Duration,
    pub(super) poll_without_socket: Duration,
    pub(super) poll_with_budget: Duration,
}

impl Default for FollowLimits {
    fn default() -> Self {
        Self {
            server_silence: time_limits::SERVER_SILENCE,
            server_errors: time_limits::SERVER_ERRORS,
            last_look: time_limits::LAST_LOOK,
            last_word: time_limits::LAST_WORD,
            confirm_again: time_limits::CONFIRM_AGAIN,
            error_reason: time_limits::ERROR_REASON,
            idle_after_message: time_limits::IDLE_AFTER_MESSAGE,
            poll_with_socket: time_limits::POLL_WITH_SOCKET,
            poll_without_socket: time_limits::POLL_WITHOUT_SOCKET,
            poll_with_budget: time_limits::POLL_WITH_BUDGET,
        }
    }
}
