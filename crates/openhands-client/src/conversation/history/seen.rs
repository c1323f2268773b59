//! Records which events were seen, in bounded memory.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};

/// The number of ids that are stored, with 16 bytes each. It exceeds the overlap of two sources by far.
const REMEMBERED: usize = 8192;

/// Stores the ids of the last events.
#[derive(Debug, Default)]
pub(super) struct Seen {
    hashes: HashSet<u64>,
    order: VecDeque<u64>,
    hasher: RandomState,
}

impl Seen {
    /// Returns whether the id is seen for the first time. An empty id always counts as new.
    pub(super) fn is_new(&mut self, id: &str) -> bool {
        if id.is_empty() {
            return true;
        }
        let hash = self.hasher.hash_one(id);
        if !self.hashes.insert(hash) {
            return false;
        }
        if self.order.len() == REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.hashes.remove(&oldest);
        }
        self.order.push_back(hash);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_new_once() {
        let mut seen = Seen::default();
        assert!(seen.is_new("a"));
        assert!(!seen.is_new("a"));
        assert!(seen.is_new("") && seen.is_new(""));
    }

    #[test]
    fn memory_is_bounded_and_the_newest_are_kept() {
        let mut seen = Seen::default();
        for number in 0..20_000 {
            assert!(seen.is_new(&number.to_string()));
        }
        assert_eq!(seen.hashes.len(), REMEMBERED);
        assert!(!seen.is_new("19999"));
        assert!(seen.is_new("0"));
    }
}
