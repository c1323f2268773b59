//! What a program prints that returns an error of the library from `main`.

use std::error::Error;

use openhands_client::sandbox::exec::Command;
use openhands_client::{CloudWorkspace, InsideWorkspace};

use super::{conversation, open};
use crate::support::{AgentServer, NEWEST, ScriptedLlm, Step};

/// The text that `main` prints of an error.
#[track_caller]
fn printed(error: impl Error + Send + Sync + 'static) -> String {
    let text = format!("{:?}", Box::<dyn Error + Send + Sync>::from(error));
    assert!(!text.contains(" { ") && !text.contains("Some("), "{text}");
    text
}

#[tokio::test]
async fn errors_print_as_sentences_with_their_causes() {
    let unreachable = CloudWorkspace::builder("key").url("http://127.0.0.1:1".parse().unwrap()).open().await;
    let text = printed(unreachable.unwrap_err());
    assert!(text.contains("127.0.0.1:1") && text.contains("no connection"), "{text}");

    let server = AgentServer::shared(NEWEST).await;
    let refused = InsideWorkspace::builder().agent_server(server.url("").parse().unwrap()).session_key("wrong");
    // Whether a server is ready is not a secret.
    let refused = refused.open().await.unwrap();
    assert!(printed(refused.llm().await.unwrap_err()).contains("401"));

    let workspace = open(server).await;
    let misnamed = Command::shell("true").env("A-B", "1");
    assert!(printed(workspace.execute_command(misnamed).await.unwrap_err()).contains("A-B"));
    printed(workspace.upload("/no/such/file", "/tmp/x").await.unwrap_err());
    printed(workspace.download_bytes("/no/such/file").await.unwrap_err());
    printed(workspace.git_diff("/no/such/folder/file").await.unwrap_err());
    assert!(printed(workspace.llm_profile("none").await.unwrap_err()).contains("none"));
    assert!(printed(workspace.secrets_named(["NO_SUCH"]).await.unwrap_err()).contains("NO_SUCH"));
}

#[tokio::test]
async fn the_error_of_a_failed_turn_has_the_servers_words_and_the_cost() {
    let (llm, server) = (ScriptedLlm::start(0).await.unwrap(), AgentServer::shared(NEWEST).await);
    llm.script("Work", [Step::terminal("true"), Step::fail(400, "scripted refusal")]);
    let workspace = open(server).await;
    let mut conversation = conversation(&workspace, &llm, &server.working_dir()).start().await.unwrap();
    conversation.send("Work.").await.unwrap();
    let error = conversation.run().await.unwrap_err();
    assert!(error.cost().known().unwrap() > 0.0, "{}", error.cost());
    assert!(printed(error).contains("scripted refusal"));
}
