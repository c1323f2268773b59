//! The completion callback and its faults. The run itself fails at once, for want of an LLM; its outcome still arrives.

use std::net::TcpListener;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::receiver::Answer::{Early, Moved, Never, Page, Redirect, RetryAfter, Status};
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
    finished.says("has already settled the run");
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
    let finished = run.finish().await.exits_with(78).says("completion callback not delivered");
    finished.says(&format!("a redirect to {}, which does not get the key", elsewhere.url()));
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

#[tokio::test]
async fn is_retried_until_the_service_itself_answers() {
    let answers = [301, 302, 401, 403, 404, 413, 421, 423, 425, 502].map(Page);
    let moved = [Moved(301, "https://login.example.test/"), Moved(302, "/login")];
    join_all(answers.into_iter().chain(moved).map(async |answer| {
        let receiver = Receiver::answering([answer; 2]).await;
        delivered(&receiver).await;
        assert_eq!(receiver.accepted()["error"]["code"], "InvalidInput", "{answer:?}");
    }))
    .await;
}

#[tokio::test]
async fn is_not_delivered_by_a_page_for_people() {
    let receiver = Receiver::answering([Page(200), Page(409)]).await;
    let finished = failing(&receiver.url()).finish().await.exits_with(78);
    finished.says("200 with an HTML page").says("completion callback delivered");
    receiver.accepted();
    assert_eq!(receiver.callbacks().len(), 3);
}

#[tokio::test]
async fn falls_back_to_the_plainest_body_after_413() {
    let receiver = Receiver::answering([Page(413)]).await;
    delivered(&receiver).await;
    assert!(receiver.accepted()["error"].is_string());
}

#[tokio::test]
async fn follows_redirects_on_the_same_host_with_the_key() {
    let receiver = Receiver::answering([Moved(308, "/complete?moved"), Redirect("/complete?again")]).await;
    let run = failing(&receiver.url()).env("AUTOMATION_CALLBACK_API_KEY", "callback-key-of-the-test");
    run.finish().await.exits_with(78).says("completion callback delivered");
    receiver.accepted();
    assert_eq!(receiver.callbacks().len(), 3);
    for callback in receiver.callbacks() {
        assert_eq!(callback.authorization.as_deref(), Some("Bearer callback-key-of-the-test"));
    }
}

#[tokio::test]
async fn follows_a_redirect_from_http_to_https() {
    let behind_tls = Receiver::start().await;
    let front = TlsFront::of(behind_tls.port(), 0).await;
    let receiver = Receiver::answering([Moved(308, front.url("/complete").leak())]).await;
    let run = failing(&format!("http://localhost:{}/complete", receiver.port()));
    let run = run.file("ca.pem", &front.trusted_pem).env("SSL_CERT_FILE", "ca.pem");
    run.finish().await.exits_with(78).says("completion callback delivered");
    behind_tls.accepted();
    assert_eq!(receiver.callbacks().len(), 1);
}

#[tokio::test]
async fn does_not_follow_a_circle_of_redirects_for_ever() {
    let receiver = Receiver::answering([Redirect("/complete"); 100]).await;
    failing(&receiver.url()).finish().await.exits_with(78).says("completion callback not delivered");
    assert!(receiver.callbacks().len() < 20, "{}", receiver.callbacks().len());
}

/// A server that gives each connection the next of these heads, and then so many bytes of a body.
struct RawServer {
    url: String,
    serving: tokio::task::JoinHandle<usize>,
}

impl RawServer {
    async fn answering<const N: usize>(responses: [(&'static str, usize, AfterBody); N]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/complete", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let mut kept = Vec::new();
            let mut served = 0;
            for (head, length, after) in responses {
                let Ok((mut stream, _)) = listener.accept().await else { break };
                served += 1;
                let mut request = vec![0; 64 * 1024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes()).await;
                // The client may have heard enough before the end.
                let _ = stream.write_all(&vec![b'x'; length]).await;
                if after == AfterBody::Stay {
                    kept.push(stream);
                }
            }
            served
        });
        Self { url, serving }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum AfterBody {
    Close,
    Stay,
}

#[tokio::test]
async fn is_delivered_as_soon_as_the_head_of_a_2xx_has_arrived() {
    for after in [AfterBody::Close, AfterBody::Stay] {
        let server =
            RawServer::answering([("200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000", 10, after)])
                .await;
        let started = tokio::time::Instant::now();
        failing(&server.url).finish().await.exits_with(78).says("completion callback delivered");
        assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
        assert_eq!(server.serving.await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_failure_is_judged_by_its_status_before_its_size() {
    let huge = 80 << 20;
    let server = RawServer::answering([
        ("503 Service Unavailable\r\ncontent-length: 83886080", huge, AfterBody::Close),
        ("200 OK\r\ncontent-length: 0", 0, AfterBody::Close),
    ])
    .await;
    failing(&server.url).finish().await.exits_with(78).says("503").says("completion callback delivered");
    assert_eq!(server.serving.await.unwrap(), 2);
}
