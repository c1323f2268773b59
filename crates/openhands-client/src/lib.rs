//! A client for OpenHands: the agent-server in a sandbox, the Cloud API, and the automation service.
//!
//! # The map, from the top floor down
//!
//! - [`workspace`]: a sandbox with an account behind it; what most programs start with;
//! - [`sandbox`]: sandboxes that are created, used and deleted, with commands and files in them;
//! - [`conversation`]: one conversation, from its first message to its end;
//! - [`automation`]: the completion callback and the phases of a run;
//! - [`cloud`]: the Cloud API;
//! - [`agent_server`]: the endpoints and the events socket of an agent-server;
//! - [`http`], [`retry`], [`time_limits`], [`redact`], [`secret`], [`ids`], [`text`], [`off_thread`]: what all of them stand on.

pub mod agent_server;
pub mod automation;
pub mod cloud;
pub mod conversation;
pub mod http;
pub mod ids;
pub mod off_thread;
pub mod redact;
pub mod retry;
pub mod sandbox;
pub mod secret;
pub mod text;
pub mod time_limits;
pub mod workspace;
