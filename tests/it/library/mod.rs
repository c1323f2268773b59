//! The library, as its users have it: its examples, and every operation of its workspaces and conversations, on real servers.

mod errors;
mod examples;
mod limits;
mod operations;
mod workspace;

use std::path::Path;
use std::time::Duration;

use openhands_client::conversation::{ConversationBuilder, Update};
use openhands_client::{Agent, Conversation, InsideWorkspace, Llm};
use tokio::time::{Instant, sleep};

use crate::support::{AgentServer, ScriptedLlm, Step};

/// The price of each of the 1010 tokens of a scripted answer.
const PRICE: f64 = 0.00001;

/// A workspace of this agent-server.
async fn open(server: &AgentServer) -> InsideWorkspace {
    let builder = InsideWorkspace::builder().agent_server(server.url("").parse().unwrap());
    builder.session_key(server.key.as_str()).open().await.unwrap()
}

fn agent(llm: &ScriptedLlm) -> Agent {
    let llm = Llm::new("openai/scripted", "sk-of-the-test").base_url(&llm.url());
    Agent::default_with(llm.set("input_cost_per_token", PRICE).set("output_cost_per_token", PRICE))
}

/// A conversation to be started, in a new directory.
fn conversation(workspace: &InsideWorkspace, llm: &ScriptedLlm, directory: &Path) -> ConversationBuilder {
    workspace.conversation(agent(llm)).working_dir(directory.display().to_string())
}

/// So many different steps that no test sees the last one.
fn many_steps() -> impl Iterator<Item = Step> {
    (0..200).map(|number| Step::terminal(&format!("echo {number}")))
}

/// Until the agent does something.
async fn until_action(conversation: &mut Conversation) {
    loop {
        match conversation.next().await.unwrap() {
            Update::Event(event) if event.kind == "ActionEvent" => return,
            Update::TurnOver(end) => panic!("the turn is over: {end:?}"),
            _ => {}
        }
    }
}

/// A conversation whose agent has begun to do what its script has for `Work`.
async fn at_work(workspace: &InsideWorkspace, llm: &ScriptedLlm, server: &AgentServer) -> Conversation {
    let mut conversation = conversation(workspace, llm, &server.working_dir()).start().await.unwrap();
    conversation.send("Work.").await.unwrap();
    until_action(&mut conversation).await;
    conversation
}

/// Until the server says that the conversation has this status.
async fn until_status(server: &AgentServer, id: &str, status: &str) {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let found = server.conversation(id).await["execution_status"].clone();
        if found == status {
            return;
        }
        assert!(Instant::now() < deadline, "{found}, not {status}");
        sleep(Duration::from_millis(50)).await;
    }
}
