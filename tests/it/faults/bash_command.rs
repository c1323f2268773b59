//! Started as the automation service starts an entrypoint: a bash command of a real agent-server, with a real time-out.

use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use super::Work;
use crate::support::receiver::Answer::Never;
use crate::support::run::LLM_COST;
use crate::support::{AgentServer, NEWEST, Receiver, Run, Step};

/// The shell stays our parent.
const BEHIND_A_SHELL: &str = "true && ";
/// We are the leader of the session and its group.
const IN_PLACE_OF_THE_SHELL: &str = "exec ";

/// The runner gets SIGKILL when there is a file `kill`.
const KILLED_WHEN_TOLD: &str =
    r#"bash -c '"$@" & until [ -e kill ]; do sleep 0.1; done; kill -KILL $!; wait $!' bash "#;

async fn is_timed_out_by_another_server(form: &str) {
    let server = AgentServer::shared(NEWEST).await;
    // The server that starts us is not the one that we talk to, so that its time-out cannot be found.
    let starter = AgentServer::lent(NEWEST).await;
    // The first attempt hangs: the runner leaves the rest to its guardian and is gone when SIGKILL would come.
    let work = Work::reported_to(server, Receiver::answering([Never]).await).await;
    work.hold_at("2");
    let (command, home) = work.run(server).into_shell_command(form);
    // A busy machine takes seconds to start a runner and its conversation.
    let ended = starter.bash(&command, 12).await;
    assert_eq!(ended["exit_code"], -1, "{ended}");
    home.deserted().await;
    work.failed_with("Terminated");
}

#[tokio::test]
async fn a_time_out_that_could_not_be_foreseen_is_reported_behind_a_shell() {
    is_timed_out_by_another_server(BEHIND_A_SHELL).await;
}

#[tokio::test]
async fn a_time_out_that_could_not_be_foreseen_is_reported_in_place_of_the_shell() {
    is_timed_out_by_another_server(IN_PLACE_OF_THE_SHELL).await;
}

async fn foresees_its_time_out(server: &AgentServer, form: &str) {
    foresees_its_time_out_when(server, form, |run| run).await;
}

async fn foresees_its_time_out_when(server: &AgentServer, form: &str, change: impl FnOnce(Run) -> Run) {
    let work = Work::on(server).await;
    work.takes(60);
    work.take_time();
    work.llm.script("Your time is nearly up", [Step::finish("Half of it is done.")]);
    let run = change(work.run_without_arguments(server))
        .file("task.md", format!("---\nllm: {LLM_COST}\n---\nDo the task."))
        .args(["run", "--soft-landing", "8s", "--format", "json"]);
    let (command, home) = run.into_shell_command(form);
    // The agent is asked to wrap up if there are twice the 8 s when the runner finds the time-out: a slow machine has time
    // to start it.
    let ended = server.bash(&command, 32).await;
    assert_eq!(ended["exit_code"], 0, "{ended}");
    let result: serde_json::Value = serde_json::from_str(ended["stdout"].as_str().unwrap()).unwrap();
    assert_eq!(result["message"], "Half of it is done.");
    assert_eq!(result["cut_short"], true);
    home.deserted().await;
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
}

async fn the_servers_time_out_is_foreseen_behind_a_shell(server: &AgentServer) {
    foresees_its_time_out(server, BEHIND_A_SHELL).await;
}

async fn the_servers_time_out_is_foreseen_in_place_of_the_shell(server: &AgentServer) {
    foresees_its_time_out(server, IN_PLACE_OF_THE_SHELL).await;
}

#[tokio::test]
async fn the_time_out_of_a_server_under_a_name_of_its_own_is_foreseen() {
    let server = AgentServer::shared(NEWEST).await;
    // An address of this machine that does not look like one.
    let address = format!("http://[::ffff:127.0.0.1]:{}", server.port);
    foresees_its_time_out_when(server, BEHIND_A_SHELL, |run| run.env("AGENT_SERVER_URL", address)).await;
}

crate::on_newest_and_oldest!(
    the_servers_time_out_is_foreseen_behind_a_shell,
    the_servers_time_out_is_foreseen_in_place_of_the_shell,
    the_server_sees_the_end_of_a_run_at_once,
);

/// The server reads the pipes of a command to their end: a guardian must not hold them.
async fn the_server_sees_the_end_of_a_run_at_once(server: &AgentServer) {
    let work = Work::reported_to(server, Receiver::answering([Never, Never]).await).await;
    let run = work.run_without_arguments(server).args(["run", "--timeout", "1s", "--no-soft-landing", "task.md"]);
    // An attempt of the runner hangs when it is killed. The next one, of the guardian, hangs for 20 s.
    let (command, home) = run.into_shell_command(KILLED_WHEN_TOLD);
    let end = async {
        timeout(Duration::from_secs(120), work.receiver.called()).await.expect("no callback");
        std::fs::write(home.cwd().join("kill"), "").unwrap();
    };
    let (ended, ()) = tokio::join!(server.bash(&command, 300), end);
    assert_eq!(ended["exit_code"], json!(137), "{ended}");
    assert!(!home.processes().is_empty(), "the server saw the end only when the guardian had ended");
    home.deserted().await;
    // It may have reached its limit before its conversation.
    assert_eq!(work.receiver.accepted()["error"]["code"], "Timeout");
}
