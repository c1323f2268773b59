//! The agent-server in the sandbox: wire types, endpoints, events socket, and the differences between versions.
//!
//! Wire facts were observed on the PyPI package `openhands-agent-server`, versions 1.11.5 to 1.58.2. This module does not know in
//! which order the endpoints are called or when a run is over.

mod address;
pub mod capabilities;
pub mod client;
mod endpoints;
pub mod event;
pub mod hooks;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
pub mod mcp;
pub mod plugin;
pub mod ready;
mod server;
pub mod settings;
mod short_frames;
pub mod skill;
pub mod socket;
pub mod trace;
pub mod wire;

pub use address::{AgentServerAddress, DEFAULT_PORT, local_agent_server};
pub use capabilities::Capabilities;
pub use client::AgentServerClient;
pub use endpoints::{
    AgentProfileInfo, AgentProfileList, BashResult, ConfirmationPolicy, ForkOptions, GitChange, GitDiff,
};
pub use event::Event;
pub use server::{AgentServer, CONTAINER_WORKSPACE};
