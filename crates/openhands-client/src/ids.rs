//! Id types, so that different ids cannot be confused.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use uuid::Uuid;

/// The automation service's id of a run. An opaque text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
pub struct RunId(String);

/// The Cloud API's id of a sandbox. An opaque text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SandboxId(String);

macro_rules! opaque_id {
    ($id:ident) => {
        impl $id {
            /// Wraps an id.
            pub fn new(id: impl Into<String>) -> Self {
                Self(id.into())
            }

            /// Returns the id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

opaque_id!(RunId);
opaque_id!(SandboxId);

/// The automation service's id of an automation: a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
pub struct AutomationId(Uuid);

/// The agent-server's id of a conversation: a UUID that the client chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConversationId(Uuid);

impl ConversationId {
    /// Separates our derived ids from those of other programs.
    const NAMESPACE: Uuid = Uuid::from_u128(0x6f1e_0a52_4c5b_4d0e_9a4e_51a7_8f2d_3c90);

    /// Returns the same id for the same run, so that a restarted run finds its conversation (UUID version 5).
    #[must_use]
    pub fn of_run(run: &RunId) -> Self {
        Self(Uuid::new_v5(&Self::NAMESPACE, run.as_str().as_bytes()))
    }

    /// Returns a new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

macro_rules! uuid_as_text {
    ($id:ident) => {
        impl FromStr for $id {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
    };
}

uuid_as_text!(AutomationId);
uuid_as_text!(ConversationId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_always_has_the_same_conversation() {
        let id = ConversationId::of_run(&RunId::new("run-1"));
        assert_eq!(id, ConversationId::of_run(&RunId::new("run-1")));
        assert_ne!(id, ConversationId::of_run(&RunId::new("run-2")));
        // A released version must not change this value: a run may be restarted with a newer binary.
        assert_eq!(id.to_string(), "1b716b4b-78d1-5f02-9247-f78169819a82");
    }

    #[test]
    fn ids_are_read_with_and_without_dashes() {
        let dashes: ConversationId = "6f1e0a52-4c5b-4d0e-9a4e-51a78f2d3c90".parse().unwrap();
        let plain: ConversationId = "6f1e0a524c5b4d0e9a4e51a78f2d3c90".parse().unwrap();
        assert_eq!(dashes, plain);
    }
}
