//! Decides how to send one message exactly once, as far as the server allows: a message has no id. Pure: no clock, no I/O.
//!
//! | the request | the log | result |
//! | --- | --- | --- |
//! | succeeds | | delivered |
//! | is rejected permanently | | failed |
//! | fails | holds the message | delivered; its run is started |
//! | cannot connect | does not hold it, or cannot be reached either | sent again, for as long as a server may be away |
//! | breaks off | does not hold it, some seconds later | sent again, for as long as a server may be away |
//! | returns an error | does not hold it, some seconds later | sent again, at most three times in all |
//! | times out | does not hold it, for as long as a server may be silent | failed: a busy server may store it later |
//! | fails | cannot be read in that time | failed: a second request could store the message twice |

use std::time::Duration;

use tokio::time::Instant;

use super::limits::FollowLimits;
use crate::http::HttpError;
use crate::retry::{Retry, Retryable as _};

/// The maximum number of requests that return an error.
const MOST_ATTEMPTS: u8 = 3;

/// How a request to send the message failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SendFailure {
    Final,
    NotConnected,
    Broken,
    TimedOut,
    Error,
}

impl From<&HttpError> for SendFailure {
    fn from(error: &HttpError) -> Self {
        match error {
            _ if error.retry() == Retry::No => Self::Final,
            HttpError::Connect { .. } => Self::NotConnected,
            HttpError::Broken { .. } => Self::Broken,
            HttpError::Timeout { .. } => Self::TimedOut,
            _ => Self::Error,
        }
    }
}

/// What reading the log showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looked {
    Found,
    Missing,
    NotConnected,
    Unreadable,
}

/// The next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Send the message after this time.
    Send { after: Duration },
    /// Check after this time whether the log holds the message, until the given time.
    Look { after: Duration, until: Instant },
    /// The log holds the message; start its run.
    StartRun,
    /// The message could not be sent, or may have been sent. The error of the request has the reason.
    Fail,
}

/// The delivery of one message.
#[derive(Debug)]
pub(super) struct Delivery {
    limits: FollowLimits,
    attempts: u8,
    give_up: Instant,
    failure: SendFailure,
    /// The time until which the log is checked.
    look_until: Instant,
    /// The time from which a log without the message counts as proof.
    believed_from: Instant,
}

impl Delivery {
    pub(super) fn new(limits: FollowLimits, now: Instant) -> Self {
        let give_up = now + limits.server_silence;
        Self { limits, attempts: 0, give_up, failure: SendFailure::Final, look_until: now, believed_from: now }
    }

    /// Returns the number of the last attempt.
    pub(super) fn attempts(&self) -> u8 {
        self.attempts
    }

    /// Records that the request has failed.
    pub(super) fn failed(&mut self, failure: SendFailure, now: Instant) -> Next {
        self.attempts += 1;
        self.failure = failure;
        if failure == SendFailure::Final {
            return Next::Fail;
        }
        self.look_until = now + self.limits.server_silence;
        self.believed_from = match failure {
            SendFailure::TimedOut => self.look_until,
            _ => now + self.limits.poll_without_socket,
        };
        Next::Look { after: Duration::ZERO, until: self.look_until }
    }

    /// Records what the log showed.
    pub(super) fn looked(&mut self, looked: Looked, now: Instant) -> Next {
        let pause = self.limits.poll_without_socket / 2;
        match looked {
            Looked::Found => Next::StartRun,
            Looked::Missing if now >= self.believed_from => self.send_again(Duration::ZERO, now),
            // The request never reached the server.
            Looked::NotConnected if self.failure == SendFailure::NotConnected => self.send_again(pause, now),
            _ if now + pause >= self.look_until => self.look_timed_out(looked, now),
            _ => Next::Look { after: pause, until: self.look_until },
        }
    }

    fn look_timed_out(&mut self, looked: Looked, now: Instant) -> Next {
        match looked {
            Looked::Missing => self.send_again(Duration::ZERO, now),
            _ => Next::Fail,
        }
    }

    fn send_again(&self, after: Duration, now: Instant) -> Next {
        let enough = match self.failure {
            SendFailure::NotConnected | SendFailure::Broken => now + after >= self.give_up,
            SendFailure::TimedOut | SendFailure::Final => true,
            SendFailure::Error => self.attempts >= MOST_ATTEMPTS,
        };
        if enough { Next::Fail } else { Next::Send { after } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Repeats the same failure and the same result of the check, and returns the final step and the number of requests.
    fn played(failure: SendFailure, look: Looked) -> (Next, u8) {
        let mut now = Instant::now();
        let mut delivery = Delivery::new(FollowLimits::default(), now);
        let mut next = delivery.failed(failure, now);
        for _ in 0..10_000 {
            next = match next {
                Next::Send { after } => {
                    now += after + Duration::from_millis(1);
                    delivery.failed(failure, now)
                }
                Next::Look { after, until } => {
                    now += after;
                    assert!(now <= until, "{failure:?} {look:?}");
                    delivery.looked(look, now)
                }
                end => return (end, delivery.attempts()),
            };
        }
        panic!("no end: {failure:?} {look:?}");
    }

    #[test]
    fn every_failure_ends_as_the_table_says() {
        use Looked::{Found, Missing, NotConnected, Unreadable};
        for (failure, look, end, requests) in [
            (SendFailure::Final, Missing, Next::Fail, 1..=1),
            (SendFailure::NotConnected, Found, Next::StartRun, 1..=1),
            (SendFailure::NotConnected, NotConnected, Next::Fail, 20..=60),
            (SendFailure::NotConnected, Missing, Next::Fail, 15..=60),
            (SendFailure::NotConnected, Unreadable, Next::Fail, 1..=1),
            (SendFailure::Broken, Found, Next::StartRun, 1..=1),
            (SendFailure::Broken, Missing, Next::Fail, 15..=60),
            (SendFailure::Broken, NotConnected, Next::Fail, 1..=1),
            (SendFailure::Error, Found, Next::StartRun, 1..=1),
            (SendFailure::Error, Missing, Next::Fail, 3..=3),
            (SendFailure::Error, Unreadable, Next::Fail, 1..=1),
            (SendFailure::TimedOut, Found, Next::StartRun, 1..=1),
            (SendFailure::TimedOut, Missing, Next::Fail, 1..=1),
            (SendFailure::TimedOut, Unreadable, Next::Fail, 1..=1),
        ] {
            let (ended, sent) = played(failure, look);
            assert_eq!(ended, end, "{failure:?} {look:?}");
            assert!(requests.contains(&sent), "{failure:?} {look:?}: {sent} requests");
        }
    }

    #[test]
    fn a_log_without_the_message_is_not_believed_at_once() {
        let now = Instant::now();
        for failure in [SendFailure::Broken, SendFailure::Error, SendFailure::TimedOut] {
            let mut delivery = Delivery::new(FollowLimits::default(), now);
            delivery.failed(failure, now);
            assert!(matches!(delivery.looked(Looked::Missing, now), Next::Look { .. }), "{failure:?}");
        }
    }
}
