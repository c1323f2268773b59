//! What stops the agent of a library user, and what does not.

use std::time::Duration;

use openhands_client::ConversationError;
use openhands_client::conversation::FollowError;

use super::{at_work, conversation, many_steps, open, until_status};
use crate::support::{AgentServer, Gates, ScriptedLlm, Step};

crate::on_newest_and_oldest!(
    a_cost_limit_stops_the_agent_and_the_error_keeps_the_cost,
    a_time_limit_stops_the_agent,
    a_dropped_conversation_leaves_the_agent_at_work,
    a_closed_conversation_stops_the_agent,
);

async fn a_cost_limit_stops_the_agent_and_the_error_keeps_the_cost(server: &AgentServer) {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Spend", many_steps());
    let workspace = open(server).await;
    let builder = conversation(&workspace, &llm, &server.working_dir()).cost_limit(0.015);
    let mut conversation = builder.start().await.unwrap();
    conversation.send("Spend.").await.unwrap();
    let error = conversation.run().await.unwrap_err();
    assert!(matches!(&error, ConversationError::Follow { error: FollowError::OverBudget { .. }, .. }), "{error:?}");
    assert!(error.cost().known().unwrap() > 0.015, "{}", error.cost());
    assert!(!error.agent_may_be_at_work());
    until_status(server, &conversation.id().to_string(), "paused").await;
}

async fn a_time_limit_stops_the_agent(server: &AgentServer) {
    let (llm, gates) = (ScriptedLlm::start(0).await.unwrap(), Gates::new());
    gates.close("end");
    llm.script("Wait", [Step::patient_terminal(&gates.wait("end"))].into_iter().chain(many_steps()));
    let workspace = open(server).await;
    let builder = conversation(&workspace, &llm, &server.working_dir()).time_limit(Duration::from_secs(10));
    let mut conversation = builder.start().await.unwrap();
    conversation.send("Wait.").await.unwrap();
    let error = conversation.run().await.unwrap_err();
    assert!(matches!(error, ConversationError::TimeLimit { .. }), "{error:?}");
    assert!(!error.agent_may_be_at_work());
    // A pause comes into effect after the running command.
    gates.open("end");
    until_status(server, &conversation.id().to_string(), "paused").await;
}

async fn a_dropped_conversation_leaves_the_agent_at_work(server: &AgentServer) {
    let (llm, gates) = (ScriptedLlm::start(0).await.unwrap(), Gates::new());
    gates.close("end");
    llm.script("Work", [Step::patient_terminal(&gates.wait("end")), Step::finish("Done alone.")]);
    let workspace = open(server).await;
    let conversation = at_work(&workspace, &llm, server).await;
    let id = conversation.id().to_string();
    drop(conversation);
    drop(workspace);
    gates.open("end");
    until_status(server, &id, "finished").await;
}

async fn a_closed_conversation_stops_the_agent(server: &AgentServer) {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Work", many_steps());
    let workspace = open(server).await;
    let conversation = at_work(&workspace, &llm, server).await;
    let id = conversation.id().to_string();
    conversation.close().await.unwrap();
    until_status(server, &id, "paused").await;
}
