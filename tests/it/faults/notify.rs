//! The webhooks that get the result of a run.

use nix::sys::signal::Signal::SIGKILL;
use serde_json::json;

use super::Work;
use crate::support::receiver::Answer::{Never, Status};
use crate::support::run::LLM_COST;
use crate::support::{AgentServer, NEWEST, Receiver, Run, time_scale};

/// A run that has nothing to do but to tell that it cannot start. Its id is its own: two runners of one run are not at work at a time.
fn failing(hook: &Receiver) -> Run {
    let id = format!("nightly-{}", uuid::Uuid::new_v4());
    Run::new().task("Do the task.").env("RUN_ID", id).env("OPENHANDS_RUNNER_NOTIFY", hook.url())
}

crate::on_newest_and_oldest!(
    the_result_is_told_after_the_callback_and_only_to_those_who_want_it,
    the_guardian_tells_of_a_runner_that_is_killed,
);

async fn the_result_is_told_after_the_callback_and_only_to_those_who_want_it(server: &AgentServer) {
    let work = Work::on(server).await;
    let (always, failure) = (Receiver::start().await, Receiver::start().await);
    let notify = json!([{"url": always.url()}, {"url": failure.url(), "on": "failure"}]);
    let task = format!("---\nllm: {LLM_COST}\nnotify: {notify}\n---\nDo the task.");
    let run = work.run_without_arguments(server).args(["run", "--format", "json"]).file("task.md", task);
    let finished = run.finish().await.exits_with(0).never_shows(&always.url());
    let (told, result) = (&always.callbacks()[0], finished.json());
    assert!(told.at >= work.receiver.callbacks()[0].at, "told before the automation service");
    assert_eq!(told.body["conversation_id"], result["conversation_id"]);
    assert_eq!(told.body["text"], format!("{}: completed\nDone.", work.run_id));
    assert_eq!(told.authorization, None, "a key is not for others");
    assert_eq!((always.callbacks().len(), failure.callbacks().len()), (1, 0));
}

#[tokio::test]
async fn a_notice_is_retried_and_needs_no_callback() {
    let hook = Receiver::answering([Status(503), Status(429)]).await;
    failing(&hook).finish().await.exits_with(78).never_shows(&hook.url());
    let told = hook.accepted();
    let text = format!("{}: failed (InvalidInput)", told["run_id"].as_str().unwrap());
    assert!(text.starts_with("nightly-") && told["text"].as_str().unwrap().starts_with(&text), "{told}");
    assert_eq!(hook.callbacks().len(), 3);
}

#[tokio::test]
async fn a_receiver_that_hangs_does_not_keep_the_callback_and_is_left_to_the_guardian() {
    let (hook, receiver) = (Receiver::answering([Never]).await, Receiver::start().await);
    let run = failing(&hook).env("CALLBACK_URL", receiver.url());
    let run = run.scaled(time_scale(0.1), ["unhurried_callback", "callback_attempt"]);
    run.finish().await.exits_with(78);
    assert_eq!(receiver.callbacks().len(), 1, "the callback is delivered once");
    assert!(receiver.callbacks()[0].at <= hook.callbacks()[0].at);
    assert_eq!(hook.accepted()["status"], "FAILED");
}

async fn the_guardian_tells_of_a_runner_that_is_killed(server: &AgentServer) {
    let work = Work::on(server).await;
    work.hold_at("2");
    let hook = Receiver::start().await;
    // In the file: the guardian is there before that is read.
    let task = format!("---\nllm: {LLM_COST}\nnotify: [{{url: '{}', on: failure}}]\n---\nDo the task.", hook.url());
    let running = work.run_without_arguments(server).args(["run"]).file("task.md", task).start();
    work.reach("2").await;
    running.signal(SIGKILL);
    running.finish().await.ended_by(SIGKILL);
    work.failed_with("RunnerDied");
    let told = hook.accepted();
    assert_eq!(told["error"]["code"], "RunnerDied", "{told}");
    assert!(hook.callbacks()[0].at >= work.receiver.callbacks()[0].at);
}

#[tokio::test]
async fn the_guardian_tells_of_a_run_without_a_callback_too() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    work.hold_at("2");
    let hook = Receiver::start().await;
    let task = format!("---\nllm: {LLM_COST}\nnotify: [{{url: '{}'}}]\n---\nDo the task.", hook.url());
    let run = Run::inside(server).llm(&work.llm).env("WORKSPACE_BASE", &work.working_dir);
    let running = run.args(["run"]).file("task.md", task).start();
    work.reach("2").await;
    running.signal(SIGKILL);
    running.finish().await.ended_by(SIGKILL);
    assert_eq!(hook.accepted()["error"]["code"], "RunnerDied");
}
