//! `check`: the table says what is so.

use serde_json::{Value, json};
use wiremock::matchers::{method, path, query_param_is_missing};
use wiremock::{Mock, ResponseTemplate};

use crate::support::automation_service::profile;
use crate::support::run::account_settings;
use crate::support::{AgentServer, Cloud, CloudServer, NEWEST, Receiver, Run, ScriptedLlm};

fn line<'l>(table: &'l Value, what: &str) -> &'l Value {
    table["lines"].as_array().unwrap().iter().find(|line| line["what"] == what).unwrap_or_else(|| panic!("{table:#}"))
}

#[tokio::test]
async fn inside_a_sandbox_it_asks_everyone_that_a_run_would_ask() {
    let (llm, server, receiver) =
        (ScriptedLlm::start(0).await.unwrap(), AgentServer::shared(NEWEST).await, Receiver::start().await);
    let cloud = Cloud::start(&server.key, account_settings(&llm), &[("A", "1"), ("B", "2")]).await;
    let user = ResponseTemplate::new(200).set_body_json(json!({}));
    let without_keys = query_param_is_missing("expose_secrets");
    Mock::given(method("GET"))
        .and(path("/api/v1/users/me"))
        .and(without_keys)
        .respond_with(user)
        .mount(&cloud.server)
        .await;
    let check = |arguments: [&str; 3]| Run::inside(server).account(&cloud).reports_to(&receiver, "r").args(arguments);

    let good = check(["check", "--format", "json"]).file("task.md", "x").finish().await.exits_with(0);
    let good = good
        .never_shows(&server.key)
        .never_shows(crate::support::cloud::API_KEY)
        .never_shows("sk-inherited-key")
        .json();
    assert!(good["lines"].as_array().unwrap().iter().all(|line| line["good"] == true), "{good:#}");
    assert!(line(&good, "agent-server")["found"].as_str().unwrap().starts_with(NEWEST));
    assert_eq!(line(&good, "account's LLM")["found"], "openai/scripted");
    assert_eq!(line(&good, "secrets")["found"], "A and B");
    assert!(receiver.callbacks().is_empty());

    let bad =
        check(["check", "--format", "json"]).env("SESSION_API_KEY", "wrong-session-key").env("SANDBOX_ID", "other");
    let bad = bad.env("AUTOMATION_CALLBACK_URL", "http://127.0.0.1:1/").finish().await.exits_with(69).json();
    for what in ["agent-server", "secrets", "callback"] {
        assert_eq!(line(&bad, what)["good"], false, "{what}");
        assert!(line(&bad, what)["advice"].is_string(), "{what}");
    }
}

#[tokio::test]
async fn on_a_laptop_with_a_good_account_all_is_good() {
    let cloud = &CloudServer::lent().await;
    let llm = ScriptedLlm::start(0).await.unwrap();
    cloud.set_llm(&llm).await;
    let table = Run::outside(cloud).args(["check", "--format", "json"]).finish().await.exits_with(0).json();
    assert!(table["lines"].as_array().unwrap().iter().all(|line| line["good"] == true), "{table:#}");
    assert_eq!(line(&table, "agent-server")["found"], "not inside a sandbox");
    assert!(line(&table, "Cloud API")["found"].as_str().unwrap().contains("accepts the key"));
    assert_eq!(line(&table, "account's LLM")["found"], "openai/scripted");
}

#[tokio::test]
async fn with_nothing_set_it_says_what_to_set() {
    let finished = Run::new().args(["check"]).file("task.md", "---\nnmae: x\n---\nx").finish().await.exits_with(78);
    for words in ["! ", "OPENHANDS_API_KEY not set", "-> make a key", "did you mean `name`", "not inside a sandbox"] {
        assert!(finished.stdout.contains(words), "no \"{words}\" in\n{}", finished.stdout);
    }
    let template = "---\nname: x\n---\n{{ event.issue.title }}";
    let waits = Run::new().args(["check"]).file("task.md", template).finish().await.exits_with(78);
    assert!(waits.stdout.contains("ok task "), "{}", waits.stdout);
    let wrong = format!("{template}\n").replace("event.issue.title", "evnt.issue");
    let wrong = Run::new().args(["check"]).file("task.md", &wrong).finish().await.exits_with(78);
    assert!(wrong.stdout.contains("task.md:4:4: nothing is named `evnt`"), "{}", wrong.stdout);
    let both = "---\nlimits: { cost: abc }\nsecrets: []\n---\n{{ evnt.issue }}";
    for command in ["check", "run"] {
        let both = Run::new().args([command]).file("task.md", both).finish().await.exits_with(78);
        let said = format!("{}{}", both.stdout, both.stderr);
        for mistake in ["invalid value `abc` for `limits.cost`", "nothing is named `evnt`"] {
            assert!(said.contains(mistake), "{mistake}: {said}");
        }
    }
    let odd = Run::new().args(["check"]).env("AGENT_SERVER_PORT", "x").finish().await.exits_with(78);
    assert!(odd.stdout.contains("AGENT_SERVER_PORT: invalid value `x`"), "{}", odd.stdout);
}

#[tokio::test]
async fn self_hosted_it_asks_the_agent_server_alone() {
    let server = AgentServer::shared(NEWEST).await;
    let check = Run::new().env("AGENT_SERVER_URL", server.url("")).env("SESSION_API_KEY", &server.key);
    let table = check
        .args(["check", "--format", "json"])
        .env("LLM_MODEL", "m")
        .env("LLM_API_KEY", "sk-key-of-the-test")
        .finish()
        .await;
    let table = table.exits_with(0).json();
    assert_eq!(line(&table, "agent-server")["good"], true);
    assert_eq!(line(&table, "LLM")["found"], "m, given by LLM_ variables");
    assert_eq!(line(&table, "secrets")["good"], true);
    assert!(!table.to_string().contains("agent profile"), "{table:#}");
}

#[tokio::test]
async fn the_agent_profile_of_the_task_or_the_environment_is_looked_up() {
    let (server, llm) = (AgentServer::shared(NEWEST).await, ScriptedLlm::start(0).await.unwrap());
    let known = crate::agent_profile::agent_profile(server, &profile(server, &llm).await, &[]).await;
    let check = |task: &str| {
        let run = Run::new().env("AGENT_SERVER_URL", server.url("")).env("SESSION_API_KEY", &server.key).llm(&llm);
        run.file("task.md", task).args(["check", "--format", "json"])
    };
    let of_task =
        check(&format!("---\nagent: {{profile: {known}}}\n---\nx")).env("AUTOMATION_AGENT_PROFILE_ID", "nobody");
    let table = of_task.finish().await.exits_with(0).json();
    assert!(line(&table, "agent profile")["found"].as_str().unwrap().starts_with(&known), "{table:#}");
    let table = check("x").env("AUTOMATION_AGENT_PROFILE_NAME", "nobody").finish().await.exits_with(78).json();
    let found = line(&table, "agent profile")["found"].as_str().unwrap();
    assert!(found.contains("no agent profile `nobody`; it has ") && found.contains(&known), "{table:#}");
    let outside = Run::new().env("AUTOMATION_AGENT_PROFILE_ID", "any").args(["check"]).finish().await;
    assert!(outside.stdout.contains("any; known only inside a sandbox"), "{}", outside.stdout);
}

#[tokio::test]
async fn the_configuration_of_a_plugin_counts_where_there_is_one() {
    let check = async |config: Option<&str>| {
        let run = Run::new().file("task.md", "---\nname: x\n---\nLook {{ config.depth }} deep.");
        let run = match config {
            Some(config) => run.file("config.json", config).env("AUTOMATION_CONFIG_PATH", "config.json"),
            None => run,
        };
        // There is no account.
        let table = run.args(["check", "--format", "json"]).finish().await.exits_with(78).json();
        line(&table, "task").clone()
    };
    for config in [None, Some(r#"{"depth": 3}"#)] {
        assert_eq!(check(config).await["good"], true, "{config:?}");
    }
    let wrong = check(Some(r#"{"width": 3}"#)).await;
    assert!(wrong["found"].as_str().unwrap().contains("`config` has no `depth`"), "{wrong}");
    let wrong = check(Some("[]")).await;
    assert!(wrong["found"].as_str().unwrap().starts_with("AUTOMATION_CONFIG_PATH: config.json: "), "{wrong}");
}
