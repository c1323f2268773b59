//! MCP servers that do not work, on agent-servers that leave them out and on ones that fail or hang with them.

use std::net::TcpListener;

use serde_json::Value;

use crate::support::mcp_server::McpServer;
use crate::support::{AgentServer, NEWEST, OLDEST, Run, ScriptedLlm, Step, time_scale};

async fn llm() -> ScriptedLlm {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Do the task", [Step::finish("done")]);
    llm
}

fn warnings(result: &Value) -> Vec<&str> {
    result["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The agent-server waits 30 s for one that does not respond.
#[tokio::test]
async fn an_mcp_server_that_gives_no_tools_is_named_in_log_and_result() {
    let llm = llm().await;
    // Connections wait in its queue, and no one answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_url = format!("http://{}/mcp", silent.local_addr().unwrap());
    let empty = McpServer::start().await;
    let missing = "{ command: no-such-command }".to_owned();
    for server in [missing, format!("{{ url: '{silent_url}' }}"), format!("{{ url: '{}' }}", empty.url())] {
        let run = Run::inside(AgentServer::shared(NEWEST).await).llm(&llm).args(["run", "the-task.md"]);
        let run = run.file("the-task.md", format!("---\nmcp: {{ probe: {server} }}\n---\nDo the task."));
        let finished = run.args(["--format", "json"]).finish().await.exits_with(0);
        let result = finished.json();
        assert_eq!(result["status"], "COMPLETED");
        let [warning] = warnings(&result)[..] else { panic!("{result:#}") };
        assert!(warning.contains("MCP server `probe` gives the agent no tools"), "{warning}");
        finished.says("MCP server `probe` gives the agent no tools");
    }
}

/// These versions fail or hang with it.
#[tokio::test]
async fn an_older_server_that_an_mcp_server_stops_names_it_within_a_bound() {
    let server = AgentServer::lent(OLDEST).await;
    let finished = Run::inside(&server)
        .llm(&llm().await)
        .task("---\nmcp: { probe: { command: no-such-command } }\n---\nDo the task.")
        .args(["--format", "json"])
        .scaled(time_scale(0.2), ["server_silence"])
        .finish()
        .await
        .exits_with(69);
    let result = finished.json();
    assert_eq!(result["error"]["code"], "AgentServerUnreachable", "{result:#}");
    assert!(result["error"]["detail"].as_str().unwrap().contains("MCP servers: `probe`"), "{result:#}");
    server.discard();
}
