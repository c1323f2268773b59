//! How fast the provider of sandboxes is asked: requests have the same distance to each other.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Lets at most a given number of requests through per second.
#[derive(Debug)]
pub(crate) struct Pace {
    distance: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// Allows this many requests per second.
    pub(crate) fn new(requests_per_second: f64) -> Self {
        Self { distance: Duration::from_secs_f64(1.0 / requests_per_second), next: Mutex::new(None) }
    }

    /// Waits for the turn of one request. A turn that is not used passes.
    pub(crate) async fn turn(&self) {
        sleep_until(self.turn_of(Instant::now())).await;
    }

    /// When a request has its turn that comes now.
    fn turn_of(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = next.map_or(now, |next| next.max(now));
        *next = Some(turn + self.distance);
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_keep_their_distance_also_when_they_come_together() {
        let (pace, start) = (Pace::new(10.0), Instant::now());
        let last = |now: Instant, requests: usize| (0..requests).map(|_| pace.turn_of(now)).last().unwrap();
        assert_eq!(last(start, 21).duration_since(start).as_millis(), 2000);
        // A pause is not made up for.
        let later = start + Duration::from_secs(60);
        assert_eq!(last(later, 11).duration_since(later).as_millis(), 1000);
    }
}
