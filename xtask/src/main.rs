//! What the scripts run besides the program itself: measurements, the peers of the demo, and the list of the library's public items.
//!
//! ```text
//! xtask bench run RUNNER [--against OLD] [-- REFERENCE...]     scripts/bench
//! xtask bench events RUNNER [--against OLD]                    scripts/bench events
//! xtask bench report RUNNER                                    scripts/bench report
//! xtask bench signals RUNNER                                   scripts/bench signals
//! xtask bench automation RUNNER [NAME=VALUE...]                scripts/bench automation
//! xtask bench batch RUNNER                                     scripts/bench batch
//! xtask bench launch RUNNER [PYTHON SCRIPT]                    scripts/bench launch
//! xtask demo-peers WORKING_DIR                                 scripts/demo
//! xtask public-api RUSTDOC_JSON                                scripts/public-api
//! ```

#![allow(clippy::print_stdout, reason = "the scripts read and show what this program prints")]

mod bench;
mod demo_peers;
mod public_api;

/// The real and scripted servers of the integration tests.
#[allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "support code; the tests use more of it"
)]
#[path = "../../tests/support"]
mod support {
    pub mod agent_server;
    pub mod asked;
    pub mod automation_service;
    pub mod cloud_server;
    pub mod http_listener;
    pub mod instant_cloud;
    pub mod instant_machine;
    pub mod instant_server;
    pub mod keys;
    pub mod lent;
    pub mod receiver;
    pub mod repository;
    pub mod scripted_llm;

    pub use agent_server::{AgentServer, NEWEST};
    pub use cloud_server::CloudServer;
    pub use scripted_llm::{ScriptedLlm, Step};
}

use std::process::ExitCode;

/// Why a task failed.
type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next();
    let arguments: Vec<String> = arguments.collect();
    match task.as_deref() {
        Some("bench") => bench::run(&arguments).await,
        Some("demo-peers") => {
            demo_peers::serve(arguments.first().map_or("", String::as_str)).await.map(|()| ExitCode::SUCCESS)
        }
        Some("public-api") => public_api::print(arguments.first().ok_or("missing the rustdoc JSON file")?.as_ref())
            .map(|()| ExitCode::SUCCESS),
        _ => Err("usage: xtask bench|demo-peers|public-api ARGUMENTS; see the top of xtask/src/main.rs".into()),
    }
}
