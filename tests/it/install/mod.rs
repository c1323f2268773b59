//! Installed as users install it, on a machine without Rust, from what is released. `scripts/test` runs these tests behind the static
//! build.

mod aarch64;
mod action;
mod archive;
mod container;
mod wheel;

use std::path::Path;

use crate::support::run::LLM_COST;
use crate::support::{AgentServer, NEWEST, Run, ScriptedLlm, Step};

/// The installed program does a whole run on a real agent-server.
async fn runs(program: &Path) {
    let server = AgentServer::shared(NEWEST).await;
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Say hello", [Step::finish("Hello.")]);
    let run = Run::of_program(program).in_sandbox_of(server).llm(&llm);
    let finished = run.task(&format!("---\nllm: {LLM_COST}\n---\nSay hello.")).finish().await.exits_with(0);
    assert_eq!(finished.stdout, "Hello.\n");
}
