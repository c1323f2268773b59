//! What a run takes from the account: LLM, profiles, secrets, and the faults of asking.

use openhands_client::workspace::InsideWorkspace;
use serde_json::json;
use wiremock::matchers::{method, path};
use wiremock::{Mock, ResponseTemplate};

use crate::support::cloud::{API_KEY, SANDBOX_ID};
use crate::support::mcp_server::McpServer;
use crate::support::run::account_settings;
use crate::support::{AgentServer, Cloud, NEWEST, OLDEST, Receiver, Run, ScriptedLlm, Step};

async fn llm() -> ScriptedLlm {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Do the task", [Step::finish("Done.")]);
    llm
}

#[tokio::test]
async fn a_named_profile_is_used_and_a_missing_one_falls_back() {
    let (llm, server) = (llm().await, AgentServer::shared(NEWEST).await);
    let mut settings = account_settings(&llm);
    settings["llm_profiles"] =
        json!({"active": null, "profiles": {"fast": {"model": "openai/fast", "base_url": llm.url(), "api_key": "k"}}});
    let cloud = Cloud::start(&server.key, settings, &[]).await;
    let run = |task: &str| Run::inside(server).account(&cloud).task(task);

    run("Do the task.").env("AUTOMATION_MODEL", "fast").finish().await.exits_with(0).says("openai/fast");
    let fallback = run("Do the task.").env("AUTOMATION_MODEL", "slow").finish().await.exits_with(0);
    fallback.says("no LLM profile `slow`; it has fast; using the account's default LLM").says("openai/scripted");
    run("---\nllm: {profile: fast, model: openai/own}\n---\nDo the task.")
        .finish()
        .await
        .exits_with(0)
        .says("openai/own");
    let missing = run("---\nllm: {profile: slow}\n---\nDo the task.").finish().await.exits_with(78);
    missing.says("the account has no LLM profile `slow`; it has fast");
    // Under the automation service the environment names one where the automation has a model.
    run("---\nllm: {profile: fast}\n---\nDo the task.")
        .env("AUTOMATION_MODEL", "slow")
        .finish()
        .await
        .exits_with(0)
        .says("openai/fast");
    let mistyped = run("Do the task.").args(["--profile", "fats"]).finish().await.exits_with(78);
    mistyped.says("the account has no LLM profile `fats`; it has fast");
}

#[tokio::test]
async fn a_task_that_brings_its_own_model_needs_neither_the_environments_profile_nor_a_default() {
    // Without settings, and so without any LLM of its own.
    let (llm, server) = (llm().await, &AgentServer::lent(OLDEST).await);
    let own = format!("llm: {{model: openai/scripted, api_key: sk-key-of-the-task, base_url: '{}'}}", llm.url());
    let run = |fields: &str| {
        let run = Run::inside(server).env("AGENT_SERVER_URL", server.url("")).env("AUTOMATION_MODEL", "gone");
        run.task(&format!("---\n{fields}\n---\nDo the task."))
    };
    let finished = run(&own).finish().await.exits_with(0);
    finished.says("no LLM profile `gone`").says("openai/scripted").never_shows("sk-key-of-the-task");
    run("llm: {temperature: 0.5}").finish().await.exits_with(78).says("the account has no LLM: choose one");
}

#[tokio::test]
async fn secrets_that_nobody_has_asked_for_by_name_may_be_missing() {
    let (llm, server) = (llm().await, AgentServer::shared(NEWEST).await);
    let cloud = Cloud::start(&server.key, account_settings(&llm), &[("A", "1")]).await;
    Mock::given(method("GET"))
        .and(path(format!("/api/v1/sandboxes/{SANDBOX_ID}/settings/secrets")))
        .respond_with(ResponseTemplate::new(403).set_body_json(json!({"detail": "Forbidden"})))
        .with_priority(1)
        .mount(&cloud.server)
        .await;
    let run = |task: &str| Run::inside(server).account(&cloud).task(task);
    run("Do the task.").finish().await.exits_with(0).says("continuing without the account's secrets");
    run("---\nsecrets: [A]\n---\nDo the task.").finish().await.exits_with(69).says("403 Forbidden");
}

#[tokio::test]
async fn a_secret_that_does_not_exist_is_an_error_that_lists_what_exists() {
    let (llm, server, receiver) = (llm().await, AgentServer::shared(NEWEST).await, Receiver::start().await);
    let cloud = Cloud::start(&server.key, account_settings(&llm), &[("A", "1"), ("B", "2")]).await;
    let finished = Run::inside(server)
        .account(&cloud)
        .reports_to(&receiver, "no-secret")
        .task("---\nsecrets: [A, GITHUB_TOKEN]\n---\nDo the task.")
        .finish()
        .await
        .exits_with(78);
    finished.says("the account has no secret GITHUB_TOKEN; it has A and B");
    assert_eq!(receiver.accepted()["status"], "FAILED");
}

#[tokio::test]
async fn transient_errors_of_the_cloud_are_retried() {
    let (llm, server) = (llm().await, AgentServer::shared(NEWEST).await);
    let cloud = Cloud::start(&server.key, account_settings(&llm), &[]).await;
    for status in [429, 500, 503] {
        Mock::given(method("GET"))
            .and(path("/api/v1/users/me"))
            .respond_with(ResponseTemplate::new(status).insert_header("retry-after", "1"))
            .up_to_n_times(1)
            .with_priority(1)
            .mount(&cloud.server)
            .await;
    }
    Run::inside(server).account(&cloud).task("Do the task.").finish().await.exits_with(0).says("retrying");
}

#[tokio::test]
async fn a_key_that_is_refused_for_a_moment_is_tried_again() {
    let (llm, server) = (llm().await, AgentServer::shared(NEWEST).await);
    let cloud = Cloud::start(&server.key, account_settings(&llm), &[]).await;
    let refused = ResponseTemplate::new(401).set_body_json(json!({"detail": "Unauthorized"}));
    Mock::given(method("GET")).respond_with(refused).up_to_n_times(2).with_priority(1).mount(&cloud.server).await;
    Run::inside(server).account(&cloud).task("Do the task.").finish().await.exits_with(0).says("401 Unauthorized");
}

#[tokio::test]
async fn a_key_that_stays_refused_is_final() {
    let (llm, server, receiver) = (llm().await, AgentServer::shared(NEWEST).await, Receiver::start().await);
    let cloud = Cloud::start("another session key", account_settings(&llm), &[]).await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(401).set_body_json(json!({"detail": "Unauthorized"})))
        .with_priority(9)
        .mount(&cloud.server)
        .await;
    let run = Run::inside(server).account(&cloud).reports_to(&receiver, "refused-by-the-cloud").task("Do the task.");
    run.finish().await.exits_with(69).says("401 Unauthorized");
    assert_eq!(receiver.accepted()["error"]["code"], "CredentialsRefused");
}

#[tokio::test]
async fn the_agent_servers_refusal_is_told_apart() {
    let (llm, server, receiver) = (llm().await, AgentServer::shared(NEWEST).await, Receiver::start().await);
    let run = Run::inside(server)
        .llm(&llm)
        .env("SESSION_API_KEY", "wrong-session-key")
        .reports_to(&receiver, "refused-by-the-server");
    run.task("Do the task.").finish().await.exits_with(69).says("401");
    assert_eq!(receiver.accepted()["error"]["code"], "CredentialsRefused");
}

#[tokio::test]
async fn a_program_inside_has_its_workspace_by_the_port() {
    let (llm, server) = (llm().await, AgentServer::shared(NEWEST).await);
    let cloud = Cloud::start(&server.key, account_settings(&llm), &[("A", "1")]).await;
    let builder = InsideWorkspace::builder().api_key(API_KEY).url(cloud.url().parse().unwrap()).port(server.port);
    let inside = builder.sandbox_id(SANDBOX_ID).session_key(server.key.as_str()).open().await.unwrap();
    inside.server().client.authenticated().await.unwrap();
    assert_eq!(inside.llm().await.unwrap().model_name(), Some("openai/scripted"));
    assert!(inside.secrets().await.unwrap().contains_key("A"));
}

crate::on_newest_and_oldest!(the_accounts_mcp_servers_and_the_link_for_people_reach_the_conversation);

async fn the_accounts_mcp_servers_and_the_link_for_people_reach_the_conversation(server: &AgentServer) {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Do the task", [Step::terminal("echo $AUTOMATION_SESSION_URL > url"), Step::finish("done")]);
    let mut settings = account_settings(&llm);
    let mcp = McpServer::start().await;
    settings["mcp_config"] = json!({"shttp_servers": [{"url": mcp.url(), "api_key": "key-of-the-mcp-server"}]});
    let cloud = Cloud::start(&server.key, settings, &[]).await;
    let working_dir = server.working_dir();
    let finished = Run::inside(server)
        .account(&cloud)
        .env("WORKSPACE_BASE", &working_dir)
        .env("AUTOMATION_RUN_ID", uuid::Uuid::new_v4().to_string())
        .task("Do the task.")
        .args(["--format", "json"])
        .finish()
        .await
        .exits_with(0)
        .never_shows("key-of-the-mcp-server");

    assert!(mcp.asked().iter().any(|key| key == "Bearer key-of-the-mcp-server"), "{:?}", mcp.asked());
    let id = finished.json()["conversation_id"].as_str().unwrap().to_owned();
    let seen = std::fs::read_to_string(working_dir.join("url")).unwrap();
    assert_eq!(seen.trim(), format!("{}/canvas/conversations/{id}", cloud.url()));
}
