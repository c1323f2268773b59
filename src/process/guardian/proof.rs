//! The proof that a process belongs to a run: it knows the key of the run's callback.
//!
//! The abstract namespace has no permissions: any process can take the name of a run, or ask under it. Each side shows that it
//! knows the key, for a number that the other side has drawn; the key itself is never sent.

use openhands_client::secret::Secret;
use ring::hmac;
use uuid::Uuid;

/// Which side proves something: what one side has shown does not prove the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The guardian of a run.
    Guardian,
    /// A new runner of the same run.
    Runner,
}

/// The numbers that both sides have drawn for one conversation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drawn {
    pub(super) runner: Uuid,
    pub(super) guardian: Uuid,
}

/// What only processes of the run know. A run without a key has an empty one, so that its proof says nothing but the run's id.
#[derive(Debug, Clone)]
pub(crate) struct RunKey {
    run_id: String,
    key: hmac::Key,
}

impl RunKey {
    /// The key of this run's callback.
    #[must_use]
    pub(crate) fn new(run_id: &str, key: Option<&Secret>) -> Self {
        let key = key.map_or("", Secret::expose).as_bytes();
        Self { run_id: run_id.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    pub(super) fn run_id(&self) -> &str {
        &self.run_id
    }

    pub(super) fn prove(&self, side: Side, drawn: Drawn) -> Vec<u8> {
        hmac::sign(&self.key, self.text(side, drawn).as_bytes()).as_ref().to_vec()
    }

    pub(super) fn is_proof(&self, proof: &[u8], side: Side, drawn: Drawn) -> bool {
        hmac::verify(&self.key, self.text(side, drawn).as_bytes(), proof).is_ok()
    }

    fn text(&self, side: Side, Drawn { runner, guardian }: Drawn) -> String {
        let side = match side {
            Side::Guardian => "guardian",
            Side::Runner => "runner",
        };
        // What may be any text comes last.
        format!("{side} {runner} {guardian} {}", self.run_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_one_key_one_run_one_side_and_one_conversation() {
        let drawn = || Drawn { runner: Uuid::new_v4(), guardian: Uuid::new_v4() };
        let (key, this) = (RunKey::new("run", Some(&Secret::new("key"))), drawn());
        let proof = key.prove(Side::Guardian, this);
        assert!(key.is_proof(&proof, Side::Guardian, this));
        assert!(!key.is_proof(&proof, Side::Runner, this));
        assert!(!key.is_proof(&proof, Side::Guardian, drawn()));
        for other in [
            RunKey::new("run", Some(&Secret::new("other"))),
            RunKey::new("run", None),
            RunKey::new("other", Some(&Secret::new("key"))),
        ] {
            assert!(!other.is_proof(&proof, Side::Guardian, this));
        }
        assert!(!key.is_proof(b"", Side::Guardian, this) && !key.is_proof(&proof[1..], Side::Guardian, this));
    }
}
