//! Runs that are driven from here, in sandboxes of the real open-source app server.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::cloud_sandbox::outside;
use crate::support::{CloudServer, Gates, Receiver, Run, ScriptedLlm, Step};

/// The agent of the task, its reminders and its deadline, and who is notified, in this sandbox. The agent does what is wrong first.
async fn what_the_task_wants_is_done_in(cloud: &CloudServer, sandbox: &str, llm: &ScriptedLlm) {
    let (gates, work) = (Gates::new(), tempfile::tempdir().unwrap());
    let run = |mut fields: Value, message: &str, deadline: Duration| {
        fields["working_dir"] = work.path().to_str().unwrap().into();
        let deadline = (SystemTime::now() + deadline).duration_since(UNIX_EPOCH).unwrap().as_secs().to_string();
        let run = outside(cloud, ["run", "--workspace", "cloud", "--sandbox", sandbox, "--deadline", &deadline]);
        run.args(["--format", "json", "task.md"]).file("task.md", format!("---\n{fields}\n---\n{message}"))
    };
    let command = |command: &str, risk: &str| {
        Step::call("terminal", json!({"command": command, "security_risk": risk, "timeout": 150}))
    };
    let task = |name: &str| {
        Step::call("task", json!({"prompt": "Count the files", "subagent_type": name, "security_risk": "LOW"}))
    };
    let held = command(&gates.wait("held"), "LOW");
    gates.close("held");
    let other = command("touch other", "LOW");
    llm.script(
        "Work with an agent of your own",
        [
            command("touch risky", "HIGH"),
            task("nobody"),
            task("counter"),
            other.clone(),
            other,
            held.clone(),
            Step::finish("Counted."),
        ],
    );
    llm.script("Count the files", [command("ls | wc -l >counted", "LOW"), Step::finish("Counted.")]);
    let hook = Receiver::start().await;
    let agent = json!({"tools": ["terminal"], "system_prompt_suffix": "Be brief.", "confirmation_policy": "risky", "security_analyzer": "llm",
        "sub_agents": [{"name": "counter", "description": "Counts files", "tools": ["terminal"]}]});
    let fields = json!({"agent": agent, "notify": [{"url": hook.url()}], "limits": {"iterations": 8}});
    let running =
        run(fields, "Work with an agent of your own", Duration::from_secs(3600)).args(["--out", "out"]).start();
    running.says("a limit of the run is near; reminding the agent").await;
    gates.open("held");
    let done = running.finish().await.exits_with(0);
    let result = done.json();
    assert_eq!(result["warnings"][0], "actions that needed a confirmation and were rejected: 1", "{result:#}");
    assert!(work.path().join("counted").exists() && !work.path().join("risky").exists(), "{result:#}");
    let events = std::fs::read_to_string(done.path("out/events.jsonl")).unwrap();
    assert!(events.contains("A reminder of the limits") && events.contains(" 2 of 8 steps left."), "{events}");
    let prompt = events.lines().find(|line| line.contains(r#""kind":"SystemPromptEvent""#)).unwrap();
    assert!(prompt.contains("Be brief.") && !prompt.contains("str_replace"), "{prompt}");
    assert_eq!(hook.accepted()["conversation_id"], result["conversation_id"]);

    // An agent that has not finished when its time is nearly up.
    gates.close("held");
    llm.script("Work until you are asked to stop", [held, Step::finish("All of it is done.")]);
    llm.script("Your time is nearly up", [Step::terminal("touch half"), Step::finish("Half of it is done.")]);
    let run = run(json!({"checks": ["test -e half"]}), "Work until you are asked to stop", Duration::from_secs(46));
    let running = run.args(["--soft-landing", "18s"]).start();
    running.says("asking the agent to wrap up").await;
    gates.open("held");
    let result = running.finish().await.exits_with(0).json();
    assert_eq!((&result["message"], &result["cut_short"]), (&"Half of it is done.".into(), &true.into()), "{result:#}");
    assert_eq!(result["checks"][0]["status"], "passed", "{result:#}");
}

#[tokio::test]
async fn a_run_in_the_cloud_is_driven_from_here_and_leaves_no_sandbox() {
    let cloud = &CloudServer::lent().await;
    let (llm, receiver) = (ScriptedLlm::start(0).await.unwrap(), Receiver::start().await);
    llm.script("Do the task", [Step::terminal("echo ${B_SECRET#top-} > left; pwd"), Step::finish("Done.")]);
    cloud.set_llm(&llm).await;
    cloud.set_secret("B_SECRET", "top-other-value").await;
    // The sandboxes of the tests are on this machine.
    let work = tempfile::tempdir().unwrap();
    let task = format!("---\nworking_dir: {}\n---\nDo the task.", work.path().display());
    let relative = outside(cloud, ["run", "--workspace", "cloud", "task.md"])
        .file("task.md", "---\nworking_dir: work\n---\nDo the task.");
    relative.finish().await.exits_with(78).says("working_dir: a relative path");
    let run = outside(cloud, ["run", "--workspace", "cloud", "--keep-alive", "--format", "json", "task.md"])
        .file("task.md", &task)
        .reports_to(&receiver, "cloud-run");
    let done = run.finish().await.exits_with(0).never_shows("top-other-value").never_shows("sk-inherited-key");
    assert_eq!(done.json()["message"], "Done.");
    assert_eq!(receiver.accepted()["status"], "COMPLETED");
    let kept = cloud.sandboxes().await;
    let id = kept[0]["id"].as_str().unwrap();
    assert_eq!(done.json()["sandbox_id"], id);
    assert_eq!(std::fs::read_to_string(work.path().join("left")).unwrap(), "other-value\n");

    // The conversation of before is in it.
    let conversation = done.json()["conversation_id"].as_str().unwrap().to_owned();
    let report = outside(cloud, ["report", "--conversation", &conversation, "--sandbox", id, "--output", "-"]);
    let page = report.finish().await.exits_with(0).never_shows("top-other-value").stdout;
    assert!(page.contains("<h1>Conversation</h1>") && page.contains("Done."), "{page}");

    // In the sandbox of before, which stays; what fails is a failure of the run.
    let again = outside(cloud, ["run", "--workspace", "cloud", "--sandbox", id, "--profile", "none", "task.md"]);
    again.file("task.md", task.replacen("---\n", "---\nsecrets: [NO_SUCH]\n", 1)).finish().await.exits_with(78);
    assert_eq!(cloud.sandboxes().await.len(), 1);
    what_the_task_wants_is_done_in(cloud, id, &llm).await;
    outside(cloud, ["sandbox", "delete", id]).finish().await.exits_with(0);

    // What the sandbox holds of the changes is fetched before it is deleted.
    let repository = std::process::Command::new("git").args(["init", "-q"]).arg(work.path()).status().unwrap();
    assert!(repository.success());
    llm.script("These checks failed", [Step::terminal("cp left checked"), Step::finish("Done at last.")]);
    let fields = "---\nsetup: [pwd >set-up]\nchecks: [grep . checked]\ncollect: [left]\n";
    let run = outside(cloud, ["run", "--workspace", "cloud", "--out", "out", "task.md"]);
    let run = run.file("task.md", task.replacen("---\n", fields, 1));
    let done = run.finish().await.exits_with(0).says("sandbox deleted");
    assert_eq!(done.stdout, "Done at last.\n");
    let result: Value = serde_json::from_slice(&std::fs::read(done.path("out/result.json")).unwrap()).unwrap();
    assert_eq!((&result["setup"][0]["status"], &result["check_attempts"]), (&json!("passed"), &json!(2)), "{result:#}");
    let set_up = std::fs::read_to_string(work.path().join("set-up")).unwrap();
    assert_eq!(set_up.trim(), work.path().to_str().unwrap());
    let patch = std::fs::read_to_string(done.path("out/changes.patch")).unwrap();
    assert!(patch.contains("diff --git a/left b/left\n") && patch.contains("\n+other-value\n"), "{patch}");
    assert_eq!(std::fs::read_to_string(done.path("out/collected/left")).unwrap(), "other-value\n");
    assert_eq!(cloud.sandboxes().await, Vec::<Value>::new());
    let clones = outside(cloud, ["run", "--workspace", "cloud", "task.md"]);
    let clones =
        clones.file("task.md", "---\nrepos: [\"https://github.com/octo/alpha\"]\n---\nx").finish().await.exits_with(78);
    clones.says("repos: a run with `--workspace cloud`").says("use `openhands-runner launch`");
    Run::new()
        .args(["run", "--workspace", "cloud", "task.md"])
        .file("task.md", "x")
        .finish()
        .await
        .exits_with(78)
        .says("OPENHANDS_API_KEY: not set");
}
