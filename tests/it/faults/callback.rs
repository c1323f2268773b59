//! The completion callback and its faults. The run itself fails at once, for want of an LLM; its outcome still arrives.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::json;

use crate::support::receiver::Answer::{Early, Never, Redirect, RetryAfter, Status};
use crate::support::tls_front::TlsFront;
use crate::support::{Receiver, Run, time_scale};

/// A run that has nothing to do but to report that it cannot start.
fn failing(callback_url: &str) -> Run {
    Run::new().task("Do the task.").env("RUN_ID", uuid::Uuid::new_v4().to_string()).env("CALLBACK_URL", callback_url)
}

async fn delivered(receiver: &Receiver) {
    failing(&receiver.url()).finish().await.exits_with(78).says("completion callback delivered");
}

#[tokio::test]
async fn is_retried_after_503() {
    let receiver = Receiver::answering([Status(503), Status(503), Status(503)]).await;
    delivered(&receiver).await;
    assert_eq!(receiver.accepted()["error"]["code"], "InvalidInput");
    assert_eq!(receiver.callbacks().len(), 4);
}

#[tokio::test]
async fn honours_retry_after() {
    let receiver = Receiver::answering([RetryAfter(2)]).await;
    let started = tokio::time::Instant::now();
    delivered(&receiver).await;
    assert!(started.elapsed() >= Duration::from_secs(2));
    assert_eq!(receiver.callbacks().len(), 2);
}

#[tokio::test]
async fn is_delivered_when_the_service_was_down_for_15_s() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let scale = time_scale(0.1);
    let run = failing(&format!("http://127.0.0.1:{port}/complete"));
    let running = run.scaled(scale, ["unhurried_callback", "callback_delays"]).start();
    tokio::time::sleep(Duration::from_secs(15).mul_f64(scale)).await;
    let receiver = Receiver::start_on(port).await;
    running.finish().await.exits_with(78);
    assert_eq!(receiver.accepted()["status"], "FAILED");
}

#[tokio::test]
async fn is_delivered_when_the_service_hangs_at_first() {
    let receiver = Receiver::answering([Never]).await;
    let run = failing(&receiver.url()).scaled(time_scale(0.1), ["callback_attempt"]);
    run.finish().await.exits_with(78).says("completion callback delivered");
    assert_eq!(receiver.callbacks().len(), 2);
}

#[tokio::test]
async fn is_done_with_409() {
    let receiver = Receiver::answering([Status(409)]).await;
    let finished = failing(&receiver.url()).finish().await.exits_with(78);
    finished.says("had settled the run already");
    assert_eq!(receiver.callbacks().len(), 1);
}

#[tokio::test]
async fn is_tried_again_when_it_comes_too_early() {
    let receiver = Receiver::answering([Early, Early]).await;
    delivered(&receiver).await;
    receiver.accepted();
}

#[tokio::test]
async fn falls_back_to_the_plainest_body_after_422() {
    let receiver = Receiver::answering([Status(422)]).await;
    delivered(&receiver).await;
    let body = receiver.accepted();
    let text = body["error"].as_str().unwrap();
    assert!(text.starts_with("InvalidInput: "), "{text}");
    assert_eq!(body, json!({"status": "FAILED", "run_id": body["run_id"], "error": text}));
}

#[tokio::test]
async fn is_delivered_once_the_services_certificate_is_right() {
    let receiver = Receiver::start().await;
    let front = TlsFront::of(receiver.port(), 2).await;
    let run = failing(&front.url("/complete")).file("ca.pem", &front.trusted_pem).env("SSL_CERT_FILE", "ca.pem");
    run.finish().await.exits_with(78).says("completion callback delivered");
    receiver.accepted();
    assert_eq!(front.handshakes_that_failed(), 2);
}

#[tokio::test]
async fn follows_no_redirect_with_our_key() {
    let elsewhere = Receiver::start().await;
    let receiver = Receiver::answering([Redirect(elsewhere.leaked_url())]).await;
    let run = failing(&receiver.url()).env("AUTOMATION_CALLBACK_API_KEY", "callback-key-of-the-test");
    run.finish().await.exits_with(78).says("completion callback not delivered");
    assert_eq!(receiver.callbacks().len(), 1);
    assert!(elsewhere.callbacks().is_empty(), "the key went elsewhere");
}

#[tokio::test]
async fn is_not_repeated_after_other_refusals_and_changes_no_exit_code() {
    for status in [400, 401, 404] {
        let receiver = Receiver::answering([Status(status)]).await;
        let finished = failing(&receiver.url()).finish().await.exits_with(78);
        finished.says("completion callback not delivered");
        assert_eq!(receiver.callbacks().len(), 1, "{status}");
    }
}
