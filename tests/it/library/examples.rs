//! The examples, run as a user runs them, against the real app server and its real agent-servers.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use openhands_client::CloudWorkspace;
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::support::cloud_server::API_KEY;
use crate::support::{CloudServer, Receiver, ScriptedLlm, Step, asked, repository};

/// No example takes longer.
const LONGEST: Duration = Duration::from_secs(180);

/// The folder of the built examples: `EXAMPLES` in the environment, else they are built now.
async fn built() -> &'static PathBuf {
    static FOLDER: OnceCell<PathBuf> = OnceCell::const_new();
    let build = async || match asked::variable("EXAMPLES") {
        Some(folder) => folder.into(),
        None => {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["build", "--locked", "--quiet", "--workspace", "--examples"]).current_dir(repository::file(""));
            assert!(cargo.status().await.unwrap().success());
            // This test is in `debug/deps`.
            let test = std::env::current_exe().unwrap();
            test.ancestors().nth(2).unwrap().join("examples")
        }
    };
    FOLDER.get_or_init(build).await
}

/// An example, to be run with this account.
async fn example(name: &str, cloud: &CloudServer) -> Command {
    let mut command = Command::new(built().await.join(name));
    command.env_clear().kill_on_drop(true).stdin(Stdio::null());
    command.env("OPENHANDS_CLOUD_API_KEY", API_KEY).env("OPENHANDS_CLOUD_API_URL", cloud.url());
    command
}

async fn run(command: &mut Command) -> Output {
    timeout(LONGEST, command.output()).await.expect("the example hangs").unwrap()
}

/// The lines of an example that succeeded.
async fn lines(command: &mut Command) -> Vec<String> {
    let output = run(command).await;
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "stdout:\n{stdout}\nstderr:\n{stderr}");
    stdout.lines().map(str::to_owned).collect()
}

/// What stands between these in one of the lines.
#[track_caller]
fn between<'l>(lines: &'l [String], before: &str, after: &str) -> &'l str {
    let found = lines.iter().find_map(|line| line.strip_prefix(before)?.strip_suffix(after));
    found.unwrap_or_else(|| panic!("no \"{before}…{after}\" in {lines:#?}"))
}

#[tokio::test]
async fn cloud_workspace_prints_what_the_guides_first_example_prints() {
    let cloud = &CloudServer::lent().await;
    let (llm, work) = (ScriptedLlm::start(0).await.unwrap(), tempfile::tempdir().unwrap());
    llm.script("Read the current repo", [Step::terminal("echo 'three facts' > FACTS.txt"), Step::finish("Written.")]);
    llm.script("Now delete that file", [Step::terminal("mv FACTS.txt DELETED"), Step::finish("Deleted.")]);
    let mut example = example("cloud_workspace", cloud).await;
    example.env("LLM_API_KEY", "sk-of-the-test").env("LLM_MODEL", "openai/scripted").env("LLM_BASE_URL", llm.url());
    let lines = lines(example.env("WORKSPACE_BASE", work.path())).await;

    assert_eq!(between(&lines, "Using OpenHands Cloud API: ", "").trim_end_matches('/'), cloud.url());
    assert_eq!(between(&lines, "Command completed: 0, ", ""), "Hello from OpenHands Cloud sandbox!");
    assert!(between(&lines, "EXAMPLE_COST: ", "").parse::<f64>().unwrap() >= 0.0);
    assert!(lines.iter().any(|line| line == "Conversation completed successfully."), "{lines:#?}");
    let events: u64 = between(&lines, "Total ", " events received during conversation.").parse().unwrap();
    // A message, an action, an observation and a finish of each turn, at least.
    assert!(events >= 8, "{events}");
    // Both turns took place, in this order.
    assert_eq!(std::fs::read_to_string(work.path().join("DELETED")).unwrap(), "three facts\n");
    assert_eq!(cloud.sandboxes().await, Vec::<Value>::new());
}

#[tokio::test]
async fn share_credentials_prints_the_names_of_the_secrets_and_the_agent_has_their_values() {
    let cloud = &CloudServer::lent().await;
    let (llm, work) = (ScriptedLlm::start(0).await.unwrap(), tempfile::tempdir().unwrap());
    let show = "echo ${SHARED_SECRET#top-} > SECRETS_CHECK.txt";
    llm.script("For each of these environment variables", [Step::terminal(show), Step::finish("Shown.")]);
    cloud.set_llm(&llm).await;
    cloud.set_secret("SHARED_SECRET", "top-shared-value").await;
    let mut example = example("share_credentials", cloud).await;
    let lines = lines(example.env("WORKSPACE_BASE", work.path())).await;

    assert_eq!(between(&lines, "LLM configured: model=", ""), "openai/scripted");
    // Other tests may have set secrets of their own in this account.
    let names: Vec<String> = serde_json::from_str(between(&lines, "Available secrets: ", "")).unwrap();
    assert!(names.iter().any(|name| name == "SHARED_SECRET"), "{names:?}");
    assert_eq!(between(&lines, "Injected ", " secrets into conversation"), names.len().to_string());
    assert!(between(&lines, "EXAMPLE_COST: ", "").parse::<f64>().unwrap() > 0.0);
    assert!(lines.iter().any(|line| line == "Conversation completed successfully."), "{lines:#?}");
    assert!(between(&lines, "Total ", " events received during conversation.").parse::<u64>().unwrap() >= 4);
    assert_eq!(std::fs::read_to_string(work.path().join("SECRETS_CHECK.txt")).unwrap(), "shared-value\n");
    assert!(!lines.concat().contains("shared-value"), "{lines:#?}");
    assert_eq!(cloud.sandboxes().await, Vec::<Value>::new());
}

#[tokio::test]
async fn orchestrate_leaves_my_automation_in_a_sandbox_from_where_it_sends_its_callback() {
    let cloud = &CloudServer::lent().await;
    let (llm, receiver) = (ScriptedLlm::start(0).await.unwrap(), Receiver::start().await);
    let work = tempfile::tempdir().unwrap();
    llm.script("Perform the automation task", [Step::terminal("echo done > DONE"), Step::finish("Performed.")]);
    cloud.set_llm(&llm).await;
    let mut example = example("orchestrate", cloud).await;
    example.arg(built().await.join("my_automation")).env("CALLBACK_URL", receiver.url());
    let lines = lines(example.env("RUN_ID", "orchestrated").env("WORKSPACE_BASE", work.path())).await;
    let (sandbox, output) = between(&lines, "Sandbox ", "").split_once(", output in ").unwrap();

    // The orchestrator has ended; the program in the sandbox continues.
    timeout(LONGEST, receiver.called()).await.expect("no callback");
    let callback = receiver.accepted();
    assert_eq!((&callback["status"], &callback["run_id"]), (&"COMPLETED".into(), &"orchestrated".into()));
    assert!(callback["cost"].as_f64().unwrap() > 0.0, "{callback}");
    assert_eq!(std::fs::read_to_string(work.path().join("DONE")).unwrap(), "done\n");

    let workspace = CloudWorkspace::builder(API_KEY).url(cloud.url().parse().unwrap()).sandbox_id(sandbox);
    let workspace = workspace.open().await.unwrap();
    assert_eq!(workspace.download_bytes(&format!("{output}/stdout")).await.unwrap(), "Performed.\n");
    workspace.close().await.unwrap();
    assert_eq!(cloud.sandboxes().await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_example_whose_agent_fails_prints_one_readable_error_and_leaves_no_sandbox() {
    let cloud = &CloudServer::lent().await;
    let (llm, work) = (ScriptedLlm::start(0).await.unwrap(), tempfile::tempdir().unwrap());
    llm.script("Read the current repo", [Step::fail(400, "the scripted LLM refuses")]);
    let mut example = example("cloud_workspace", cloud).await;
    example.env("LLM_API_KEY", "sk-of-the-test").env("LLM_MODEL", "openai/scripted").env("LLM_BASE_URL", llm.url());
    let output = run(example.env("WORKSPACE_BASE", work.path())).await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("Error: "), "{stderr}");
    assert!(stderr.contains("the scripted LLM refuses") && !stderr.contains("Ended {"), "{stderr}");
    assert_eq!(cloud.sandboxes().await, Vec::<Value>::new());

    let output = run(example.env("OPENHANDS_CLOUD_API_URL", "http://127.0.0.1:1")).await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("http://127.0.0.1:1/") && stderr.contains("no connection"), "{stderr}");
    assert!(!stderr.contains(" { "), "{stderr}");
}
