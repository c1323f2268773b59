//! `automation` against the real automation service, in both versions; runs with our binary in front of a real agent-server.

use openhands_client::automation::{AutomationService as Client, NewAutomation, Tarball, Trigger};
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::automation_service::profile;
use crate::support::{AgentServer, AutomationService, NEWEST, Run, ScriptedLlm, Step};

const NEVER: &str = "0 0 1 1 *";

/// A name that no other test has.
fn name() -> String {
    format!("automation {}", uuid::Uuid::new_v4().simple())
}

/// Where a sandbox of the tests gets the binary.
fn binary() -> String {
    format!("file://{}", env!("CARGO_BIN_EXE_openhands-runner"))
}

async fn scripted(task: &str, step: Step) -> (ScriptedLlm, String) {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script(task, [step]);
    let profile = profile(AgentServer::shared(NEWEST).await, &llm).await;
    (llm, profile)
}

fn done(summary: &str) -> Step {
    Step::call("finish", json!({"message": "said", "status": "success", "outcome_summary": summary}))
}

/// The id of the automation that a `create` with this name and task makes.
async fn create(service: &AutomationService, name: &str, profile: &str, task: &str) -> String {
    let binary = binary();
    let words = ["automation", "create", "task.yaml", "--cron", NEVER, "--timezone", "Europe/Berlin", "--name", name];
    let created = Run::scheduled_by(service).file("task.yaml", task).args(words);
    let created = created.args(["--runner", &binary, "--profile", profile, "--format", "json"]).finish().await;
    let created = created.exits_with(0).json();
    assert_eq!(created["trigger"]["timezone"], "Europe/Berlin", "{created:#}");
    created["id"].as_str().unwrap().to_owned()
}

async fn an_automation_lives_from_its_creation_to_its_deletion(service: &AutomationService) {
    let (_llm, profile) = scripted("Say hello", done("Said hello.")).await;
    let name = name();
    let task = "{prompt: Say hello, description: A greeting., limits: {timeout: 3m}}";
    let id = &*create(service, &name, &profile, task).await;
    let shown = Run::scheduled_by(service)
        .args(["automation", "show", id, "--format", "json"])
        .finish()
        .await
        .exits_with(0)
        .json();
    assert_eq!((&shown["name"], &shown["state"]), (&json!(name), &json!("ACTIVE")), "{shown:#}");
    assert_eq!((&shown["timeout_secs"], &shown["description"]), (&json!(240), &json!("A greeting.")), "{shown:#}");
    assert_eq!((&shown["entrypoint"], &shown["runs"]), (&json!("exec ./openhands-runner"), &json!([])), "{shown:#}");
    Run::scheduled_by(service).args(["automation", "logs", id]).finish().await.exits_with(78).says("no run yet");

    let ended = Run::scheduled_by(service).args(["automation", "run", id, "--wait"]).finish().await;
    let ended = ended.exits_with(0).says("Agent is working on the task");
    ended.says_on_stdout("COMPLETED").says_on_stdout("success: Said hello.").says_on_stdout("message      said");
    let logs = Run::scheduled_by(service).args(["automation", "logs", id, "--output-format", "json"]).finish().await;
    let logs = logs.exits_with(0).json();
    assert_eq!((&logs["status"], &logs["message"]), (&json!("COMPLETED"), &json!("said")), "{logs:#}");
    assert!(logs["cost"].as_f64().unwrap() > 0.0 && logs["conversation_id"].is_string(), "{logs:#}");
    let run = logs["id"].as_str().unwrap();
    Run::scheduled_by(service).args(["automation", "show", id]).finish().await.exits_with(0).says_on_stdout(run);
    let other = uuid::Uuid::new_v4().to_string();
    let refused = Run::scheduled_by(service).args(["automation", "logs", id, &other]).finish().await;
    refused.exits_with(78).says("has no run").says("automation show");

    let list = Run::scheduled_by(service).args(["automation", "list"]).finish().await.exits_with(0);
    list.says_on_stdout(id).says_on_stdout("0 0 1 1 * (Europe/Berlin)");
    Run::scheduled_by(service).args(["automation", "delete", id]).finish().await.exits_with(0);
    assert_eq!(service.named(&name).await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_automation_lives_from_its_creation_to_its_deletion_on_1_25() {
    an_automation_lives_from_its_creation_to_its_deletion(AutomationService::shared().await).await;
}

#[tokio::test]
async fn an_automation_lives_from_its_creation_to_its_deletion_on_1_26() {
    an_automation_lives_from_its_creation_to_its_deletion(AutomationService::newest().await).await;
}

#[tokio::test]
async fn a_run_that_fails_gives_its_reason_and_exit_code_1() {
    let service = AutomationService::shared().await;
    let (_llm, profile) = scripted("Ask in vain", Step::fail(401, "no such key")).await;
    let id = create(service, &name(), &profile, "prompt: Ask in vain").await;
    let ended =
        Run::scheduled_by(service).args(["automation", "run", &id, "--wait", "--format", "json"]).finish().await;
    let ended = ended.exits_with(1).json();
    assert_eq!((&ended["status"], &ended["error"]["kind"]), (&json!("FAILED"), &json!("auth")), "{ended:#}");
}

#[tokio::test]
async fn an_update_changes_what_is_named_and_replaces_the_tarball() {
    let service = AutomationService::shared().await;
    let (llm, profile) = scripted("Say hello", done("Said hello.")).await;
    llm.script("Say goodbye", [done("Said goodbye.")]);
    let name = name();
    let id = &*create(service, &name, &profile, "{prompt: Say hello, limits: {timeout: 3m}}").await;
    let binary = binary();
    let update = |words: &[&'static str]| {
        let words: Vec<&str> = ["automation", "update", id].iter().chain(words).copied().collect();
        words.into_iter().fold(Run::scheduled_by(service).file("new.md", "Say goodbye."), |run, word| run.args([word]))
    };
    update(&[]).finish().await.exits_with(2).says("nothing to change");
    let changed = update(&["--cron", "5 4 * * *", "--disable", "--format", "json"]).finish().await.exits_with(0).json();
    assert_eq!((&changed["state"], &changed["timeout_secs"]), (&json!("INACTIVE"), &json!(240)), "{changed:#}");
    assert_eq!(changed["trigger"]["schedule"], "5 4 * * *", "{changed:#}");
    let before = service.named(&name).await;
    update(&["new.md", "--cron", "soon"]).args(["--runner", &binary]).finish().await.exits_with(78).says("soon");
    assert_eq!(service.named(&name).await, before);
    update(&["new.md", "--enable"]).args(["--runner", &binary]).finish().await.exits_with(0);
    let after = service.named(&name).await;
    assert_eq!(after.len(), 2, "one automation, one upload: {after:?}");
    assert_ne!(before[1]["id"], after[1]["id"]);
    let automation = service.automation(id).await;
    let ended = automation.dispatch().await.ended().await;
    assert_eq!(ended["status"], "COMPLETED", "{ended:#}");
    let outcome = &ended["run_metadata"]["finish_tool_response"]["outcome_summary"];
    assert_eq!(outcome, "Said goodbye.", "{ended:#}");
}

#[tokio::test]
async fn a_mistake_is_one_clear_error_and_leaves_nothing_on_the_service() {
    let service = AutomationService::shared().await;
    let name = &*name();
    let create =
        |run: Run, task: &str| run.file("task.md", task).args(["automation", "create", "task.md", "--name", name]);
    let refused = create(Run::scheduled_by(service), "Do it.").args(["--cron", "every night"]).finish().await;
    let refused = refused.exits_with(78).says("Invalid cron expression: every night");
    assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    let refused =
        create(Run::scheduled_by(service), "Do it.").args(["--cron", NEVER, "--timezone", "Mars/Base"]).finish().await;
    refused.exits_with(78).says("Mars/Base");
    let refused =
        create(Run::scheduled_by(service), "Do it.").args(["--cron", NEVER, "--tag", "nightly"]).finish().await;
    refused.exits_with(78).says("tags need automation service 1.26.0");
    let event = ["--event", "github", "--on", "push", "--filter", "ref =="];
    let refused = create(Run::scheduled_by(service), "Do it.").args(event).finish().await;
    refused.exits_with(78).says("Invalid filter expression");
    let broken = "---\nlimits: {cost: cheap}\n---\nDo it.";
    create(Run::scheduled_by(service), broken)
        .args(["--cron", NEVER])
        .finish()
        .await
        .exits_with(78)
        .says("task.md")
        .says("cheap");
    let of_event = "---\nname: n\n---\nLook at {{ event.number }}.";
    let refused = create(Run::scheduled_by(service), of_event).args(["--cron", NEVER]).finish().await;
    refused.exits_with(78).says("the run's trigger is cron");
    // Nothing of it can be compressed away.
    let long: String = std::iter::repeat_with(|| fastrand::char('!'..='~')).take(1_040_000).collect();
    let refused = create(Run::scheduled_by(service), &format!("{long}{long}")).args(["--cron", NEVER]).finish().await;
    refused.exits_with(78).says("more than 1 MiB");
    let wrong_key = Run::scheduled_by(service).env("AUTOMATION_LOCAL_API_KEY", "not-the-key");
    let refused = create(wrong_key, "Do it.").args(["--cron", NEVER]).finish().await;
    refused.exits_with(69).says("AUTOMATION_LOCAL_API_KEY");
    let wrong_address =
        Run::scheduled_by(service).env("AUTOMATION_API_URL", service.url().replace("/api/automation", "/api"));
    let refused = create(wrong_address, "Do it.").args(["--cron", NEVER]).finish().await;
    refused.exits_with(69).says("ends in /api/automation");
    let no_key = Run::new().env("AUTOMATION_API_URL", service.url()).env("OPENHANDS_API_KEY", "key-of-the-cloud");
    create(no_key, "Do it.")
        .args(["--cron", NEVER])
        .finish()
        .await
        .exits_with(78)
        .says("AUTOMATION_LOCAL_API_KEY: not set");
    assert_eq!(service.named(name).await, Vec::<Value>::new());

    let unknown = uuid::Uuid::new_v4().to_string();
    for words in [&["show"][..], &["run"], &["run", "--wait"], &["logs"], &["delete"], &["update", "--disable"]] {
        let run = words.iter().fold(Run::scheduled_by(service).args(["automation"]), |run, word| run.args([word]));
        let refused = run.args([&unknown]).finish().await.exits_with(78);
        refused.says(&format!("there is no automation {unknown}")).says("automation list");
    }
}

#[tokio::test]
async fn tags_are_those_of_the_service_that_knows_them() {
    let service = AutomationService::newest().await;
    let name = &*name();
    let created = Run::scheduled_by(service).file("task.md", "Do it.");
    let created =
        created.args(["automation", "create", "--cron", NEVER, "--name", name, "--tag", "nightly", "--tag", "docs"]);
    let created = created.args(["--format", "json"]).finish().await.exits_with(0).json();
    assert_eq!(created["tags"], json!(["nightly", "docs"]), "{created:#}");
    let id = created["id"].as_str().unwrap();
    let updated =
        Run::scheduled_by(service).args(["automation", "update", id, "--no-tags", "--format", "json"]).finish().await;
    assert_eq!(updated.exits_with(0).json()["tags"], json!([]));
    Run::scheduled_by(service).args(["automation", "delete", id]).finish().await.exits_with(0);
}

#[tokio::test]
async fn an_event_triggers_the_automation_that_was_created_for_it() {
    let service = AutomationService::shared().await;
    let (_llm, profile) = scripted("Sum up the order 7", done("Said hello.")).await;
    let webhook = service.webhook().await;
    let (binary, name) = (binary(), name());
    let created =
        Run::scheduled_by(service).file("task.md", "---\nname: n\n---\nSum up the order {{ event.payload.number }}.");
    let created =
        created.args(["automation", "create", "--event", &webhook.source, "--on", "order.*", "--name", &name]);
    let created = created.args(["--filter", "number > `5`", "--runner", &binary, "--profile", &profile]);
    let created = created.args(["--format", "json"]).finish().await.exits_with(0).json();
    assert_eq!(webhook.tell(&json!({"type": "order.placed", "number": 3})).await["matched"], 0);
    let taken = webhook.tell(&json!({"type": "order.placed", "number": 7})).await;
    let automation = service.automation(created["id"].as_str().unwrap()).await;
    let ended = automation.run(&taken["runs_created"][0]).ended().await;
    assert_eq!(ended["status"], "COMPLETED", "{ended:#}");
}

/// No real service loses a response on demand.
#[tokio::test]
async fn a_creation_whose_response_is_lost_is_found_in_the_list() {
    let server = MockServer::start().await;
    let id = uuid::Uuid::new_v4().to_string();
    let made = json!({"id": id, "name": "n", "trigger": {"type": "cron", "schedule": NEVER}, "entrypoint": "exec e",
        "tarball_path": "oh-internal://uploads/1", "state": "ACTIVE"});
    Mock::given(method("POST"))
        .and(path("/v1"))
        .respond_with(ResponseTemplate::new(502))
        .expect(2)
        .mount(&server)
        .await;
    let list = ResponseTemplate::new(200).set_body_json(json!({"automations": [made], "total": 1}));
    Mock::given(method("GET")).and(path("/v1")).respond_with(list).mount(&server).await;
    let client = Client::at(server.uri().parse().unwrap(), "key").unwrap();
    let trigger = Trigger::Cron { schedule: NEVER.to_owned(), timezone: "UTC".to_owned() };
    let new = |tarball| NewAutomation::new("n", trigger.clone(), Tarball::at(tarball), "exec e");
    let found = client.create(&new("oh-internal://uploads/1")).await.unwrap();
    assert_eq!(found.id.to_string(), id);
    client.create(&new("oh-internal://uploads/2")).await.unwrap_err();
}
