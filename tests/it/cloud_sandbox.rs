//! Sandboxes of the real open-source app server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::signal::Signal;
use openhands_client::agent_server::wire::Agent;
use openhands_client::conversation::TurnEnd;
use openhands_client::sandbox::exec::Command;
use openhands_client::workspace::{CloudWorkspace, CloudWorkspaceBuilder};
use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::support::cloud_server::API_KEY;
use crate::support::git::{GitServer, Manner, Repositories};
use crate::support::{CloudServer, Gates, Receiver, Run, ScriptedLlm, Step, asked, time_scale};

fn workspace(cloud: &CloudServer) -> CloudWorkspaceBuilder {
    CloudWorkspace::builder(API_KEY).url(cloud.url().parse().unwrap())
}

#[tokio::test]
async fn a_workspace_has_everything_that_the_guide_shows() {
    let cloud = &CloudServer::lent().await;
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Show the secret", [Step::terminal("echo ${A_SECRET#top-}"), Step::finish("Shown.")]);
    cloud.set_llm(&llm).await;
    cloud.set_profile("fast", json!({"model": "openai/fast", "api_key": "k", "base_url": llm.url()})).await;
    cloud.set_secret("A_SECRET", "top-secret-value").await;

    let mut workspace = workspace(cloud).open().await.unwrap();
    let id = workspace.id().to_string();
    let done = workspace.execute_command(&Command::shell("echo hello && pwd")).await.unwrap();
    assert!(done.is_success());
    assert!(done.stdout_text().starts_with("hello\n/"), "{}", done.stdout_text());

    let inherited = workspace.llm().await.unwrap();
    assert_eq!(
        (inherited.model_name(), inherited.text("api_key")),
        (Some("openai/scripted"), Some("sk-inherited-key"))
    );
    let fast = workspace.llm_profile("fast").await.unwrap().temperature(0.5);
    assert_eq!((fast.model_name(), fast.get("temperature")), (Some("openai/fast"), Some(&json!(0.5))));
    workspace.llm_profile("slow").await.unwrap_err();
    workspace.secrets_named(["NO_SUCH"]).await.unwrap_err();
    let secrets = workspace.secrets_named(["A_SECRET"]).await.unwrap();
    assert!(!serde_json::to_string(&secrets).unwrap().contains("top-secret-value"));

    // The same key and address are good again afterwards.
    workspace.pause().await.unwrap();
    assert_eq!(cloud.sandboxes().await[0]["status"], "PAUSED");
    workspace.resume().await.unwrap();

    let directory = cloud.folder_of(&id).join("work").display().to_string();
    std::fs::create_dir_all(&directory).unwrap();
    let seen = Arc::new(AtomicU64::new(0));
    let counter = seen.clone();
    let mut conversation = workspace
        .conversation(Agent::default_with(inherited))
        .working_dir(directory)
        .secrets(secrets)
        .on_event(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        })
        .start()
        .await
        .unwrap();
    conversation.send("Show the secret.").await.unwrap();
    assert_eq!(conversation.run().await.unwrap(), TurnEnd::Finished);
    assert_eq!(conversation.final_message().await.unwrap().as_deref(), Some("Shown."));
    assert!(conversation.event_count() > 4, "{}", conversation.event_count());
    assert_eq!(seen.load(Ordering::Relaxed), conversation.event_count());
    assert!(conversation.usage().tokens().prompt > 0);
    conversation.close().await.unwrap();

    // A panic leaves nothing behind.
    tokio::spawn(async move { panic!("with {} open", workspace.id()) }).await.unwrap_err();
    assert_eq!(cloud.sandboxes().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_sandbox_is_not_left_behind_by_a_dropped_future() {
    let cloud = &CloudServer::lent().await;
    // Dropped while the server still makes it; what was dropped cannot tell when it is gone.
    let opening = tokio::spawn(workspace(cloud).open());
    while cloud.sandboxes().await.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    opening.abort();
    let gone = async {
        while !cloud.sandboxes().await.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(90), gone).await.expect("it is left");
}

#[tokio::test]
async fn a_sandbox_that_is_paused_under_its_run_is_resumed_and_the_run_continues() {
    let cloud = &CloudServer::lent().await;
    let (llm, gates) = (ScriptedLlm::start(0).await.unwrap(), Gates::new());
    let work = tempfile::tempdir().unwrap();
    let wait = format!("touch begun; {}", gates.wait("first"));
    llm.script("Do the task", [Step::patient_terminal(&wait), Step::terminal("echo 2 >>steps"), Step::finish("Done.")]);
    cloud.set_llm(&llm).await;
    gates.close("first");
    let task = format!("---\nworking_dir: {}\n---\nDo the task.", work.path().display());
    let run = outside(cloud, ["run", "--workspace", "cloud", "--format", "json", "task.md"]).file("task.md", task);
    let running = run.scaled(time_scale(0.2), ["server_silence", "last_look"]).start();
    while !work.path().join("begun").exists() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let id = cloud.sandboxes().await[0]["id"].as_str().unwrap().to_owned();
    outside(cloud, ["sandbox", "pause", &id]).finish().await.exits_with(0);
    running.says("the sandbox was paused during the run").await;
    gates.open("first");
    let done = running.finish().await.exits_with(0).json();
    assert_eq!((&done["message"], &done["turns"]), (&"Done.".into(), &1.into()), "{done}");
    assert_eq!(std::fs::read_to_string(work.path().join("steps")).unwrap(), "2\n", "a step was done twice");
    assert_eq!(cloud.sandboxes().await, Vec::<Value>::new());
}

/// A command outside of any sandbox, with the account of this server.
pub fn outside<const N: usize>(cloud: &CloudServer, arguments: [&str; N]) -> Run {
    Run::outside(cloud).args(arguments)
}

#[tokio::test]
async fn a_sandbox_is_made_used_paused_resumed_and_deleted_by_commands() {
    let cloud = &CloudServer::lent().await;
    let id = outside(cloud, ["sandbox", "create"]).finish().await.exits_with(0).stdout.trim().to_owned();
    let status = async || outside(cloud, ["sandbox", "status", &id]).finish().await.exits_with(0).stdout;
    assert_eq!(status().await, "RUNNING\n");
    let listed = outside(cloud, ["sandbox", "list", "--format", "json"]).finish().await.exits_with(0).json();
    assert_eq!(listed["sandboxes"][0]["id"], id.as_str());
    assert_eq!(listed["sandboxes"].as_array().unwrap().len(), 1);
    outside(cloud, ["sandbox", "list"]).finish().await.exits_with(0).stdout.starts_with(&id).then_some(()).unwrap();

    // A sandbox that was there before stays; a paused one is let go on.
    outside(cloud, ["sandbox", "pause", &id]).finish().await.exits_with(0);
    assert_eq!(status().await, "PAUSED\n");
    let done = outside(
        cloud,
        ["exec", "--sandbox", &id, "--env", "A=x y", "--cwd", "/", "--", "sh", "-c", "echo $A; pwd >&2; exit 7"],
    );
    let done = done.finish().await.exits_with(7).says("resuming the paused sandbox");
    assert_eq!(done.stdout, "x y\n");
    done.says("/\n");
    let done = outside(
        cloud,
        ["exec", "--sandbox", &id, "--format", "json", "--timeout", "10s", "--", "echo begun; sleep 600"],
    );
    let done = done.finish().await.exits_with(124).json();
    assert_eq!((&done["stdout"], &done["exit_code"]), (&json!("begun\n"), &json!(124)));
    outside(cloud, ["sandbox", "pause", &id]).finish().await.exits_with(0);
    outside(cloud, ["sandbox", "resume", &id]).finish().await.exits_with(0);

    let pattern: Vec<u8> = (0..1_u32 << 20).map(|number| number.to_le_bytes()[number as usize % 3]).collect();
    let mut big = pattern.repeat(200);
    // No page is the same as another.
    for (number, page) in big.chunks_mut(4096).enumerate() {
        page[..size_of::<usize>()].copy_from_slice(&number.to_le_bytes());
    }
    let folder = format!("{}/deep/er", cloud.folder_of(&id).display());
    let there = format!("{id}:{folder}/big");
    outside(cloud, ["cp", "big", &there]).file("big", b"x").finish().await.exits_with(78).says(&folder);
    outside(cloud, ["exec", "--sandbox", &id, "--", "mkdir", "-p", &folder]).finish().await.exits_with(0);
    let copied =
        outside(cloud, ["cp", "--format", "json", "big", &there]).file("big", &big).finish().await.exits_with(0);
    assert_eq!(copied.json(), json!({"files": 1, "bytes": big.len()}));
    let back = outside(cloud, ["cp", &there, "back"]).finish().await.exits_with(0);
    assert!(std::fs::read(back.path("back")).unwrap() == big, "the copy differs");
    outside(cloud, ["cp", &there.replace("big", "none"), "back"]).finish().await.exits_with(69).says("404");
    outside(cloud, ["cp", "here", "there"]).finish().await.exits_with(2).says("SANDBOX:/path");

    outside(cloud, ["sandbox", "delete", &id]).finish().await.exits_with(0);
    assert_eq!(cloud.sandboxes().await, Vec::<Value>::new());
    outside(cloud, ["sandbox", "delete", &id]).finish().await.exits_with(0).says("the sandbox no longer exists");
    let gone =
        outside(cloud, ["exec", "--format", "json", "--sandbox", &id, "--", "true"]).finish().await.exits_with(69);
    assert_eq!(gone.json()["error"]["code"], "SandboxUnavailable");
    outside(cloud, ["sandbox", "status", &id]).finish().await.exits_with(69).says(&format!("there is no sandbox {id}"));
}

/// A task whose agent works in a folder beside its task file.
const TASK: &str = "---\nworking_dir: work\n---\nDo the launched task.";

/// A task for an agent that works in a folder of its sandbox; there is no /workspace on this machine.
fn task_in(cloud: &CloudServer, id: &str) -> String {
    format!("---\nworking_dir: {}/work\n---\nDo the launched task.", cloud.folder_of(id).display())
}

#[tokio::test]
async fn a_run_is_launched_inside_and_followed_or_left_alone() {
    let cloud = &CloudServer::lent().await;
    let (llm, receiver) = (ScriptedLlm::start(0).await.unwrap(), Receiver::start().await);
    let secrets = "for p in /proc/[0-9]*; do tr '\\0' '\\n' <$p/cmdline; tr '\\0' '\\n' <$p/environ; done 2>/dev/null | grep -c cloud-api-key-of-the-[t]est; grep -ls cloud-api-key-of-the-[t]est /tmp/sandbox-command-*/script";
    let task = r#"grep -ls "$PWD" /tmp/launched-*/task.md >task"#;
    llm.script(
        "Do the launched task",
        [Step::terminal(&format!("({secrets}) >seen 2>&1; {task}")), Step::finish("Launched.")],
    );
    cloud.set_llm(&llm).await;
    let id = outside(cloud, ["sandbox", "create"]).finish().await.exits_with(0).stdout.trim().to_owned();

    // Another test may have put it there: the sandboxes of a server share their home.
    let forget =
        outside(cloud, ["exec", "--sandbox", &id, "--", "rm -rf ${XDG_CACHE_HOME:-$HOME/.cache}/openhands-runner"]);
    forget.finish().await.exits_with(0);
    let launch = outside(
        cloud,
        ["launch", "--sandbox", &id, "--follow", "--timeout", "10m", "--format", "json", "--out", "out"],
    );
    let task = task_in(cloud, &id).replacen("---\n", "---\ncollect: [seen]\n", 1);
    let launch = launch.args(["--junit", "task.md"]).file("task.md", task).reports_to(&receiver, "launched");
    let done = launch
        .finish()
        .await
        .exits_with(0)
        .says("program uploaded")
        .says("turn 1 of 1")
        .never_shows("sk-inherited-key");
    assert_eq!((&done.json()["message"], &done.json()["run_id"]), (&json!("Launched."), &json!("launched")));
    assert_eq!(receiver.accepted()["status"], "COMPLETED");
    // The run folder is here.
    let read = |name: &str| std::fs::read_to_string(done.path("out").join(name)).unwrap();
    assert_eq!((read("answer.md"), read("collected/seen")), ("Launched.\n".to_owned(), "0\n".to_owned()));
    assert!(read("junit.xml").contains("<system-out>Launched.</system-out>"));
    assert_eq!(serde_json::from_str::<Value>(&read("result.json")).unwrap(), done.json());
    assert!(read("events.jsonl").lines().last().unwrap().starts_with(r#"{"kind":"runner.result""#));
    let mode = "stat -c %a ${XDG_CACHE_HOME:-$HOME/.cache}/openhands-runner/*/openhands-runner";
    let mode = outside(cloud, ["exec", "--sandbox", &id, "--", mode]).finish().await.exits_with(0).stdout;
    assert_eq!(mode, "111\n", "others can read the program's environment");
    // No command line and no environment held a key, and the script with the environment was gone.
    let seen = std::fs::read_to_string(cloud.folder_of(&id).join("work/seen")).unwrap();
    assert_eq!(seen, "0\n");
    // What the run was started with is gone with it.
    let task = std::fs::read_to_string(cloud.folder_of(&id).join("work/task")).unwrap();
    assert!(task.starts_with("/tmp/launched-") && task.lines().count() == 1, "{task}");
    assert!(!std::path::Path::new(task.trim()).parent().unwrap().exists(), "{task} is left");

    // The second time the program is there; the run continues without us.
    let receiver = Receiver::start().await;
    let launch = outside(cloud, ["launch", "--sandbox", &id, "--format", "json", "-"]);
    let launch = launch.reports_to(&receiver, "left-alone").command(|command| {
        let (reader, mut writer) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut writer, TASK.as_bytes()).unwrap();
        command.stdin(reader);
    });
    let told = launch.finish().await.exits_with(0).says("reusing the program").json();
    assert_eq!(told["sandbox_id"], id.as_str());
    while receiver.callbacks().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(receiver.accepted()["conversation_id"], told["conversation_id"]);

    // What belongs to the task goes with it.
    let repositories = Repositories::new();
    repositories.create("demo");
    let git = GitServer::start(&repositories, Manner::AsksForToken).await;
    llm.script("Do it for everybody", [Step::finish("Done for all.")]);
    let launch = outside(cloud, ["launch", "--sandbox", &id, "--wait", "--param", "audience=everybody", "task.md"]);
    let task = "---\nworking_dir: work\n---\nDo it for {{ params.audience }}.";
    assert_eq!(launch.file("task.md", task).finish().await.exits_with(0).stdout, "Done for all.\n");
    let launch = outside(cloud, ["launch", "--sandbox", &id, "--follow", "prompt.txt"]);
    let repos = json!([{"url": git.url("demo")}]).to_string();
    let launch = launch.file("prompt.txt", "Do it with data.").file("repos_config.json", repos);
    // There is no token for it.
    launch.finish().await.exits_with(69).says("cloning repository").says(&git.url("demo"));

    // What is wrong is said before a sandbox is made.
    let broken = outside(cloud, ["launch", "task.md"]).file("task.md", "---\nnmae: x\n---\nx");
    broken.finish().await.exits_with(78).says("did you mean `name`");
    let script = outside(cloud, ["launch", "--sandbox", &id, "--binary", "task.md", "task.md"]).file("task.md", TASK);
    script.finish().await.exits_with(78).says("not a program for Linux");
    outside(cloud, ["sandbox", "delete", &id]).finish().await.exits_with(0);
    assert_eq!(cloud.sandboxes().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_launched_runs_sandbox_is_deleted_when_the_outcome_has_been_delivered() {
    let cloud = &CloudServer::lent().await;
    let (llm, callback) = (ScriptedLlm::start(0).await.unwrap(), MockServer::start().await);
    llm.script("Do the launched task", [Step::terminal("sleep 600")]);
    cloud.set_llm(&llm).await;
    // Refused for as long as the run itself tries, and until someone waits for it.
    let (is_open, opened) = (Arc::new(AtomicBool::new(false)), ResponseTemplate::new(200).set_body_json(json!({})));
    let shared = Arc::clone(&is_open);
    let answer =
        move |_: &Request| if shared.load(Ordering::Relaxed) { opened.clone() } else { ResponseTemplate::new(503) };
    Mock::given(any()).respond_with(answer).mount(&callback).await;
    let launch = outside(cloud, ["launch", "--follow", "task.md"]).scaled(time_scale(0.3), ["callback_delays"]);
    let launch = launch.file("task.md", TASK);
    let launch = launch.env("AUTOMATION_CALLBACK_URL", callback.uri()).env("AUTOMATION_RUN_ID", "undelivered").start();
    launch.says("turn 1 of 1").await;
    launch.signal(Signal::SIGINT);
    launch.says("the run's outcome is still being delivered").await;
    let before = callback.received_requests().await.unwrap().len();
    is_open.store(true, Ordering::Relaxed);
    while callback.received_requests().await.unwrap().len() == before {
        assert!(!cloud.sandboxes().await.is_empty(), "deleted before the delivery");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    launch.finish().await.exits_with(130).says("sandbox deleted");
}

/// `UNMENDED=1 scripts/test whatever_the_server` takes the server as it is: RUNNING only while the kernel has the agent-server on
/// a CPU, else STARTING. It gives a new sandbox 30 s, so the machine must have nothing else to do.
#[tokio::test]
async fn a_sandbox_is_worked_with_whatever_the_server_says_of_an_idle_one() {
    let is_unmended = asked::variable("UNMENDED").is_some();
    let cloud = CloudServer::start(if is_unmended { &["--unmended"] } else { &[] }).await;
    let opening = tokio::spawn(workspace(&cloud).open());
    // What any other user of the sandbox would do: requests keep it awake, so that some look shows it RUNNING.
    let awake = cloud.keep_sandbox_awake();
    let workspace = opening.await.unwrap().unwrap();
    awake.abort();
    let done = workspace.execute_command(&Command::shell("echo here")).await.unwrap();
    assert_eq!(done.stdout_text(), "here\n");
    let refusal = workspace.llm().await.unwrap_err().to_string();
    // It calls an account without users a stranger; mended, one that has set nothing yet.
    let expected = if is_unmended { "failed to read the LLM" } else { "no LLM" };
    assert!(refusal.contains(expected), "{refusal}");
    workspace.close().await.unwrap();
    assert_eq!(cloud.sandboxes().await, Vec::<Value>::new());
}
