//! The data files of the automation service's own tarballs: repositories, plugins, experiments.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::automation_service::{Automation, profile};
use crate::support::git::{GitServer, Manner, Repositories, TOKEN, git};
use crate::support::{AgentServer, AutomationService, NEWEST, ScriptedLlm, Step};

/// A preset automation as the service makes it, with our binary in its tarball. `change` changes the tarball's files.
async fn preset(kind: &str, llm: &ScriptedLlm, more: Value, change: impl FnOnce(&Path)) -> Automation<'static> {
    let (server, service) = tokio::join!(AgentServer::shared(NEWEST), AutomationService::shared());
    let trigger = json!({"type": "cron", "schedule": "0 0 1 1 *"});
    let mut body = json!({"name": "A preset", "prompt": "Use what is there", "trigger": trigger, "timeout": 120});
    if kind == "prompt" {
        body["model"] = profile(server, llm).await.into();
    }
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let automation = service.preset(kind, body).await;
    let put = |place: &Path| {
        change(place.parent().unwrap());
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_openhands-runner"), place)
    };
    automation.with_runner(put).await
}

async fn llm(first: Step) -> ScriptedLlm {
    let llm = ScriptedLlm::start(0).await.unwrap();
    let done = json!({"message": "done", "status": "success", "outcome_summary": "all of it"});
    llm.script("Use what is there", [first, Step::call("finish", done)]);
    llm
}

/// A plugin whose hook leaves a file when a message comes.
pub fn plugin() -> tempfile::TempDir {
    let plugin = tempfile::tempdir().unwrap();
    for folder in [".plugin", "hooks"] {
        std::fs::create_dir(plugin.path().join(folder)).unwrap();
    }
    let manifest = json!({"name": "probe", "version": "1.0.0", "description": "d"}).to_string();
    std::fs::write(plugin.path().join(".plugin/plugin.json"), manifest).unwrap();
    let command = format!("touch {}", plugin.path().join("seen").display());
    let hook = json!({"type": "command", "command": command});
    let hooks = json!({"hooks": {"UserPromptSubmit": [{"matcher": "*", "hooks": [hook]}]}}).to_string();
    std::fs::write(plugin.path().join("hooks/hooks.json"), hooks).unwrap();
    plugin
}

#[tokio::test]
async fn repositories_of_the_service_are_cloned_with_the_token_of_the_agent_servers_settings() {
    let repositories = Repositories::new();
    repositories.create("demo");
    repositories.create("private");
    let git_server = GitServer::start(&repositories, Manner::AsksForToken).await;
    let llm = llm(Step::terminal("cat demo/version.txt demo_1/version.txt private/version.txt >versions.txt")).await;
    let server = AgentServer::shared(NEWEST).await;
    let secret = json!({"name": "github_token", "value": TOKEN});
    server.send(reqwest::Method::PUT, "/api/settings/secrets", &secret).await;

    let demo = repositories.url("demo");
    let of_the_api = json!([{"url": demo}, {"url": demo, "ref": "v1"}]);
    let automation = preset("prompt", &llm, json!({ "repos": of_the_api }), |content| {
        let path = content.join("repos_config.json");
        let mut repos: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        // The service's API makes https of http, for which no server is here.
        repos.as_array_mut().unwrap().push(json!({"url": git_server.url("private"), "provider": "github"}));
        std::fs::write(path, repos.to_string()).unwrap();
    })
    .await;
    let mut run = automation.dispatch().await;
    let ended = run.ended().await;
    assert_eq!(ended["status"], "COMPLETED", "{ended:#}");
    assert_eq!(std::fs::read_to_string(run.folder().join("versions.txt")).unwrap(), "two\none\ntwo\n");
    let origin = git(&run.folder().join("private"), &["remote", "get-url", "origin"]);
    assert_eq!(origin, git_server.url("private"));
    let id = ended["conversation_id"].as_str().unwrap();
    assert!(server.user_messages(id).await[0].starts_with("## Cloned Repositories\n"));
    let info = server.conversation(&format!("{id}?include_skills=true")).await;
    assert_eq!(info["agent"]["agent_context"]["skills"][0]["name"], "agents");
}

#[tokio::test]
async fn a_repository_that_cannot_be_cloned_fails_the_services_run() {
    let repositories = Repositories::new();
    let llm = llm(Step::say("Nothing.")).await;
    let repos = json!({"repos": [repositories.url("missing")]});
    let automation = preset("prompt", &llm, repos, |_| ()).await;
    let ended = automation.dispatch().await.ended().await;
    assert_eq!(ended["status"], "FAILED", "{ended:#}");
    assert!(ended["error_detail"].as_str().unwrap().starts_with("RepositoryNotCloned: cannot clone"), "{ended:#}");
}

#[tokio::test]
async fn plugins_and_experiments_of_the_service_reach_the_agent() {
    let server = AgentServer::shared(NEWEST).await;
    let llm = llm(Step::terminal("true")).await;
    let fast = profile(server, &llm).await;
    let plugin_of_run = plugin();
    let plugins = json!([{"source": plugin_of_run.path()}]);
    let automation = preset("plugin", &llm, json!({"plugins": plugins, "model": fast}), |_| ()).await;
    let ended = automation.dispatch().await.ended().await;
    assert_eq!(ended["status"], "COMPLETED", "{ended:#}");
    assert!(plugin_of_run.path().join("seen").exists(), "the plugin was not loaded");

    let plugin_of_variant = plugin();
    let variant = |name: &str| json!({"name": name, "weight": 1, "model": fast, "plugins": [{"source": plugin_of_variant.path()}]});
    let experiment = json!({"experiment_id": "exp-1", "variants": [variant("A"), variant("B")]});
    let automation = preset("plugin", &llm, experiment, |_| ()).await;
    let ended = automation.dispatch().await.ended().await;
    assert_eq!(ended["status"], "COMPLETED", "{ended:#}");
    assert!(plugin_of_variant.path().join("seen").exists(), "the variant's plugin was not loaded");
    let tags = server.conversation(ended["conversation_id"].as_str().unwrap()).await["tags"].clone();
    assert_eq!((&tags["experimentid"], &tags["modelprofile"]), (&json!("exp-1"), &json!(fast)));
    assert!(["A", "B"].contains(&tags["variant"].as_str().unwrap()), "{tags}");
}
