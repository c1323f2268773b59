//! A runner that is killed, and one of the same run after it.

use std::time::Duration;

use nix::sys::signal::Signal::{SIGKILL, SIGTERM};
use tokio::time::sleep;

use super::Work;
use crate::support::receiver::Answer::Status;
use crate::support::run::{LLM_COST, Running};
use crate::support::{AgentServer, NEWEST, Receiver, Run, Step};

crate::on_newest_and_oldest!(a_run_that_is_started_again_at_once_is_finished);

async fn a_run_that_is_started_again_at_once_is_finished(server: &AgentServer) {
    let work = Work::on(server).await;
    work.hold_at("2");
    let first = work.run(server).start();
    work.reach("2").await;
    first.signal(SIGKILL);
    // Before the first one's end is even noticed.
    let second = work.run(server).start();
    taken_over(&second, &work).await;
    first.finish().await.ended_by(SIGKILL);
    second.finish().await.exits_with(0);
    completed_with_messages(server, &work, &["Do the task."]).await;
}

/// Waits until this runner has taken over the run, and lets the agent leave step 2.
async fn taken_over(second: &Running, work: &Work) {
    second.says("resuming a run whose runner died").await;
    // Now it finds the agent at work.
    second.says(" is ready").await;
    work.let_go("2");
}

async fn completed_with_messages(server: &AgentServer, work: &Work, messages: &[&str]) {
    let report = work.receiver.accepted();
    assert_eq!(report["status"], "COMPLETED", "{report}");
    assert_eq!(work.receiver.callbacks().len(), 1);
    assert_eq!(server.user_messages(report["conversation_id"].as_str().unwrap()).await, messages);
    let steps = std::fs::read_to_string(work.working_dir.join("steps.txt")).unwrap();
    assert_eq!(steps, "1\n2\n3\n4\n5\n6\n");
    work.left_the_whole_log(server, "COMPLETED").await;
}

#[tokio::test]
async fn a_run_that_is_started_again_within_the_grace_is_finished() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    work.hold_at("2");
    let first = work.run(server).start();
    work.reach("2").await;
    first.signal(SIGKILL);
    sleep(Duration::from_millis(1500)).await;
    let second = work.run(server).start();
    taken_over(&second, &work).await;
    second.finish().await.exits_with(0);
    first.finish().await.ended_by(SIGKILL);
    completed_with_messages(server, &work, &["Do the task."]).await;
}

#[tokio::test]
async fn a_run_that_is_started_again_too_late_finds_its_failure_reported() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    work.hold_at("2");
    let first = work.run(server).start();
    work.reach("2").await;
    first.signal(SIGKILL);
    first.finish().await.ended_by(SIGKILL);
    work.failed_with("RunnerDied");
    let second = work.run(server).start();
    second.says(" is ready").await;
    work.let_go("2");
    second.finish().await.exits_with(0).says("has already settled the run");
    assert_eq!(work.receiver.accepted_first()["error"]["code"], "RunnerDied");
    work.left_the_whole_log(server, "COMPLETED").await;
}

#[tokio::test]
async fn a_run_whose_failure_nobody_has_accepted_yet_can_still_be_finished() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::reported_to(server, Receiver::answering([Status(503); 8]).await).await;
    work.hold_at("2");
    let first = work.run(server).start();
    work.reach("2").await;
    first.signal(SIGKILL);
    // The guardian says that the runner is dead, to a service that is away.
    work.receiver.called().await;
    let second = work.run(server).start();
    taken_over(&second, &work).await;
    first.finish().await.ended_by(SIGKILL);
    second.finish().await.exits_with(0);
    assert_eq!(work.receiver.accepted_first()["status"], "COMPLETED");
    work.left_the_whole_log(server, "COMPLETED").await;
}

/// A run that waits for another's in the same conversation neither pays for it nor stops it.
#[tokio::test]
async fn a_run_leaves_alone_what_somebody_else_does_in_its_conversation() {
    let server = AgentServer::shared(NEWEST).await;
    let conversation = uuid::Uuid::new_v4().to_string();
    let first = Work::on(server).await;
    first.takes(14);
    first.take_time();
    first.llm.script("Then this", [Step::finish("And this.")]);
    let others = Work::on(server).await;
    let run = |work: &Work| work.run(server).llm(&first.llm).env("AUTOMATION_CONVERSATION_ID", &conversation);
    let running = run(&first).start();
    first.reach("3").await;
    let waiting =
        run(&others).file("task.md", format!("---\nllm: {LLM_COST}\nlimits: {{cost: 0.015}}\n---\nThen this.")).start();
    let third = Work::on(server).await;
    let ended = run(&third).start();
    ended.says("waiting for its end").await;
    waiting.says("waiting for its end").await;
    // Where the first one began must be found when it starts again.
    assert_eq!(server.conversation(&conversation).await["tags"]["runnerrun"], *first.run_id);
    ended.signal(SIGTERM);
    ended.finish().await.exits_with(143);
    assert_eq!(third.receiver.accepted()["error"]["code"], "Terminated");
    first.hurry();
    running.finish().await.exits_with(0);
    waiting.finish().await.exits_with(0);
    assert_eq!(first.receiver.accepted()["status"], "COMPLETED");
}

#[tokio::test]
async fn a_second_runner_of_a_run_leaves_it_to_the_first() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    work.hold_at("1");
    let first = work.run(server).start();
    work.reach("1").await;
    work.run(server).finish().await.exits_with(78).says("another runner works on run");
    work.let_go("1");
    first.finish().await.exits_with(0);
    completed_with_messages(server, &work, &["Do the task."]).await;
}

#[tokio::test]
async fn a_continued_conversation_that_holds_the_same_text_is_finished_once() {
    let server = AgentServer::shared(NEWEST).await;
    let conversation = uuid::Uuid::new_v4().to_string();
    let run = |work: &Work| -> Run { work.run(server).env("AUTOMATION_CONVERSATION_ID", &conversation) };
    let earlier = Work::on(server).await;
    run(&earlier).finish().await.exits_with(0);

    let work = Work { working_dir: earlier.working_dir.clone(), ..Work::on(server).await };
    std::fs::remove_file(work.working_dir.join("steps.txt")).unwrap();
    // The conversation keeps the LLM that it was created with, and with it the steps.
    earlier.hold_at("2");
    let first = run(&work).llm(&earlier.llm).start();
    work.reach("2").await;
    first.signal(SIGKILL);
    let second = run(&work).llm(&earlier.llm).start();
    taken_over(&second, &earlier).await;
    second.finish().await.exits_with(0);
    first.finish().await.ended_by(SIGKILL);
    completed_with_messages(server, &work, &["Do the task.", "Do the task."]).await;
}
