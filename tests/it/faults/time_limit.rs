//! The run's own time limit, and the soft landing before it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal::{SIGCONT, SIGSTOP};

use super::Work;
use super::salvage::{in_repository, kept};
use crate::support::run::{Finished, LLM_COST};
use crate::support::{AgentServer, NEWEST, Step};

crate::on_newest_and_oldest!(
    an_agent_that_wraps_up_in_time_completes_the_run,
    an_agent_that_goes_on_is_stopped,
    a_run_that_wraps_up_before_its_last_message_fails,
    an_agent_is_reminded_of_its_limits_before_they_end_the_run
);

/// The work, whose agent wraps up when it is asked to, with a deadline that comes before the time limit.
async fn wrapped_up(server: &AgentServer, work: &Work, task: &str) -> Finished {
    work.hold_at("2");
    work.llm.script("Your time is nearly up", [Step::finish("Half of it is done.")]);
    let deadline = SystemTime::now() + Duration::from_secs(44);
    let deadline = deadline.duration_since(UNIX_EPOCH).unwrap().as_secs().to_string();
    let running = work
        .run_without_arguments(server)
        .env("OPENHANDS_RUNNER_DEADLINE", deadline)
        .file("task.md", task)
        .args(["run", "--timeout", "1h", "--soft-landing", "20s", "--format", "json"])
        .start();
    // On some versions the message waits for the running command.
    running.says("asking the agent to wrap up").await;
    work.let_go("2");
    running.finish().await
}

async fn an_agent_that_wraps_up_in_time_completes_the_run(server: &AgentServer) {
    let work = Work::on(server).await;
    let finished = wrapped_up(server, &work, "Do the task.").await.exits_with(0);
    let result = finished.json();
    assert_eq!((&result["message"], &result["cut_short"]), (&"Half of it is done.".into(), &true.into()), "{result}");
    assert!(result["warnings"][0].as_str().unwrap().starts_with("time limit near"), "{result}");
    let report = work.receiver.accepted();
    assert_eq!(report["status"], "COMPLETED", "{report}");
    let messages = server.user_messages(report["conversation_id"].as_str().unwrap()).await;
    assert_eq!(messages.len(), 2, "{messages:?}");
}

async fn a_run_that_wraps_up_before_its_last_message_fails(server: &AgentServer) {
    let work = Work::on(server).await;
    let task = "---\nthen: [Do more., Do the rest.]\n---\nDo the task.";
    let finished = wrapped_up(server, &work, task).await.exits_with(124).says("messages not sent: 2");
    assert_eq!(finished.json()["message"], "Half of it is done.");
    work.failed_with("Timeout");
}

/// The deadline is near, the cost and the steps too: one message of each part, and what the agent does with it counts.
async fn an_agent_is_reminded_of_its_limits_before_they_end_the_run(server: &AgentServer) {
    let work = Work::on(server).await;
    work.hold_at("3");
    let task = format!("---\nllm: {LLM_COST}\nlimits: {{iterations: 8, cost: 10, timeout: 2m}}\n---\nDo the task.");
    let running = work
        .run_without_arguments(server)
        .file("task.md", task)
        .args(["run", "--no-soft-landing", "--format", "json"])
        .start();
    // Held at the third of its steps; the message waits for its end on some versions, and comes before the next.
    running.says("reminding the agent").await;
    work.let_go("3");
    let finished = running.finish().await.exits_with(0);
    let messages = server.user_messages(finished.json()["conversation_id"].as_str().unwrap()).await;
    let reminders: Vec<_> = messages.iter().filter(|message| message.starts_with("A reminder of the limits")).collect();
    assert_eq!(messages.len(), 1 + reminders.len(), "{messages:?}");
    assert!(reminders[0].contains(" of the time left."), "{messages:?}");
    assert!(reminders.iter().any(|message| message.contains("2 of 8 steps")), "{messages:?}");
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
}

#[tokio::test]
async fn an_agent_is_not_reminded_where_no_one_wants_that() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    work.takes(3);
    let task = "---\nlimits: {iterations: 4}\n---\nDo the task.";
    let run = work.run_without_arguments(server).file("task.md", task);
    let finished = run.args(["run", "--no-reminders", "--format", "json"]).finish().await.exits_with(0);
    let messages = server.user_messages(finished.json()["conversation_id"].as_str().unwrap()).await;
    assert_eq!(messages, ["Do the task."]);
}

async fn an_agent_that_goes_on_is_stopped(server: &AgentServer) {
    let (work, run) = in_repository(server).await;
    work.hold_at("2");
    run.args(["--timeout", "30s", "--no-soft-landing"]).finish().await.exits_with(124);
    let report = work.failed_with("Timeout");
    kept(&work, 2);
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
