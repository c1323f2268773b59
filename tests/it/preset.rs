//! Our requests against those of the automation service's own preset script.
//!
//! `tests/data/preset-1.25.0.json` is what the script of `openhands-automation` 1.25.0 sent to agent-server 1.58.0 for a
//! prompt preset in local mode, with two secrets and two MCP servers: the body that starts the conversation, its title,
//! and its secrets. Keys, addresses and paths are replaced by words.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::recorder::{Recorded, Recorder};
use crate::support::{AgentServer, NEWEST, Run, ScriptedLlm, Step};

/// Where we differ from the script, and why. A row is a place and everything below it.
const DIFFERENCES: &[(&str, &str)] = &[
    ("start/conversation_id", "chosen by us, so that a run that starts again finds its conversation"),
    ("start/autotitle", "we set the title at once; the script lets the server make one and then replaces it"),
    ("start/agent/llm/usage_id", "`agent`, whatever the inherited LLM was used for, so that its cost is told apart"),
    ("start/agent/agent_context/load_", "the server was asked for all of them already, and had none"),
    ("start/agent/agent_context/current_datetime", "the server's default: its own time"),
    ("start/agent/agent_context/marketplace_path", "the server's default"),
    ("start/agent/system_prompt_kwargs/llm_security_analyzer", "the server's default"),
    ("start/agent/tools/3/params/response_schema", "the same fields, described in our own words"),
    ("start/hook_config", "our own program instead of Python, and two hooks: the files of the others are not needed"),
    ("start/tool_module_qualnames", "the tools are registered in the server; older ones refuse unknown modules"),
    ("start/secrets", "sent with the conversation; the script adds them in a second request, compared below"),
    ("start/max_iterations", "the server's default"),
    ("start/stuck_detection", "the server's default"),
    ("secrets/MY_SECRET/headers/X-OpenHands-Observability", "the server's own endpoint reads no trace headers"),
    ("secrets/github_token/headers/X-OpenHands-Observability", "the server's own endpoint reads no trace headers"),
];

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Fields that the script's models write out with the server's default values.
fn is_default(place: &str, value: &Value) -> bool {
    let is_empty = match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    is_empty
        || matches!(
            place.strip_prefix("start/agent/").unwrap_or(place),
            "system_prompt_filename"
                | "security_policy_filename"
                | "tool_concurrency_limit"
                | "condenser/minimum_progress"
                | "condenser/hard_context_reset_max_retries"
                | "condenser/hard_context_reset_context_scaling"
        )
}

fn flattened(place: &str, value: &Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(name, value)| flattened(&format!("{place}/{name}"), value, into));
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().for_each(|(at, value)| flattened(&format!("{place}/{at}"), value, into));
        }
        leaf => {
            // A number is kept as it is written, and Python writes 1e-06.
            let leaf = leaf.as_f64().map_or_else(|| leaf.clone(), Value::from);
            into.insert(place.trim_start_matches('/').to_owned(), leaf);
        }
    }
}

fn replaced(value: &Value, words: &[(&str, &str)]) -> Value {
    let text = words.iter().fold(value.to_string(), |text, (word, by)| text.replace(word, by));
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn the_conversation_is_the_one_that_the_presets_script_starts() {
    let recorded: Value = serde_json::from_str(include_str!("../data/preset-1.25.0.json")).unwrap();
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script(
        "Say hello",
        [Step::call("finish", json!({"message": "m", "status": "success", "outcome_summary": "s"}))],
    );
    // Its settings would reach the other tests' runs.
    let server = AgentServer::start(NEWEST).await;
    configure(&server, &llm).await;
    let proxy = Recorder::to(server.port).await;
    let working_dir = server.working_dir();
    let metadata = &recorded["start"]["observability_metadata"];
    let of = |name: &str| metadata[name].as_str().unwrap().to_owned();
    let tags: Vec<&str> =
        recorded["start"]["observability_tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
    let payload =
        json!({"trigger": "cron", "automation_id": of("automation.id"), "automation_name": of("automation.name")});
    let address = format!("http://127.0.0.1:{}", proxy.port);
    Run::new()
        .file("prompt.txt", "Say hello, and list the files.")
        .env("AGENT_SERVER_URL", &address)
        .env("SESSION_API_KEY", &server.key)
        .env("WORKSPACE_BASE", &working_dir)
        .env("AUTOMATION_ID", of("automation.id"))
        .env("AUTOMATION_NAME", of("automation.name"))
        .env("AUTOMATION_RUN_ID", of("automation.run_id"))
        .env("AUTOMATION_USER_ID", of("automation.user_id"))
        .env("AUTOMATION_TRIGGER_SOURCE", "manual")
        .env("AUTOMATION_EVENT_PAYLOAD", payload.to_string())
        .env("OPENHANDS_OBSERVABILITY_METADATA", metadata.to_string())
        .env("OPENHANDS_OBSERVABILITY_TAGS", tags.join(","))
        .env("OPENHANDS_OBSERVABILITY_SPAN_NAME", "automation.conversation")
        // The script was recorded without a trace above it.
        .env("OPENHANDS_OBSERVABILITY_PARENT_SPAN_CONTEXT", "span-above")
        .env("TRACEPARENT", TRACEPARENT)
        // No one listens there: a run does not depend on its phases.
        .env("AUTOMATION_PHASE_URL", "http://127.0.0.1:9/phase")
        .finish()
        .await
        .exits_with(0);

    let Recorded { head, body: mut start, .. } = proxy.request("POST", |path| path == "/api/conversations");
    assert!(head.lines().any(|line| line == format!("traceparent: {TRACEPARENT}")), "{head}");
    let span = start.as_object_mut().unwrap().remove("observability_parent_span_context");
    assert_eq!(span, Some(json!("span-above")));
    let patched = proxy.body("PATCH", |_| true);
    let ours = json!({"secrets": start["secrets"], "title": title(&patched["title"]), "start": start});
    let theirs =
        json!({"secrets": recorded["secrets"], "title": title(&recorded["title"]), "start": recorded["start"]});
    let words = [
        (server.key.as_str(), "<masked>"),
        ("sk-key-of-the-test", "<masked>"),
        ("key-of-the-mcp-server", "<masked>"),
        (working_dir.to_str().unwrap(), "WORKING_DIR"),
        (&address, "AGENT_SERVER"),
        (&llm.url(), "LLM"),
    ];
    assert_eq!(differences(&replaced(&ours, &words), &theirs), Vec::<String>::new());
}

/// What differs without a row in the table, and rows that tell of no difference.
fn differences(ours: &Value, theirs: &Value) -> Vec<String> {
    let (mut our_fields, mut their_fields) = (BTreeMap::new(), BTreeMap::new());
    flattened("", ours, &mut our_fields);
    flattened("", theirs, &mut their_fields);
    let places: BTreeSet<&String> = our_fields.keys().chain(their_fields.keys()).collect();
    let mut unused: BTreeSet<&str> = DIFFERENCES.iter().map(|(place, _)| *place).collect();
    let mut unexplained = Vec::new();
    for place in places {
        let (own, other) = (our_fields.get(place), their_fields.get(place));
        if own == other
            || (own.is_none() && is_default(place, &their_fields[place]))
            || (other.is_none() && is_default(place, &our_fields[place]))
        {
            continue;
        }
        match DIFFERENCES.iter().find(|(row, _)| place.starts_with(row)) {
            Some((row, _)) => {
                unused.remove(row);
            }
            None => unexplained.push(format!("{place}: ours {own:?}, theirs {other:?}")),
        }
    }
    unexplained.extend(unused.into_iter().map(|row| format!("{row}: no difference any more")));
    unexplained
}

/// A title without its time.
fn title(title: &Value) -> String {
    let title = title.as_str().unwrap();
    let (name, time) = title.split_once(" — ").unwrap();
    assert_eq!(time.len(), "2026-11-23 02:27:48 UTC".len(), "{title}");
    name.to_owned()
}

/// The settings under which the script was recorded.
async fn configure(server: &AgentServer, llm: &ScriptedLlm) {
    let llm = json!({"model": "openai/scripted", "api_key": "sk-key-of-the-test", "base_url": llm.url(),
        "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06});
    let mcp = json!({
        "probe": {"url": "http://127.0.0.1:9/mcp", "transport": "http",
            "headers": {"Authorization": "Bearer key-of-the-mcp-server"}},
        "local": {"command": "false", "args": ["mcp", "stdio"], "env": {"PROBE_TOKEN": "key-of-the-mcp-server"}},
    });
    let diff = json!({"agent_settings_diff": {"llm": llm, "mcp_config": mcp}});
    server.send(Method::PATCH, "/api/settings", &diff).await;
    for secret in [
        json!({"name": "MY_SECRET", "value": "value-of-the-secret", "description": "a test secret"}),
        json!({"name": "github_token", "value": "value-of-the-token"}),
    ] {
        server.send(Method::PUT, "/api/settings/secrets", &secret).await;
    }
}
