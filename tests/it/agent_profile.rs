//! Agent profiles of the agent-server: the LLM, the tools, and the secrets that an agent may have.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::automation_service::profile;
use crate::support::cloud::Cloud;
use crate::support::meddler::{Meddler, Meddling};
use crate::support::run::account_settings;
use crate::support::{AgentServer, NEWEST, OLDEST, Run, ScriptedLlm, Step};

/// An agent profile of the shared agent-server that allows these secrets; gives its name.
pub async fn agent_profile(server: &AgentServer, llm_profile: &str, secrets: &[&str]) -> String {
    let name = format!("reviewer-{}", uuid::Uuid::new_v4().simple());
    let body = json!({"agent_kind": "openhands", "llm_profile_ref": llm_profile, "secret_refs": secrets});
    server.send(Method::POST, &format!("/api/agent-profiles/{name}"), &body).await;
    name
}

/// A run with the settings of this agent-server.
fn self_hosted(server: &AgentServer) -> Run {
    Run::inside(server).env("AGENT_SERVER_URL", server.url("")).args(["run", "--format", "json", "-p", "Look around"])
}

#[tokio::test]
async fn a_secret_that_the_profile_does_not_allow_never_reaches_the_agents_shell() {
    let server = AgentServer::shared(NEWEST).await;
    let llm = ScriptedLlm::start(0).await.unwrap();
    let [allowed, other] = ["ALLOWED", "OTHER"].map(|name| format!("{name}_{}", uuid::Uuid::new_v4().simple()));
    // Nothing of its name: the runs of other tests in this server mask the values, and their halves.
    let value = |name: &str| format!("value-of-{}", name.split('_').next().unwrap());
    for name in [&allowed, &other] {
        let secret = json!({"name": name, "value": value(name)});
        server.send(Method::PUT, "/api/settings/secrets", &secret).await;
    }
    let look = format!("echo \"[${allowed}][${other}]\" | tr a-z A-Z >seen.txt");
    llm.script("Look around", [Step::terminal(&look), Step::finish("Done.")]);
    let llm_profile = profile(server, &llm).await;
    let profile = agent_profile(server, &llm_profile, &[&allowed]).await;
    let info = server.get(&format!("/api/agent-profiles/{profile}")).await;
    let id = info["profile"]["id"].as_str().unwrap();
    let seen = |name: &str| value(name).to_uppercase();
    let both = format!("[{}][{}]\n", seen(&allowed), seen(&other));
    let one = format!("[{}][]\n", seen(&allowed));

    let run = async |run: Run, expected: &str| -> Value {
        let working_dir = server.working_dir();
        let finished = run.env("WORKSPACE_BASE", &working_dir).finish().await.exits_with(0);
        assert_eq!(std::fs::read_to_string(working_dir.join("seen.txt")).unwrap(), expected);
        server.conversation(finished.json()["conversation_id"].as_str().unwrap()).await
    };
    // The default agent has all of the account's.
    run(self_hosted(server).args(["--profile", &llm_profile]), &both).await;
    for named in [
        self_hosted(server).args(["--agent-profile", &profile]),
        self_hosted(server).env("AUTOMATION_AGENT_PROFILE_ID", id),
        // The LLM of the profile, unless a person names another: the automation's model is for agents without one.
        self_hosted(server).env("AUTOMATION_AGENT_PROFILE_ID", id).env("AUTOMATION_MODEL", "gone"),
        self_hosted(server).args(["--agent-profile", &profile, "--profile", &llm_profile]),
    ] {
        let conversation = run(named, &one).await;
        assert_eq!(conversation["launched_agent_profile"]["agent_profile_id"], id, "{conversation}");
    }
    let asks = "---\nagent: {profile: PROFILE}\nsecrets: [OTHER]\n---\nLook around";
    let asks = asks.replace("PROFILE", &profile).replace("OTHER", &other);
    let refused = Run::inside(server).env("AGENT_SERVER_URL", server.url("")).task(&asks).finish().await;
    refused.exits_with(78).says(&format!("the account has no secret {other}; it has {allowed}"));
}

#[tokio::test]
async fn a_profile_that_cannot_be_had_is_an_error_before_anything_starts() {
    let (newest, oldest) = (AgentServer::shared(NEWEST).await, AgentServer::lent(OLDEST).await);
    let llm = ScriptedLlm::start(0).await.unwrap();
    let known = agent_profile(newest, &profile(newest, &llm).await, &[]).await;
    let unknown = self_hosted(newest).args(["--agent-profile", "nobody"]).finish().await.exits_with(78);
    let detail = unknown.json()["error"]["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("no agent profile `nobody`; it has ") && detail.contains(&known), "{detail}");
    let none = self_hosted(&oldest).env("AUTOMATION_AGENT_PROFILE_ID", "nobody").finish().await.exits_with(78);
    let result = none.json();
    assert!(result["error"]["detail"].as_str().unwrap().contains(OLDEST), "{result}");
    assert_eq!(result.get("conversation_id"), None, "{result}");
}

crate::on_newest_and_oldest!(
    the_default_agent_is_changed_by_the_task,
    a_tool_that_the_server_lacks_is_an_error_at_once,
    the_conversation_has_a_browser_if_the_task_wants_one,
    an_agent_that_works_in_a_browser_has_its_tools_and_another_one_has_not,
    a_risky_action_is_rejected_and_the_agent_continues_without_it,
    an_agent_that_insists_on_actions_that_are_rejected_ends_the_run,
);

/// A run whose agent does something risky first.
async fn risky(server: &AgentServer, policy: &str, steps: Vec<Step>) -> (Run, ScriptedLlm, std::path::PathBuf) {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Clean up", steps);
    let working_dir = server.working_dir();
    let task = format!("---\nagent: {{confirmation_policy: {policy}, security_analyzer: llm}}\n---\nClean up");
    let run = Run::inside(server).env("WORKSPACE_BASE", &working_dir).llm(&llm).task(&task).args(["--format", "json"]);
    (run, llm, working_dir)
}

fn step(command: &str, risk: &str) -> Step {
    Step::call("terminal", json!({"command": command, "security_risk": risk}))
}

async fn a_risky_action_is_rejected_and_the_agent_continues_without_it(server: &AgentServer) {
    let steps = vec![step("touch risky", "HIGH"), step("touch safe", "LOW"), Step::finish("Done.")];
    let (run, _llm, working_dir) = risky(server, "risky", steps).await;
    let finished = run.finish().await.exits_with(0).says("rejecting an action that needs a confirmation");
    let result = finished.json();
    assert!(!working_dir.join("risky").exists() && working_dir.join("safe").exists(), "{result:#}");
    assert_eq!(result["warnings"][0], "actions that needed a confirmation and were rejected: 1", "{result:#}");
    let conversation = server.conversation(result["conversation_id"].as_str().unwrap()).await;
    assert_eq!(conversation["confirmation_policy"]["kind"], "ConfirmRisky", "{conversation}");
    let events = server.events(result["conversation_id"].as_str().unwrap()).await;
    let told = events.iter().find(|event| event["kind"] == "UserRejectObservation").unwrap();
    assert!(told.to_string().contains("no one is here to give it"), "{told}");
}

async fn an_agent_that_insists_on_actions_that_are_rejected_ends_the_run(server: &AgentServer) {
    let steps = (0..30).map(|number| step(&format!("touch {number}"), "LOW")).collect();
    let (run, _llm, working_dir) = risky(server, "always", steps).await;
    let result = run.finish().await.exits_with(1).json();
    let detail = result["error"]["detail"].as_str().unwrap();
    assert!(detail.contains("waits for a confirmation"), "{result:#}");
    assert_eq!(result["warnings"][0], "actions that needed a confirmation and were rejected: 10", "{result:#}");
    assert!(!working_dir.join("0").exists() && !working_dir.join("29").exists());
}

#[tokio::test]
async fn a_sub_agent_of_the_task_does_a_part_of_the_work() {
    let server = AgentServer::shared(NEWEST).await;
    let llm = ScriptedLlm::start(0).await.unwrap();
    let name = format!("counter-{}", uuid::Uuid::new_v4().simple());
    // A sub-agent that does not exist comes first.
    let task = |name: &str| Step::call("task", json!({"prompt": "Count the files", "subagent_type": name}));
    llm.script("Look around", [task("nobody"), task(&name), Step::finish("Done.")]);
    llm.script("Count the files", [Step::terminal("ls | wc -l >counted"), Step::finish("Counted.")]);
    let working_dir = server.working_dir();
    let agents =
        json!([{"name": name, "description": "Counts files", "system_prompt": "You count.", "tools": ["terminal"]}]);
    let run = Run::inside(server).env("WORKSPACE_BASE", &working_dir).llm(&llm);
    let run = run.task(&format!("---\nagent: {{sub_agents: {agents}}}\n---\nLook around")).args(["--format", "json"]);
    let result = run.finish().await.exits_with(0).json();
    let events = server.events(result["conversation_id"].as_str().unwrap()).await;
    let said: Vec<String> = events.iter().filter(|event| event["tool_name"] == "task").map(Value::to_string).collect();
    assert!(said.iter().any(|event| event.contains("Counted.")), "{said:#?}");
    assert!(working_dir.join("counted").exists());
}

#[tokio::test]
async fn what_an_old_server_lacks_of_the_agent_is_an_error_at_once() {
    let server = AgentServer::lent(OLDEST).await;
    let llm = ScriptedLlm::start(0).await.unwrap();
    for (agent, lacks) in [
        ("{sub_agents: [{name: a, description: b}]}", "sub_agents: agent-server 1.11.5 has no `AgentDefinition`"),
        ("{security_analyzer: pattern}", "security_analyzer: agent-server 1.11.5 has no `PatternSecurityAnalyzer`"),
    ] {
        let run = Run::inside(&server).llm(&llm).task(&format!("---\nagent: {agent}\n---\nx"));
        let result = run.args(["--format", "json"]).finish().await.exits_with(78).json();
        // The oldest may be another one.
        let lacks = lacks.replace("1.11.5", OLDEST);
        assert!(result["error"]["detail"].as_str().unwrap().contains(&lacks), "{result}");
        assert_eq!(result.get("conversation_id"), None, "{result}");
    }
}

async fn the_default_agent_is_changed_by_the_task(server: &AgentServer) {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Look around", [Step::terminal("true"), Step::finish("Done.")]);
    let agent = "{tools: [terminal], system_prompt_suffix: Be brief., condenser: {max_size: 30, keep_first: 2}}";
    let task = format!("---\nagent: {agent}\n---\nLook around");
    let run = Run::inside(server).llm(&llm).task(&task).args(["--format", "json"]);
    let result = run.finish().await.exits_with(0).json();
    let conversation = server.conversation(result["conversation_id"].as_str().unwrap()).await;
    let agent = &conversation["agent"];
    assert_eq!(tools(&conversation), ["terminal"], "{agent}");
    assert_eq!(agent["agent_context"]["system_message_suffix"], "Be brief.", "{agent}");
    assert_eq!(
        (&agent["condenser"]["max_size"], &agent["condenser"]["keep_first"]),
        (&30.into(), &2.into()),
        "{agent}"
    );
}

/// The names of the tools with which the conversation was started.
fn tools(conversation: &Value) -> Vec<&str> {
    let tools = conversation["agent"]["tools"].as_array().unwrap();
    tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

/// Without a first message, the server looks for no browser on its machine.
async fn the_conversation_has_a_browser_if_the_task_wants_one(server: &AgentServer) {
    let llm = ScriptedLlm::start(0).await.unwrap();
    let default = ["terminal", "file_editor", "task_tracker"];
    for (agent, expected) in [
        ("{browser: false}", default.to_vec()),
        ("{browser: true}", [&default[..], &["browser_tool_set"]].concat()),
        ("{browser: true, tools: [terminal]}", vec!["terminal", "browser_tool_set"]),
    ] {
        let run = Run::inside(server).llm(&llm).task(&format!("---\nagent: {agent}\nsetup: ['false']\n---\nx"));
        let result = run.args(["--format", "json"]).finish().await.exits_with(1).json();
        assert_eq!(result["error"]["code"], "SetupFailed", "{result}");
        let conversation = server.conversation(result["conversation_id"].as_str().unwrap()).await;
        assert_eq!(tools(&conversation), expected, "{agent}");
    }
}

/// No page is opened: the browser itself would start only then.
async fn an_agent_that_works_in_a_browser_has_its_tools_and_another_one_has_not(server: &AgentServer) {
    let llm = ScriptedLlm::start(0).await.unwrap();
    let open = Step::call("browser_navigate", json!({"url": "http://127.0.0.1:9"}));
    llm.script("Open a page without a browser", [open, Step::finish("There is none.")]);
    llm.script("Look at your tools", [Step::finish("There is one.")]);
    for (browser, prompt) in [(false, "Open a page without a browser"), (true, "Look at your tools")] {
        let run = Run::inside(server).llm(&llm).task(&format!("---\nagent: {{browser: {browser}}}\n---\n{prompt}"));
        let result = run.args(["--format", "json"]).finish().await.exits_with(0).json();
        let events = server.events(result["conversation_id"].as_str().unwrap()).await;
        let prompt = events.iter().find(|event| event["kind"] == "SystemPromptEvent").unwrap();
        for tool in ["browser_navigate", "browser_click"] {
            assert_eq!(prompt["tools"].to_string().contains(tool), browser, "{tool}: {}", prompt["tools"]);
        }
        let refused = events.iter().any(|event| event["kind"] == "AgentErrorEvent");
        assert_eq!(refused, !browser, "{events:#?}");
    }
}

async fn a_tool_that_the_server_lacks_is_an_error_at_once(server: &AgentServer) {
    let llm = ScriptedLlm::start(0).await.unwrap();
    let run = Run::inside(server).llm(&llm).task("---\nagent: {tools: [terminal, telepathy]}\n---\nx");
    let result = run.args(["--format", "json"]).finish().await.exits_with(78).json();
    let detail = result["error"]["detail"].as_str().unwrap();
    assert!(detail.contains("no tool telepathy; it has ") && detail.contains("file_editor"), "{detail}");
    assert_eq!(result.get("conversation_id"), None, "{result}");
}

#[tokio::test]
async fn an_account_with_an_acp_agent_is_told_what_to_choose() {
    let server = AgentServer::shared(NEWEST).await;
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Look around", [Step::finish("Done.")]);
    let mut settings = account_settings(&llm);
    settings["agent_settings"]["agent_kind"] = "acp".into();
    settings["llm_profiles"] =
        json!({"profiles": {"fast": {"model": "openai/fast", "base_url": llm.url(), "api_key": "k"}}});
    let cloud = Cloud::start(&server.key, settings, &[]).await;
    let run = || Run::inside(server).account(&cloud).task("Look around");
    run().finish().await.exits_with(78).says("ACP agent").says("--agent-profile").says("--profile");
    run().args(["--profile", "fast"]).finish().await.exits_with(0).says("openai/fast");
}

#[tokio::test]
async fn a_directory_of_the_conversations_container_gets_no_repositories() {
    let (server, llm) = (AgentServer::shared(NEWEST).await, ScriptedLlm::start(0).await.unwrap());
    let in_containers = |_: &str, path: &str| {
        (path == "/server_info").then_some(Meddling::Response(|info| info["conversation_runtime"] = "docker".into()))
    };
    let server_in_between = Meddler::to(server.port, in_containers).await;
    let run = Run::inside(server).env("AGENT_SERVER_PORT", server_in_between.port.to_string()).llm(&llm);
    let run = run.env("WORKSPACE_BASE", "/workspace").task("---\nrepos: ['https://github.com/octo/alpha']\n---\nx");
    run.finish().await.exits_with(78).says("repositories cannot be cloned there; choose another directory");
    assert_eq!(server_in_between.count("POST", "/api/conversations"), 0);
}
