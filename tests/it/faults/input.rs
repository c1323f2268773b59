//! Bad input: one clear error, the right exit code, and an outcome that arrives anyway.

use std::os::unix::ffi::OsStrExt as _;

use crate::support::{Receiver, Run};

async fn refused(run: Run, code: i32, words: &str) {
    let receiver = Receiver::start().await;
    let run_id = uuid::Uuid::new_v4().to_string();
    run.reports_to(&receiver, &run_id).finish().await.exits_with(code).says(words);
    let report = receiver.accepted();
    assert_eq!(report["status"], "FAILED");
    assert_eq!(report["run_id"], run_id);
    assert!(report.get("conversation_id").is_none() && report.get("cost").is_none());
}

#[tokio::test]
async fn no_task_is_named_or_found() {
    refused(Run::new(), 78, "none of task.md, task.yaml, task.json, prompt.txt").await;
}

#[tokio::test]
async fn the_task_is_missing() {
    refused(Run::new().args(["run", "no.md"]), 78, "no.md: cannot be read").await;
}

#[tokio::test]
async fn the_task_is_no_text_of_a_sensible_size() {
    refused(Run::new().file("task.md", ""), 78, "task.md: no text").await;
    refused(Run::new().file("task.md", b"Do \xff this."), 78, "task.md: not UTF-8").await;
    refused(Run::new().args(["run", "/"]), 78, "/: a directory; name a task file in it").await;
    refused(Run::new().args(["run", "/dev/zero"]), 78, "/dev/zero: more than 1 MiB").await;
    let huge = vec![b'x'; 100 << 20];
    refused(Run::new().file("task.md", huge), 78, "task.md: more than 1 MiB").await;
}

#[tokio::test]
async fn an_account_is_known_by_half() {
    let run = || Run::new().task("x").env("OPENHANDS_API_KEY", "cloud-api-key-of-the-test");
    refused(run().env("SESSION_API_KEY", "session-key-of-the-test"), 78, "SANDBOX_ID").await;
    refused(run().env("SANDBOX_ID", "sandbox-1"), 78, "SESSION_API_KEY").await;
}

#[tokio::test]
async fn a_command_line_cannot_be_understood() {
    refused(Run::new().args(["run", "--nope"]), 2, "unexpected argument").await;
    refused(Run::new().args(["--nope"]), 2, "unexpected argument").await;
    refused(Run::new().args(["the-task.md"]), 2, "unrecognized subcommand").await;
    // The run whose variables these are is another one's, and may be at work.
    for words in [["sandbox", "delte"], ["sandbx", "list"], ["launch", "--nope"]] {
        let receiver = Receiver::start().await;
        let run = Run::new().reports_to(&receiver, "the run around it").args(words);
        run.finish().await.exits_with(2).says("Usage:");
        assert!(receiver.callbacks().is_empty(), "{words:?}");
    }
}

#[tokio::test]
async fn the_task_has_an_unknown_field() {
    let run = Run::new().task("---\nlimits:\n  tmieout: 3m\n---\nx");
    refused(run, 78, "the-task.md:3:3: unknown field `limits.tmieout`; did you mean `timeout`?").await;
}

#[tokio::test]
async fn every_problem_is_told_at_once() {
    let receiver = Receiver::start().await;
    Run::new()
        .args(["run", "no.md"])
        .env("AGENT_SERVER_PORT", "x")
        .env("AUTOMATION_CONVERSATION_ID", "y")
        .reports_to(&receiver, "run-with-three-problems")
        .finish()
        .await
        .exits_with(78)
        .says("3 problems:")
        .says("AGENT_SERVER_PORT: invalid value `x`; give a port from 1 to 65535")
        .says("AUTOMATION_CONVERSATION_ID: invalid value `y`; give a UUID")
        .says("no.md: cannot be read");
    let detail = receiver.accepted()["error"]["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("AGENT_SERVER_PORT") && detail.contains("no.md"), "{detail}");
}

#[tokio::test]
async fn a_key_has_a_line_break_inside() {
    let started = std::time::Instant::now();
    for name in ["AUTOMATION_CALLBACK_API_KEY", "SESSION_API_KEY", "OPENHANDS_API_KEY", "LLM_API_KEY"] {
        let run = Run::new().task("---\nllm: {model: m}\n---\nx").env(name, "key-of\nthe-test-1");
        refused(run, 78, &format!("{name}: a key with a line break")).await;
    }
    assert!(started.elapsed() < std::time::Duration::from_secs(60), "{:?}", started.elapsed());
}

#[tokio::test]
async fn there_is_no_llm() {
    refused(
        Run::new().task("x"),
        78,
        "set LLM_MODEL and LLM_API_KEY, or OPENHANDS_API_KEY, SANDBOX_ID and SESSION_API_KEY",
    )
    .await;
}

#[tokio::test]
async fn the_command_line_is_wrong() {
    refused(Run::new().args(["run", "--tiemout", "3m"]), 2, "--timeout").await;
}

#[tokio::test]
async fn a_variable_that_is_not_utf8_matters_only_where_we_read_it() {
    let not_text = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    refused(Run::new().task("x").env("SOME_OTHER", not_text), 78, "set LLM_MODEL").await;
    refused(Run::new().task("x").env("SANDBOX_ID", not_text), 78, "SANDBOX_ID: a value that is not UTF-8").await;
}

#[tokio::test]
async fn the_agent_server_is_not_there() {
    let run = Run::new()
        .args(["run", "--ready-timeout", "2s", "--agent-server-url", "http://127.0.0.1:9", "task.md"])
        .file("task.md", "---\nllm: {model: m}\n---\nx");
    refused(run, 69, "the agent-server at http://127.0.0.1:9 was not ready within 2 s").await;
}

#[tokio::test]
async fn no_error_shows_a_value_that_may_be_a_key() {
    for (run, code) in [
        (Run::new().task("---\nllm: sk-ant-api03-PASTED\n---\nx"), 78),
        (Run::new().task("---\nsecrets: sk-ant-api03-PASTED\n---\nx"), 78),
        (Run::new().task("---\nsk-ant-api03-PASTED: 1\n---\nx"), 78),
        (Run::new().args(["run", "--timeout", "sk-ant-api03-PASTED"]), 2),
        (Run::new().args(["run", "--timeout=sk-ant-api03-PASTED"]), 2),
        (Run::new().task("x").env("AGENT_SERVER_PORT", "sk-ant-api03-PASTED"), 78),
    ] {
        let receiver = Receiver::start().await;
        let finished = run.reports_to(&receiver, &uuid::Uuid::new_v4().to_string()).finish().await.exits_with(code);
        assert!(!finished.stderr.contains("PASTED"), "{}", finished.stderr);
        assert!(!receiver.accepted().to_string().contains("PASTED"));
    }
}

#[tokio::test]
async fn a_key_at_the_place_of_something_else_is_in_no_output() {
    const LIKE_KEYS: [&str; 2] = ["sk-ant-api03-0PASTED1", "aPASTED2bC3dE4fG5hJ6kL7mN8pQ"];
    for key in LIKE_KEYS {
        for command in [
            &["report", key][..],
            &["show", key],
            &["report", key, "--output", key],
            &["run", key],
            &["check", key],
            &["run", "-p", "x", "--out", key],
            &["run", "-p", "x", "--result", key],
            &["batch", "report", key],
            &["batch", key, "--out", "out", "--rows", key],
            &["launch", key],
            &["cp", key, "x"],
            &["exec", "--sandbox", key, "--", "true"],
            &["sandbox", "delete", key],
            &["automation", "show", key],
            &["schema", key],
            &[key],
        ] {
            let run = command.iter().fold(Run::new(), |run, word| run.args([*word]));
            let finished = run.finish().await;
            let shown = format!("{}{}", finished.stdout, finished.stderr);
            assert!(!shown.contains("PASTED"), "{command:?}: {shown}");
        }
        for name in [
            "SSL_CERT_FILE",
            "HTTPS_PROXY",
            "WORKSPACE_BASE",
            "AUTOMATION_MODEL",
            "LLM_MODEL",
            "RUST_LOG",
            "LLM_BASE_URL",
        ] {
            for words in [&["check"][..], &["run", "-p", "x"]] {
                let run = words.iter().fold(Run::new().env(name, key), |run, word| run.args([*word]));
                let finished = run.finish().await;
                let shown = format!("{}{}", finished.stdout, finished.stderr);
                assert!(!shown.contains("PASTED"), "{name}: {shown}");
            }
        }
    }
}

#[tokio::test]
async fn a_key_with_a_quote_is_not_in_a_log_in_json() {
    let run = Run::new().env("OPENHANDS_API_KEY", "sec\"ret-123456").args([
        "launch",
        "--log-format",
        "json",
        "sec\"ret-123456",
    ]);
    let finished = run.finish().await.exits_with(78);
    assert!(!finished.stderr.contains("ret-123456"), "{}", finished.stderr);
}

#[tokio::test]
async fn quotes_around_a_variable_are_removed_and_named() {
    let receiver = Receiver::start().await;
    let run = Run::new().task("x").env("AUTOMATION_RUN_ID", "'quoted-run'");
    let url = format!("\u{feff}\"{}\"", receiver.url());
    let run = run.env("AUTOMATION_CALLBACK_URL", url);
    run.finish().await.exits_with(78).says("AUTOMATION_RUN_ID").says("removed the quotes");
    assert_eq!(receiver.accepted()["run_id"], "quoted-run");
}

#[tokio::test]
async fn a_callback_address_that_cannot_be_used_ends_the_run_before_it_starts() {
    let run = Run::new().task("x").env("LLM_MODEL", "m").env("LLM_API_KEY", "key-of-the-test");
    run.env("AUTOMATION_CALLBACK_URL", "service/complete")
        .finish()
        .await
        .exits_with(78)
        .says("AUTOMATION_CALLBACK_URL: ");
}

#[tokio::test]
async fn a_key_with_a_line_break_ends_the_run_at_once() {
    let run = Run::new().task("x").env("SESSION_API_KEY", "first\nsecond");
    refused(run, 78, "SESSION_API_KEY: a key with a line break").await;
}

#[tokio::test]
async fn a_list_of_sandboxes_without_a_key_is_invalid_input() {
    Run::new().args(["sandbox", "list"]).finish().await.exits_with(78).says("OPENHANDS_API_KEY");
}

#[tokio::test]
async fn a_prompt_in_the_place_of_a_task_file_is_recognised() {
    refused(Run::new().args(["run", "fix the tests"]), 78, "it looks like a prompt; give a prompt with `-p`").await;
    // The prompt itself is read: only the LLM is missing.
    refused(Run::new().args(["run", "-p", "fix the tests"]), 78, "LLM: none is given").await;
}

#[tokio::test]
async fn our_errors_are_shown_whatever_rust_log_says() {
    for filter in ["myapp=debug", "\"debug\"", "verbose", "off"] {
        refused(Run::new().task("").env("RUST_LOG", filter), 78, "no text").await;
    }
}

#[tokio::test]
async fn an_error_names_the_proxy_and_its_variable() {
    let task = "---\nllm: {model: m}\n---\nx";
    let run =
        Run::new().args(["run", "--ready-timeout", "2s", "--agent-server-url", "http://elsewhere.test", "task.md"]);
    let run =
        run.file("task.md", task).env("http_proxy", "http://me:hunter22@127.0.0.1:9").env("NO_PROXY", "127.0.0.1");
    refused(run, 69, "through the proxy http://127.0.0.1:9 of HTTP_PROXY").await;
    refused(Run::new().task(task).env("HTTP_PROXY", "ftp://p"), 78, "HTTP_PROXY: a proxy that speaks `ftp`").await;
}
