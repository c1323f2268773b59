//! Skills and plugins reach the conversation as the automation service's own script has them.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::git::{Repositories, git};
use crate::support::run::account_settings;
use crate::support::{AgentServer, Cloud, NEWEST, Receiver, Run, ScriptedLlm, Step, time_scale};

crate::on_newest_and_oldest!(
    each_repositorys_skills_reach_the_agent_and_the_last_of_a_name_wins,
    a_tasks_mcp_server_reaches_the_agent_and_its_key_nobody_else,
    a_plugins_stop_hook_that_thinks_for_long_has_the_last_word,
);

async fn llm() -> ScriptedLlm {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Do the task", [Step::finish("Done.")]);
    llm
}

fn unique() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn with_skill(repositories: &Repositories, repo: &str, name: &str, front_matter: &str) {
    let folder = repositories.path(repo).join(".agents/skills").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let text =
        format!("---\nname: {name}\ndescription: {name} of {repo}\n{front_matter}---\nBody of {name} from {repo}.\n");
    std::fs::write(folder.join("SKILL.md"), text).unwrap();
    git(&repositories.path(repo), &["add", "--all"]);
    git(&repositories.path(repo), &["commit", "--quiet", "--message", name]);
}

/// The skills of a conversation, by name.
async fn skills_of(server: &AgentServer, id: &str) -> Vec<(String, Value)> {
    let info = server.conversation(&format!("{id}?include_skills=true")).await;
    let skills = info["agent"]["agent_context"]["skills"].as_array().unwrap().clone();
    skills.into_iter().map(|skill| (skill["name"].as_str().unwrap().to_owned(), skill)).collect()
}

async fn each_repositorys_skills_reach_the_agent_and_the_last_of_a_name_wins(server: &AgentServer) {
    let repositories = Repositories::new();
    repositories.create("demo");
    repositories.create("other");
    with_skill(&repositories, "demo", "shared", "triggers: [sharedword]\n");
    with_skill(&repositories, "demo", "only-demo", "");
    with_skill(&repositories, "other", "shared", "triggers: [sharedword]\n");
    let (llm, receiver, working_dir) = (llm().await, Receiver::start().await, server.working_dir());
    Run::inside(server)
        .llm(&llm)
        .env("PATH", env!("PATH"))
        .env("WORKSPACE_BASE", &working_dir)
        .reports_to(&receiver, &unique())
        .task(&format!(
            "---\nskills: {{public: false, user: false}}\nrepos: ['{}', '{}']\n---\nDo the task: sharedword.",
            repositories.url("demo"),
            repositories.url("other"),
        ))
        .finish()
        .await
        .exits_with(0);

    let id = receiver.accepted()["conversation_id"].as_str().unwrap().to_owned();
    let skills = skills_of(server, &id).await;
    let skill = |name: &str| &skills.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{skills:?}")).1;
    assert_eq!(skills.iter().filter(|(name, _)| name == "agents").count(), 1);
    assert_eq!(skill("agents")["content"].as_str().unwrap().trim(), "Rules of other.");
    assert!(skill("shared")["content"].as_str().unwrap().contains("Body of shared from other."));
    assert_eq!(skill("shared")["trigger"], json!({"type": "keyword", "keywords": ["sharedword"]}));
    assert!(skill("only-demo")["source"].as_str().unwrap().starts_with(&format!("{}/demo/", working_dir.display())));
    // The keyword in the message has brought the skill's text to the agent.
    let events = server.events(&id).await;
    let message = events.iter().find(|event| event["kind"] == "MessageEvent").unwrap();
    assert_eq!(message["activated_skills"], json!(["shared"]));
}

async fn a_tasks_mcp_server_reaches_the_agent_and_its_key_nobody_else(server: &AgentServer) {
    let (llm, receiver) = (llm().await, Receiver::start().await);
    let mcp = "{probe: {url: 'http://127.0.0.1:9/mcp', headers: {Authorization: 'Bearer key-of-the-mcp-server'}}}";
    Run::inside(server)
        .llm(&llm)
        .env("RUST_LOG", "trace")
        .reports_to(&receiver, &unique())
        .task(&format!("---\nmcp: {mcp}\n---\nDo the task."))
        .finish()
        .await
        .says("MCP servers configured servers=probe")
        // Nothing listens at its address.
        .says("`probe`")
        .never_shows("key-of-the-mcp-server");
    let id = receiver.accepted()["conversation_id"].as_str().unwrap().to_owned();
    let config = server.conversation(&id).await["agent"]["mcp_config"].to_string();
    assert!(config.contains("http://127.0.0.1:9/mcp"), "{config}");
}

#[tokio::test]
async fn skills_that_are_turned_off_are_not_asked_for() {
    let (llm, receiver, server) = (llm().await, Receiver::start().await, AgentServer::shared(NEWEST).await);
    let working_dir = server.working_dir();
    std::fs::write(working_dir.join("AGENTS.md"), "Rules.").unwrap();
    let run = |skills: &str| {
        let run = Run::inside(server).llm(&llm).env("WORKSPACE_BASE", &working_dir);
        run.task(&format!("---\nskills: {skills}\n---\nDo the task."))
    };
    run("{public: false}").reports_to(&receiver, &unique()).finish().await.exits_with(0);
    let id = receiver.accepted()["conversation_id"].as_str().unwrap().to_owned();
    assert_eq!(skills_of(server, &id).await.len(), 1);
    let receiver = Receiver::start().await;
    run("false").reports_to(&receiver, &unique()).finish().await.exits_with(0);
    let id = receiver.accepted()["conversation_id"].as_str().unwrap().to_owned();
    assert_eq!(skills_of(server, &id).await, []);
}

#[tokio::test]
async fn a_run_goes_on_without_skills_that_cannot_be_read() {
    let (llm, receiver) = (llm().await, Receiver::start().await);
    let server = AgentServer::shared(NEWEST).await;
    let proxy = MockServer::start().await;
    // Everything but the skills goes through to the real server, as far as a run needs it before its conversation.
    Mock::given(method("POST"))
        .and(path("/api/skills"))
        .respond_with(ResponseTemplate::new(500).set_body_json(json!({"detail": "Internal Server Error"})))
        .mount(&proxy)
        .await;
    for (at, body) in [("/ready", json!({"status": "ready"})), ("/server_info", json!({"version": NEWEST}))] {
        let answer = ResponseTemplate::new(200).set_body_json(body);
        Mock::given(method("GET")).and(path(at)).respond_with(answer).mount(&proxy).await;
    }
    let finished = Run::inside(server)
        .llm(&llm)
        .env("AGENT_SERVER_URL", proxy.uri())
        .reports_to(&receiver, &unique())
        .task("Do the task.")
        .scaled(time_scale(0.2), ["skills_budget"])
        .finish()
        .await;
    finished.says("continuing without skills");
    let asked = proxy.received_requests().await.unwrap();
    assert!(asked.iter().filter(|request| request.url.path() == "/api/skills").count() > 1, "it was not tried again");
    assert!(asked.iter().any(|request| request.url.path() == "/api/conversations"));
}

#[tokio::test]
async fn an_experiments_variant_brings_its_plugin_profile_and_tags() {
    let (llm, receiver, server) = (llm().await, Receiver::start().await, AgentServer::shared(NEWEST).await);
    let plugin = tempfile::tempdir().unwrap();
    std::fs::create_dir(plugin.path().join(".plugin")).unwrap();
    let manifest = json!({"name": "probe", "version": "1.0.0", "description": "d"}).to_string();
    std::fs::write(plugin.path().join(".plugin/plugin.json"), manifest).unwrap();
    let experiment = json!({"experiment_id": "exp-1", "variants": [
        {"name": "A", "weight": 1, "model": "fast", "plugins": [{"source": plugin.path()}, {"source": "github:o/r"}]}]});
    let cloud = Cloud::start(&server.key, account_settings(&llm), &[]).await;
    let finished = Run::inside(server)
        .account(&cloud)
        .env("AUTOMATION_MODEL", "of-the-environment")
        .reports_to(&receiver, &unique())
        .file("prompt.txt", "Do the task.")
        .file("experiment_config.json", experiment.to_string())
        .finish()
        .await
        // The second plugin cannot be fetched here; the server says so at the first message.
        .exits_with(69);
    finished.says("variant chosen").says("the account has no LLM profile `fast`");
    let report = receiver.accepted();
    assert!(report["error"]["detail"].as_str().unwrap().contains("plugin"), "{report}");
    let info = server.conversation(report["conversation_id"].as_str().unwrap()).await;
    assert_eq!(info["tags"]["experimentid"], "exp-1");
    assert_eq!(info["tags"]["variant"], "A");
    assert_eq!(info["tags"]["modelprofile"], "fast");
    assert_eq!(info["tags"]["plugins"], "https://github.com/o/r");
}

/// A plugin with one hook.
pub(crate) fn plugin_with(event: &str, command: impl FnOnce(&Path) -> String) -> TempDir {
    let plugin = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(plugin.path().join(".plugin")).unwrap();
    std::fs::create_dir_all(plugin.path().join("hooks")).unwrap();
    let manifest = json!({"name": "probe", "version": "1.0.0", "description": "d"}).to_string();
    std::fs::write(plugin.path().join(".plugin/plugin.json"), manifest).unwrap();
    let hook = json!({"type": "command", "command": command(plugin.path())});
    let hooks = json!({"hooks": {event: [{"matcher": "*", "hooks": [hook]}]}});
    std::fs::write(plugin.path().join("hooks/hooks.json"), hooks.to_string()).unwrap();
    plugin
}

async fn a_plugins_stop_hook_that_thinks_for_long_has_the_last_word(server: &AgentServer) {
    let (llm, receiver) = (ScriptedLlm::start(0).await.unwrap(), Receiver::start().await);
    llm.script("Do the task", [Step::finish("First."), Step::finish("Second.")]);
    let scale = time_scale(0.25);
    let plugin = plugin_with("Stop", |folder| {
        format!(
            "sleep {}; cd {}; [ -e objected ] && exit 0; touch objected; echo once more >&2; exit 2",
            4.0 * scale,
            folder.display()
        )
    });
    let finished = Run::inside(server)
        .llm(&llm)
        .reports_to(&receiver, &unique())
        .task(&format!("---\nplugins: [{{source: '{}'}}]\n---\nDo the task.", plugin.path().display()))
        .scaled(scale, ["last_word", "confirm_again"])
        .finish()
        .await
        .exits_with(0);
    assert_eq!(finished.stdout, "Second.\n");
    assert!(plugin.path().join("objected").exists());
}

#[tokio::test]
async fn a_plugin_of_a_task_is_loaded() {
    let (llm, receiver, server) = (llm().await, Receiver::start().await, AgentServer::shared(NEWEST).await);
    let plugin = plugin_with("UserPromptSubmit", |folder| format!("touch {}/seen.txt", folder.display()));
    let seen = plugin.path().join("seen.txt");
    Run::inside(server)
        .llm(&llm)
        .reports_to(&receiver, &unique())
        .env("AUTOMATION_MODEL", "fast")
        .task(&format!("---\nplugins: [{{source: '{}'}}]\n---\nDo the task.", plugin.path().display()))
        .finish()
        .await
        .exits_with(0)
        .says("the LLM profile has no effect");
    assert!(seen.exists(), "the plugin's hook did not run");
}
