//! Automations of plugins (`plugin_spec` of the automation service) whose entrypoint is our binary.

use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use crate::agent_profile::agent_profile;
use crate::support::automation_service::profile;
use crate::support::{AgentServer, AutomationService, NEWEST, ScriptedLlm, Step};

/// A plugin with this part of an automation, and a hook that leaves the file `seen` when a message comes.
fn plugin(automation: &Value) -> tempfile::TempDir {
    let plugin = crate::tarball::plugin();
    let path = plugin.path().join(".plugin/plugin.json");
    let mut manifest: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    if automation.is_object() {
        manifest["automation"] = automation.clone();
    }
    std::fs::write(path, manifest.to_string()).unwrap();
    plugin
}

fn has_seen_a_message(plugin: &Path) -> bool {
    plugin.join("seen").exists()
}

#[tokio::test]
async fn a_plugin_that_runs_this_program_gets_its_configuration_profiles_and_further_plugins() {
    let (server, service) = tokio::join!(AgentServer::shared(NEWEST), AutomationService::shared());
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Look 3 deep into octo/alpha", [Step::finish("Done.")]);
    // Without an agent profile, the runner asks for an outcome.
    let done = json!({"message": "Done.", "status": "success", "outcome_summary": "All of it."});
    llm.script("Look 3 deep into octo/beta", [Step::call("finish", done)]);
    let llm_profile = profile(server, &llm).await;
    let agent_profile = agent_profile(server, &llm_profile, &[]).await;
    let further = plugin(&Value::Null);
    for (kind, name, repository) in
        [("agent_profile", &agent_profile, "octo/alpha"), ("llm_profile", &llm_profile, "octo/beta")]
    {
        let automation = json!({
            "schema_version": "openhands.automation.plugin.v1",
            "entrypoint": {"runner": "script", "command": "exec ./openhands-runner run task.md"},
            "runtime": {kind: {"default_name": name}, "plugins": [{"source": further.path()}]},
            "config_schema": {"type": "object", "properties": {"depth": {"type": "integer", "default": 3}}},
        });
        let plugin = plugin(&automation);
        symlink(env!("CARGO_BIN_EXE_openhands-runner"), plugin.path().join("openhands-runner")).unwrap();
        let task = "---\nname: x\n---\nLook {{ config.depth }} deep into {{ config.repository }}.";
        std::fs::write(plugin.path().join("task.md"), task).unwrap();
        let made = json!({
            "name": "A plugin",
            "plugin": {"source": plugin.path()},
            "config": {"repository": repository},
            "trigger": {"type": "cron", "schedule": "0 0 1 1 *"},
            "timeout": 120,
        });
        let made = service.of_plugin(server, made);
        let ended = made.await.dispatch().await.ended().await;
        assert_eq!(ended["status"], "COMPLETED", "{kind}: {ended:#}");
        assert!(has_seen_a_message(further.path()), "the plugin was not loaded");
        std::fs::remove_file(further.path().join("seen")).unwrap();
        let conversation = server.conversation(ended["conversation_id"].as_str().unwrap()).await;
        let launched = conversation["launched_agent_profile"]["agent_profile_id"].is_string();
        assert_eq!(launched, kind == "agent_profile", "{conversation:#}");
    }
}
