//! Fire and forget: creates a sandbox, starts a program in it, and leaves. The program may be `my_automation`, the example beside
//! this one, built for Linux as a static binary.
//!
//! ```text
//! export OPENHANDS_CLOUD_API_KEY=…
//! cargo run --example orchestrate target/x86_64-unknown-linux-musl/release/examples/my_automation
//! ```
//!
//! Optional: `OPENHANDS_CLOUD_API_URL`; `CALLBACK_URL`, `RUN_ID` and `WORKSPACE_BASE`, which the program gets.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "an example reads its environment and shows what it does"
)]

use std::env::var;
use std::error::Error;

use openhands_client::sandbox::program::Program;
use openhands_client::workspace::CloudWorkspace;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    tokio::select! {
        done = run() => done,
        // Dropping the work deletes its sandbox; without a handler, Ctrl-C would leave it.
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut program = Program::new(std::env::args_os().nth(1).ok_or("give the program's static binary")?);
    for name in ["CALLBACK_URL", "RUN_ID", "WORKSPACE_BASE"] {
        if let Ok(value) = var(name) {
            program = program.env(name, value);
        }
    }
    let mut builder = CloudWorkspace::builder(var("OPENHANDS_CLOUD_API_KEY")?);
    if let Ok(url) = var("OPENHANDS_CLOUD_API_URL") {
        builder = builder.url(url.parse()?);
    }
    let mut workspace = builder.open().await?;
    let started = workspace.start_program(program).await?;
    // Only now, when the program runs: until here an error deletes the sandbox.
    workspace.keep_alive();
    println!("Sandbox {}, output in {}", workspace.id(), started.output);
    Ok(())
}
