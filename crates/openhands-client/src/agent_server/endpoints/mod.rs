//! The endpoints of the agent-server by subject. Each has one method, and each call makes one attempt.

mod bash;
mod conversations;
mod events;
mod files;
mod git;
mod operations;
mod settings;

pub use bash::BashResult;
pub use conversations::{Created, RunStarted};
pub use events::{ConfirmationPolicy, EventQuery};
pub use git::{GitChange, GitDiff};
pub use operations::ForkOptions;
pub use settings::{AgentProfileInfo, AgentProfileList};
