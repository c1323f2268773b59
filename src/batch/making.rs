//! Which new sandboxes of the account were left by requests of this batch whose responses were lost.
//!
//! OpenHands Cloud lists every new sandbox of the account. Those that the batch knows were not left, and those whose request is still
//! under way will be known soon. What remains belongs to the requests without a response, one to each, if there are not more of such
//! sandboxes than such requests. Otherwise some may be another job's.

use std::collections::BTreeSet;

use openhands_client::ids::SandboxId;
use tokio::sync::watch;

/// The requests for sandboxes of a batch. Shared by its rows.
#[derive(Debug, Default)]
pub(crate) struct Making(watch::Sender<State>);

#[derive(Debug, Default)]
struct State {
    known: BTreeSet<String>,
    /// How many requests have begun; each has its number.
    begun: u64,
    under_way: BTreeSet<u64>,
    /// The rows whose request has got no response.
    unclear: BTreeSet<String>,
}

/// A request under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Request<'m> {
    making: &'m Making,
    number: u64,
    row: &'m str,
    has_response: bool,
}

impl Request<'_> {
    /// The provider has made this sandbox, or has said that it made none.
    pub(crate) fn has_response(mut self, sandbox: Option<&SandboxId>) {
        self.has_response = true;
        if let Some(sandbox) = sandbox {
            self.making.knows(sandbox.as_str());
        }
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.making.0.send_modify(|state| {
            state.under_way.remove(&self.number);
            if !self.has_response {
                state.unclear.insert(self.row.to_owned());
            }
        });
    }
}

impl Making {
    /// The request of a row begins.
    pub(crate) fn begin<'m>(&'m self, row: &'m str) -> Request<'m> {
        let mut number = 0;
        self.0.send_modify(|state| {
            state.begun += 1;
            number = state.begun;
            state.under_way.insert(number);
        });
        Request { making: self, number, row, has_response: false }
    }

    /// This sandbox needs no owner any more: it was made, or deleted.
    pub(crate) fn knows(&self, sandbox: &str) {
        self.0.send_modify(|state| _ = state.known.insert(sandbox.to_owned()));
    }

    /// What the request of this row may have left is cleared up, or given up.
    pub(crate) fn is_settled(&self, row: &str) {
        self.0.send_modify(|state| _ = state.unclear.remove(row));
    }

    /// Those of the sandboxes that the request of this row may have left. Waits for the requests that are under way.
    pub(crate) async fn left_by(&self, row: &str, listed: Vec<SandboxId>) -> Vec<SandboxId> {
        let before = self.0.borrow().under_way.clone();
        // The sender is ours, so this cannot fail.
        let _ = self.0.subscribe().wait_for(|state| before.is_disjoint(&state.under_way)).await;
        let state = self.0.borrow();
        let mut unknown: Vec<SandboxId> = listed.into_iter().filter(|id| !state.known.contains(id.as_str())).collect();
        if unknown.len() > state.unclear.len() {
            return unknown;
        }
        unknown.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        // A request that was refused has left none as long as others may have.
        let rank = state.unclear.iter().position(|unclear| unclear == row);
        rank.and_then(|rank| unknown.into_iter().nth(rank)).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn ids(names: &[&str]) -> Vec<SandboxId> {
        names.iter().map(|name| SandboxId::new(*name)).collect()
    }

    #[tokio::test]
    async fn a_sandbox_that_is_known_is_not_left() {
        let making = Making::default();
        making.begin("row").has_response(Some(&SandboxId::new("a")));
        drop(making.begin("lost"));
        assert_eq!(making.left_by("lost", ids(&["a", "b"])).await, ids(&["b"]));
        making.knows("b");
        assert_eq!(making.left_by("lost", ids(&["a", "b"])).await, []);
    }

    #[tokio::test]
    async fn each_request_without_a_response_has_one_of_the_sandboxes_that_are_left() {
        let making = Making::default();
        drop((making.begin("one"), making.begin("two")));
        making.begin("first").has_response(None);
        assert_eq!(making.left_by("one", ids(&["b", "a"])).await, ids(&["a"]));
        assert_eq!(making.left_by("two", ids(&["b", "a"])).await, ids(&["b"]));
        assert_eq!(making.left_by("two", ids(&["a"])).await, []);
        assert_eq!(making.left_by("first", ids(&["b", "a"])).await, [], "it was refused");
        making.knows("a");
        making.is_settled("one");
        assert_eq!(making.left_by("two", ids(&["b", "a"])).await, ids(&["b"]));
        // One more than requests: it may be another job's.
        assert_eq!(making.left_by("two", ids(&["b", "c"])).await, ids(&["b", "c"]));
        making.is_settled("two");
        assert_eq!(making.left_by("first", ids(&["b"])).await, ids(&["b"]), "a refusal is not always true");
    }

    #[tokio::test]
    async fn the_sandbox_of_a_request_that_is_under_way_is_waited_for() {
        let making = Making::default();
        drop(making.begin("one"));
        let request = making.begin("other");
        let left = making.left_by("one", ids(&["a", "b"]));
        tokio::pin!(left);
        timeout(Duration::from_millis(1), &mut left).await.unwrap_err();
        // Another one that begins meanwhile is not in the list.
        let _later = making.begin("later");
        request.has_response(Some(&SandboxId::new("b")));
        assert_eq!(left.await, ids(&["a"]));
    }
}
