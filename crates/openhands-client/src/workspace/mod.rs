//! Workspaces: sandboxes with their account. Most programs start here.
//!
//! | type | sandbox | account |
//! | --- | --- | --- |
//! | [`CloudWorkspace`] | in OpenHands Cloud, created or attached by id | the Cloud account |
//! | [`DockerWorkspace`] | a local container | the agent-server's own settings |
//! | [`RuntimeApiWorkspace`] | a runtime of the Runtime API | the agent-server's own settings |
//! | [`InsideWorkspace`] | the one that this program runs in, or any agent-server at a URL | the Cloud account, or the agent-server's own settings |
//!
//! Each type derefs to a [`Workspace`] with the common operations: commands, files, conversations, LLM and secrets.

mod account;
mod cloud;
mod cloud_source;
mod error;
mod inside;
mod operations;
mod program;
mod remote;
mod server_source;
mod variables;

pub use crate::agent_server::ready::ReadyError;
pub use crate::agent_server::{AgentProfileInfo, AgentProfileList, GitChange, GitDiff};
pub use crate::http::{Network, ProxyError, SetupError};
pub use crate::sandbox::SandboxError;

#[doc(hidden)]
pub use account::{AccountClient, SecretSelection};
#[doc(hidden)]
pub use cloud::account_of;
pub use cloud::{CloudWorkspace, CloudWorkspaceBuilder};
pub use error::{OpenError, WorkspaceError};
pub use inside::{InsideWorkspace, InsideWorkspaceBuilder};
pub use operations::Workspace;
pub use program::{StartProgramError, StartedProgram};
#[cfg(feature = "docker")]
pub use remote::DockerWorkspace;
pub use remote::RemoteWorkspace;
#[cfg(feature = "runtime-api")]
pub use remote::RuntimeApiWorkspace;
