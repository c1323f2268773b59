//! Where keys go, and who can read them.

use std::io::Write as _;

use nix::sys::ptrace;

use crate::support::agent_server::STARTING;
use crate::support::{AgentServer, NEWEST, Receiver, Run, ScriptedLlm, Step};

/// 0.0.0.0 is no address of this machine by name, and leads to it.
#[tokio::test]
async fn a_key_over_plain_http_to_another_machine_is_a_warning_that_names_the_variable() {
    let receiver = Receiver::start().await;
    let elsewhere = receiver.url().replace("127.0.0.1", "0.0.0.0");
    for (variable, key) in [
        ("AUTOMATION_CALLBACK_URL", "AUTOMATION_CALLBACK_API_KEY"),
        ("AUTOMATION_CALLBACK_URL", "OPENHANDS_API_KEY"),
        ("AUTOMATION_PHASE_URL", "AUTOMATION_CALLBACK_API_KEY"),
        ("LLM_BASE_URL", "LLM_API_KEY"),
        ("OPENHANDS_CLOUD_API_URL", "OPENHANDS_API_KEY"),
        ("AGENT_SERVER_URL", "SESSION_API_KEY"),
    ] {
        let warns = async |url: &str| {
            let run = Run::new().env(variable, url).env(key, "sk-0123456789abcdef").args(["run", "no-such-file.md"]);
            let finished = run.finish().await.exits_with(78);
            let names_it = finished.stderr.contains(variable) || finished.stderr.contains(key);
            finished.stderr.contains("over plain http to another machine") && names_it
        };
        assert!(warns(&elsewhere).await, "{variable}");
        assert!(!warns(&receiver.url()).await, "{variable}");
    }
}

#[tokio::test]
async fn a_server_that_the_runner_starts_and_its_agents_shell_get_no_user_part_of_an_address() {
    let server = AgentServer::not_started(NEWEST);
    let working_dir = server.working_dir();
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Look around", [Step::terminal("env >seen.txt"), Step::finish("Done.")]);
    let mut run = Run::inside(&server).llm(&llm).env("WORKSPACE_BASE", &working_dir);
    for (name, value) in server.environment() {
        run = run.env(&name, value);
    }
    let base_url = llm.url().replace("http://", "http://me:pw-of-the-llm@");
    let run = run
        // The task says where the LLM is: its own client cannot use an address with a user part.
        .env("LLM_BASE_URL", base_url)
        // No one uses these: all the servers speak http.
        .env("HTTPS_PROXY", "http://me:pw-of-the-proxy@127.0.0.1:9")
        .env("FTP_PROXY", "me:pw-of-the-proxy@127.0.0.1:9")
        .env("NO_PROXY", "127.0.0.1,localhost")
        .env("GITHUB_OUTPUT", "/dev/null")
        .env("GITHUB_ENV", "/dev/null")
        .file("task.md", format!("---\nllm: {{ base_url: '{}' }}\n---\nLook around.", llm.url()))
        .args(["run", "--server-command", &server.command(), "--server-log", "server.log", "task.md"]);
    let turn = STARTING.lock().await;
    let running = run.start();
    running.says(" is ready").await;
    drop(turn);
    let finished = running.finish().await.exits_with(0);
    let seen = std::fs::read_to_string(working_dir.join("seen.txt")).unwrap();
    assert!(seen.contains("HTTPS_PROXY=http://127.0.0.1:9\n"), "{seen}");
    assert!(!seen.contains("pw-of-the") && !seen.contains("GITHUB_"), "{seen}");
    finished.never_shows("pw-of-the").says("variable=LLM_BASE_URL");
}

#[tokio::test]
async fn a_shell_that_stays_behind_the_entrypoint_is_a_warning_and_a_line_of_check() {
    for (script, stays) in [("\"$@\"; true", true), ("exec \"$@\"", false)] {
        let under_shell = async |arguments: [&str; 2]| {
            let run = Run::new().args(arguments).under(["sh", "-c", script, "sh"]);
            run.finish().await
        };
        let run = under_shell(["run", "no-such-file.md"]).await;
        assert_eq!(run.stderr.contains("exec ./openhands-runner"), stays, "{}", run.stderr);
        let check = under_shell(["check", "--format=text"]).await;
        assert_eq!(check.stdout.contains("exec ./openhands-runner"), stays, "{}", check.stdout);
    }
}

#[tokio::test]
async fn a_tracer_that_was_there_first_is_a_warning_and_with_a_flag_the_end_of_the_run() {
    let llm = ScriptedLlm::start(0).await.unwrap();
    for (flag, exit_code) in [("--ready-timeout=101ms", 69), ("--refuse-tracer", 78)] {
        let run = Run::new().llm(&llm).args(["run", "--prompt", "x", "--agent-server-url", "http://127.0.0.1:9", flag]);
        let (reader, mut writer) = std::io::pipe().unwrap();
        let running = run.under(["sh", "-c", "read line; exec \"$@\"", "sh"]).command(|command| {
            command.stdin(reader);
        });
        let running = running.start();
        ptrace::seize(running.pid(), ptrace::Options::empty()).unwrap();
        writer.write_all(b"\n").unwrap();
        let finished = running.finish().await.exits_with(exit_code).says("a tracer was attached to this process");
        assert_eq!(finished.stderr.contains("can read its keys (--refuse-tracer)"), exit_code == 78);
    }
}
