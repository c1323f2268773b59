//! The run's own time limit, and the soft landing before it.

use nix::sys::signal::Signal::{SIGCONT, SIGSTOP};

use super::Work;
use crate::support::run::LLM_COST;
use crate::support::{AgentServer, NEWEST, Step};

crate::on_newest_and_oldest!(an_agent_is_asked_to_wrap_up_before_the_end, an_agent_that_goes_on_is_stopped);

async fn an_agent_is_asked_to_wrap_up_before_the_end(server: &AgentServer) {
    let work = Work::on(server).await;
    work.hold_at("2");
    work.llm.script("Your time is nearly up", [Step::finish("Half of it is done.")]);
    let running = work
        .run_without_arguments(server)
        .args(["run", "--timeout", "44s", "--soft-landing", "20s", "--format", "json"])
        .start();
    // On some versions the message waits for the running command.
    running.says("asking the agent to wrap up").await;
    work.let_go("2");
    let finished = running.finish().await.exits_with(124);
    assert_eq!(finished.json()["message"], "Half of it is done.");
    let report = work.failed_with("Timeout");
    let messages = server.user_messages(report["conversation_id"].as_str().unwrap()).await;
    assert_eq!(messages.len(), 2, "{messages:?}");
}

async fn an_agent_that_goes_on_is_stopped(server: &AgentServer) {
    let work = Work::on(server).await;
    work.hold_at("2");
    work.run_without_arguments(server)
        .args(["run", "--timeout", "30s", "--no-soft-landing"])
        .finish()
        .await
        .exits_with(124);
    let report = work.failed_with("Timeout");
    work.let_go("2");
    let messages = server.user_messages(report["conversation_id"].as_str().unwrap()).await;
    assert_eq!(messages, ["Do the task."]);
    super::agent_is_stopped(server, &report).await;
}

#[tokio::test]
async fn a_runner_that_is_frozen_beyond_its_time_limit_is_reported() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    work.hold_at("2");
    let task = format!("---\nllm: {LLM_COST}\nlimits: {{timeout: 12s}}\n---\nDo the task.");
    let run = work.run_without_arguments(server).args(["run", "--time-scale", "frozen=0.1"]);
    let run = run.args(["--out", work.out().to_str().unwrap()]);
    let running = run.file("task.md", task).start();
    work.reach("2").await;
    running.signal(SIGSTOP);
    work.receiver.called().await;
    work.failed_with("Timeout");
    // What it says now is settled already.
    running.signal(SIGCONT);
    running.finish().await.exits_with(124);
    work.failed_with("Timeout");
    work.left_a_part_of_the_log(server, "Timeout").await;
}
