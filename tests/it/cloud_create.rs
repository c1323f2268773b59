//! Requests for a sandbox that fail: what is tried again, what is left, and what is never touched. On wiremock.

use std::collections::BTreeSet;
use std::io::{Seek as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use openhands_client::time_limits::TimeLimits;
use serde_json::{Value, json};
use tokio::time::timeout;
use wiremock::matchers::{any, method, path};
use wiremock::{Mock, ResponseTemplate};

use crate::support::faulty_cloud::{Faulty, ID, made, running, sandbox};
use crate::support::{AgentServer, NEWEST, Run, time_scale};

/// The times within which new sandboxes come into sight, multiplied.
fn scaled(factor: f64) -> TimeLimits {
    let mut limits = TimeLimits::default();
    for limit in [&mut limits.sandbox_listed, &mut limits.confirm_again, &mut limits.sandbox_shows_up] {
        *limit = limit.mul_f64(factor);
    }
    limits
}

#[tokio::test]
async fn a_place_in_an_account_that_is_full_is_waited_for_and_not_for_ever() {
    let body = json!({"detail": {"error": "CONCURRENCY_LIMIT_REACHED", "message": "3 of 3 sandboxes"}});
    let full = ResponseTemplate::new(429).set_body_json(body);
    let mut limits = TimeLimits::default();
    limits.capacity_delays.first = Duration::from_millis(100);
    limits.sandbox_capacity = Duration::from_millis(700);
    let cloud = Faulty::start(full.clone(), [Value::Null]).await;
    let error = cloud.builder().time_limits(limits).open().await.unwrap_err();
    assert!(error.to_string().contains("its limit of sandboxes"), "{error}");
    assert!(cloud.created().await > 1);

    let server = AgentServer::shared(NEWEST).await;
    let cloud = Faulty::start(made(), [running(server)]).await;
    // In a second, as a date: RFC 9110 has no smaller unit.
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
    let soon = soon.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let create = Mock::given(method("POST")).and(path("/api/v1/sandboxes"));
    let create = create.respond_with(full.insert_header("retry-after", &*soon));
    create.up_to_n_times(2).with_priority(1).mount(&cloud.server).await;
    let started = Instant::now();
    cloud.builder().open().await.unwrap().close().await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1), "Retry-After was not obeyed");
    assert_eq!(cloud.deleted(), [ID]);
}

#[tokio::test]
async fn a_rate_limit_is_waited_for() {
    let server = AgentServer::shared(NEWEST).await;
    let cloud = Faulty::start(made(), [running(server)]).await;
    let limited = ResponseTemplate::new(429)
        .insert_header("retry-after", "1")
        .set_body_json(json!({"message": "Too many requests"}));
    Mock::given(any()).respond_with(limited).up_to_n_times(3).with_priority(1).mount(&cloud.server).await;
    let started = Instant::now();
    cloud.builder().open().await.unwrap().close().await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1), "Retry-After was not obeyed");
    assert_eq!(cloud.deleted(), [ID]);
}

/// 429 for the request that makes the sandbox, as often as told.
async fn limit_rate(cloud: &Faulty, retry_after: &str, times: u64) {
    let limited = ResponseTemplate::new(429).insert_header("retry-after", retry_after);
    let create = Mock::given(method("POST")).and(path("/api/v1/sandboxes")).respond_with(limited);
    create.up_to_n_times(times).with_priority(1).mount(&cloud.server).await;
}

#[tokio::test]
async fn a_rate_limit_of_the_request_itself_is_waited_for_and_not_for_ever() {
    let server = AgentServer::shared(NEWEST).await;
    let cloud = Faulty::start(made(), [running(server)]).await;
    limit_rate(&cloud, "1", 2).await;
    let started = Instant::now();
    cloud.builder().open().await.unwrap().close().await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(2), "Retry-After was not obeyed");
    assert_eq!((cloud.deleted(), cloud.created().await), (vec![ID.to_owned()], 3));

    let cloud = Faulty::start(made(), [running(server)]).await;
    limit_rate(&cloud, "86400", 9).await;
    let running = cloud.outside().args(["exec", "--", "true"]).start();
    running.says("creating the sandbox failed, retrying in 60.0s").await;
    running.signal(Signal::SIGINT);
    // Nothing is under way, and the next attempt is a minute away.
    timeout(Duration::from_secs(50), running.finish()).await.expect("it waits").exits_with(130);
    assert_eq!(cloud.created().await, 1);
}

#[tokio::test]
async fn a_signal_ends_the_wait_for_an_account_that_cannot_be_reached() {
    for words in [&["run", "--workspace", "cloud", "task.md"][..], &["exec", "--", "true"], &["launch", "task.md"]] {
        let run = Run::new().env("OPENHANDS_API_KEY", "key").env("OPENHANDS_CLOUD_API_URL", "http://127.0.0.1:1");
        let run = run.file("task.md", "Do nothing.").command(|command| {
            command.args(words);
        });
        let run = run.start();
        run.says("listing the sandboxes failed, retrying").await;
        run.signal(Signal::SIGINT);
        timeout(Duration::from_secs(60), run.finish()).await.expect("it waits").exits_with(130);
    }
}

#[tokio::test]
async fn another_jobs_sandbox_that_is_listed_before_ours_is_not_deleted() {
    let scale = time_scale(0.3);
    let cloud = Faulty::start(made().set_delay(Duration::from_secs(3600)), [Value::Null]).await;
    let opening =
        tokio::spawn(cloud.builder().time_limits(scaled(scale)).init_timeout(Duration::from_millis(500)).open());
    cloud.asked().await;
    *cloud.state.listed.lock().unwrap() = vec![sandbox("another job's", "STARTING")];
    cloud.listed_again().await;
    cloud.state.listed.lock().unwrap().insert(0, sandbox("ours", "STARTING"));
    let error = opening.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("ours and another job's"), "{error}");
    assert!(cloud.deleted().is_empty());
}

#[tokio::test]
async fn a_sandbox_that_nobody_waits_for_is_deleted_also_by_a_program_that_ends() {
    let cloud = Arc::new(Faulty::start(made().set_delay(Duration::from_secs(1)), [Value::Null]).await);
    // So that its deletion is being waited for when the program ends.
    *cloud.state.deletions.lock().unwrap() = vec![ResponseTemplate::new(503).insert_header("retry-after", "30")];
    let theirs = Arc::clone(&cloud);
    let program = std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let opening = tokio::spawn(theirs.builder().open());
            theirs.asked().await;
            opening.abort();
            while !theirs.state.deletions.lock().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        });
    });
    let ended = timeout(Duration::from_secs(120), tokio::task::spawn_blocking(|| program.join()));
    ended.await.expect("it does not end").unwrap().unwrap();
    assert_eq!(cloud.deleted(), [ID]);
}

#[tokio::test]
async fn a_forgotten_sandbox_is_not_deleted_when_it_has_been_made() {
    let cloud = Faulty::start(made().set_delay(Duration::from_millis(500)), [Value::Null]).await;
    let sandbox = cloud.builder().sandbox().unwrap();
    cloud.asked().await;
    sandbox.forget();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(cloud.deleted().is_empty());
}

#[tokio::test]
async fn a_create_that_is_cut_off_is_looked_for_deleted_and_not_repeated() {
    let scale = time_scale(0.3);
    let cut_off = made().set_delay(Duration::from_secs(3600));
    let cloud = Faulty::start(cut_off, [Value::Null]).await;
    *cloud.state.listed.lock().unwrap() = vec![sandbox("from before", "RUNNING")];
    let opening = tokio::spawn(cloud.builder().time_limits(scaled(scale)).init_timeout(Duration::from_secs(2)).open());
    cloud.asked().await;
    cloud.state.listed.lock().unwrap().insert(0, sandbox("ours", "STARTING"));
    let error = opening.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("creating the sandbox failed"), "{error}");
    assert_eq!((cloud.deleted(), cloud.created().await), (vec!["ours".to_owned()], 1));
}

#[tokio::test]
async fn of_several_new_sandboxes_none_is_taken_for_ours() {
    let scale = time_scale(0.3);
    let cloud = Faulty::start(made().set_delay(Duration::from_secs(3600)), [Value::Null]).await;
    let opening = tokio::spawn(cloud.builder().time_limits(scaled(scale)).init_timeout(Duration::from_secs(2)).open());
    cloud.asked().await;
    *cloud.state.listed.lock().unwrap() = vec![sandbox("one", "STARTING"), sandbox("two", "STARTING")];
    let error = opening.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("one and two"), "{error}");
    assert!(cloud.deleted().is_empty());
}

#[tokio::test]
async fn older_sandboxes_that_come_into_sight_are_not_taken_for_ours() {
    let scale = time_scale(0.3);
    let cloud = Faulty::start(made().set_delay(Duration::from_secs(3600)), [Value::Null]).await;
    let at = |id: &str, time: &str| {
        let mut sandbox = sandbox(id, "RUNNING");
        sandbox["created_at"] = json!(time);
        sandbox
    };
    *cloud.state.listed.lock().unwrap() = vec![at("newest", "2026-11-23T03:00:00Z")];
    let opening = tokio::spawn(cloud.builder().time_limits(scaled(scale)).init_timeout(Duration::from_secs(2)).open());
    cloud.asked().await;
    // The newest of a hundred is deleted meanwhile, so that an older one is listed; ours comes last.
    *cloud.state.listed.lock().unwrap() = vec![at("older", "2026-11-23T02:59:59.9Z")];
    tokio::time::sleep(Duration::from_secs(4).mul_f64(scale)).await;
    assert!(cloud.deleted().is_empty());
    cloud.state.listed.lock().unwrap().insert(0, at("ours", "2026-11-23T03:00:00.5Z"));
    opening.await.unwrap().unwrap_err();
    assert_eq!(cloud.deleted(), ["ours"]);
}

#[tokio::test]
async fn after_an_answer_or_a_failed_clean_up_what_may_be_left_is_named_with_the_reason() {
    let scale = time_scale(0.3);
    let delay = Duration::from_secs(1);
    let error = ResponseTemplate::new(500).set_body_string("Internal Server Error").set_delay(delay);
    let odd = ResponseTemplate::new(200).set_body_string("<html>").set_delay(delay);
    // After an error it is as likely another job's; after an answer that no one understands it is ours.
    for (create, deletion, words, deleted) in [
        (error, 200, "may have created a sandbox: one of made meanwhile;", &[][..]),
        (odd.clone(), 401, "may have created a sandbox: one of made meanwhile;", &[]),
        (odd, 200, "the response is an HTML page, not JSON", &["made meanwhile"]),
    ] {
        let cloud = Faulty::start(create, [Value::Null]).await;
        if deletion != 200 {
            *cloud.state.deletions.lock().unwrap() = vec![ResponseTemplate::new(deletion)];
        }
        let opening = tokio::spawn(cloud.builder().time_limits(scaled(scale)).open());
        cloud.asked().await;
        *cloud.state.listed.lock().unwrap() = vec![sandbox("made meanwhile", "STARTING")];
        let error = openhands_client::text::chain(&opening.await.unwrap().unwrap_err());
        assert!(error.contains(words) && error.contains("creating the sandbox failed: POST"), "{error}");
        assert_eq!(cloud.deleted(), deleted);
    }
}

#[tokio::test]
async fn a_run_that_a_signal_ends_keeps_no_sandbox_that_nobody_was_told_of() {
    let server = AgentServer::shared(NEWEST).await;
    let cloud = Faulty::start(made().set_delay(Duration::from_secs(2)), [running(server)]).await;
    for words in
        [&["run", "--workspace", "cloud", "--keep-alive", "task.md"][..], &["exec", "--keep-alive", "--", "true"]]
    {
        let before = cloud.created().await;
        let run = cloud.outside().file("task.md", "Do nothing.").command(|command| {
            command.args(words);
        });
        let run = run.start();
        while cloud.created().await == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        run.signal(Signal::SIGINT);
        run.finish()
            .await
            .exits_with(130)
            .says("waiting for the sandbox that is being created")
            .says("sandbox deleted");
        assert_eq!(std::mem::take(&mut *cloud.state.deleted.lock().unwrap()), BTreeSet::from([ID.to_owned()]));
    }
}

#[tokio::test]
async fn plain_text_and_json_failures_to_create_are_told_as_they_are() {
    for (answer, words) in [
        (ResponseTemplate::new(500).set_body_string("Internal Server Error"), "500 Internal Server Error"),
        (
            ResponseTemplate::new(500).set_body_json(json!({"detail": "Agent Server Failed to start properly"})),
            "Agent Server Failed",
        ),
        (
            ResponseTemplate::new(422).set_body_json(json!({"detail": [{"loc": ["query", "x"], "msg": "bad"}]})),
            "query.x: bad",
        ),
        (ResponseTemplate::new(401).set_body_json(json!({"message": "no such key"})), "401 no such key"),
    ] {
        let cloud = Faulty::start(answer, [Value::Null]).await;
        let error = cloud.builder().open().await.unwrap_err();
        let text = openhands_client::text::chain(&error);
        assert!(text.contains(words), "{text}");
        assert_eq!(cloud.created().await, 1);
    }
}

#[tokio::test]
async fn odd_descriptions_of_other_sandboxes_are_no_obstacle() {
    let cloud = Faulty::start(made(), [Value::Null]).await;
    let (mut without_status, mut odd_url) = (sandbox("first", "RUNNING"), sandbox("second", "RUNNING"));
    without_status["status"] = Value::Null;
    odd_url["exposed_urls"] =
        json!([{"name": "VSCODE", "url": null}, {"name": "AGENT_SERVER", "url": "not an address"}]);
    *cloud.state.listed.lock().unwrap() = vec![without_status, odd_url];
    let listed = cloud.outside().args(["sandbox", "list"]).finish().await.exits_with(0).stdout;
    assert!(listed.contains("first\twithout a status\t") && listed.contains("second\tRUNNING\t"), "{listed}");
}

#[tokio::test]
async fn all_of_several_sandboxes_are_deleted_but_for_those_that_cannot_be() {
    let cloud = Faulty::start(made(), [Value::Null]).await;
    *cloud.state.deletions.lock().unwrap() = vec![ResponseTemplate::new(401)];
    let delete = cloud.outside().args(["sandbox", "delete", "one", "two", "three"]).finish().await;
    delete.exits_with(69).says("not deleted sandbox=one");
    assert_eq!(cloud.deleted(), ["three", "two"]);
}

#[tokio::test]
async fn a_task_on_standard_input_that_is_no_task_is_refused_before_a_sandbox_is_made() {
    let cloud = Faulty::start(made(), [Value::Null]).await;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![b'x'; 2 << 20]).unwrap();
    file.rewind().unwrap();
    let launch = cloud.outside().args(["launch", "-"]).command(|command| {
        command.stdin(file);
    });
    launch.finish().await.exits_with(78).says("standard input: more than 1 MiB");
    assert_eq!(cloud.created().await, 0);
}
