//! The real binary against real loopback servers.
//!
//! Agent-servers are the real thing, in the newest and the oldest version that a sandbox may carry; `scripts/agent-server`
//! installs and starts them. The LLM is scripted. wiremock stands in for the Cloud API and the automation service, and
//! gives the faults that no real server produces on demand.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests are not an interface"
)]

#[path = "../support/mod.rs"]
mod support;

mod agent_profile;
mod automation;
mod automation_command;
mod batch;
mod check;
mod checks;
mod cloud;
mod cloud_create;
mod cloud_faults;
mod cloud_run;
mod cloud_sandbox;
mod corpora;
mod engines;
mod exec;
mod faults;
mod github;
mod install;
mod key_search;
mod leaks;
mod library;
mod mcp;
mod output;
mod phases;
mod plugin_spec;
mod preset;
mod prompt;
mod providers;
mod report;
mod repos;
mod result;
mod run;
mod run_folder;
mod salvage;
mod secrets;
mod setup;
mod skills;
mod soak;
mod tarball;
mod terminal;
