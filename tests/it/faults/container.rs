//! A container's ENTRYPOINT: PID 1 of a namespace, with an agent-server of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal::{SIGABRT, SIGKILL, SIGTERM};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::time::Instant;
use wiremock::matchers::{any, header};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::Work;
use crate::support::agent_server::STARTING;
use crate::support::receiver::Answer::Status;
use crate::support::run::{LLM_COST, Running, processes_of};
use crate::support::{AgentServer, NEWEST, Receiver, Run, Step};

const AS_PID_1: [&str; 5] = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"];

/// PID 1 of the namespace, as the outside sees it.
pub fn pid_1(unshare: &Running) -> Pid {
    let pid = unshare.pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    Pid::from_raw(children.trim().parse().unwrap())
}

fn whole_run_in_one_container(server: &AgentServer, work: &Work, task: &str) -> Run {
    let run = work.run_without_arguments(server).file("task.md", format!("---\nllm: {LLM_COST}\n---\n{task}"));
    with_a_server_of_its_own(run, server)
}

/// A run that starts this server itself.
pub fn with_a_server_of_its_own(run: Run, server: &AgentServer) -> Run {
    let run = server.environment().into_iter().fold(run, |run, (name, value)| run.env(&name, value));
    run.args(["run", "--server-command", &server.command(), "--server-log", "server.log"])
}

#[tokio::test]
async fn a_whole_run_in_one_container_completes_and_orphans_are_reaped() {
    let server = AgentServer::not_started(NEWEST);
    let work = Work::on(&server).await;
    // The orphan ends after its parent; what is not reaped stays as a zombie.
    work.llm.script(
        "Leave an orphan",
        [
            Step::terminal("(setsid sh -c 'sleep 0.2' &)"),
            Step::terminal("sleep 1; cat /proc/[0-9]*/stat | grep ' Z 1 ' >zombies.txt"),
            Step::finish("Done."),
        ],
    );
    let turn = STARTING.lock().await;
    let run = whole_run_in_one_container(&server, &work, "Leave an orphan behind.");
    let running = run.under(AS_PID_1).start();
    running.says(" is ready").await;
    drop(turn);
    let finished = running.finish().await.exits_with(0);
    assert_eq!(finished.stdout, "Done.\n");
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
    assert_eq!(std::fs::read_to_string(work.working_dir.join("zombies.txt")).unwrap(), "");
    assert!(std::fs::read_to_string(finished.path("server.log")).unwrap().contains("Uvicorn running"));
}

#[tokio::test]
async fn a_container_that_is_stopped_reports_even_when_the_service_is_slow_to_take_it() {
    let server = AgentServer::not_started(NEWEST);
    // What the runner itself cannot deliver within its half second is delivered before PID 1 ends.
    let work = Work::reported_to(&server, Receiver::answering([Status(503); 2]).await).await;
    work.hold_at("2");
    let turn = STARTING.lock().await;
    let running = whole_run_in_one_container(&server, &work, "Do the task.").under(AS_PID_1).start();
    work.reach("2").await;
    drop(turn);
    kill(pid_1(&running), SIGTERM).unwrap();
    running.finish().await.exits_with(143);
    work.failed_with("Terminated");
}

#[tokio::test]
async fn pid_1_waits_for_its_guardian_without_being_root_too() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::reported_to(server, Receiver::answering([Status(503); 2]).await).await;
    work.hold_at("2");
    // Somewhere where everybody may look.
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let script = format!(
        r#"
        cd {0} && chmod 755 . && cp "$1" runner && cp "$OLDPWD/task.md" . || exit 99
        shift
        exec unshare --fork --pid --mount-proc --kill-child \
            setpriv --reuid 65534 --regid 65534 --clear-groups {0}/runner "$@""#,
        folder.path().display()
    );
    // The other user cannot write into the folder of the work.
    let run = work.run_without_arguments(server).args(["run", "--format", "jsonl", "task.md"]);
    let running = run.under(["bash", "-c", &script, "bash"]).start();
    work.reach("2").await;
    kill(pid_1(&running), SIGTERM).unwrap();
    running.finish().await.exits_with(143);
    work.failed_with("Terminated");
}

/// The program under PID 1.
pub fn program_under(pid_1: Pid) -> Pid {
    let children = std::fs::read_to_string(format!("/proc/{pid_1}/task/{pid_1}/children")).unwrap();
    Pid::from_raw(children.split_whitespace().next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_program_that_is_killed_alone_goes_on() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    let steps = ["2", "4"];
    for step in steps {
        work.hold_at(step);
    }
    let running = work.run(server).under(AS_PID_1).start();
    for (starts, step) in (1..).zip(steps) {
        work.reach(step).await;
        kill(program_under(pid_1(&running)), SIGKILL).unwrap();
        // The program that is started next finds the agent at work.
        running.says_times(" is ready", starts + 1).await;
        work.let_go(step);
    }
    running.finish().await.exits_with(0).says("resuming a run whose runner died");
    let report = work.receiver.accepted();
    assert_eq!(report["status"], "COMPLETED");
    assert_eq!(server.user_messages(report["conversation_id"].as_str().unwrap()).await, ["Do the task."]);
}

#[tokio::test]
async fn a_whole_run_whose_program_is_killed_goes_on_with_another_server() {
    let server = AgentServer::not_started(NEWEST);
    let work = Work::on(&server).await;
    work.hold_at("2");
    let turn = STARTING.lock().await;
    // The server's key is the program's own choice, and opens what the server before has kept.
    let run = whole_run_in_one_container(&server, &work, "Do the task.");
    let run = run.command(|command| {
        command.env_remove("SESSION_API_KEY");
    });
    let running = run.under(AS_PID_1).start();
    work.reach("2").await;
    kill(program_under(pid_1(&running)), SIGKILL).unwrap();
    work.let_go("2");
    running.says_times(" is ready", 2).await;
    drop(turn);
    running.finish().await.exits_with(0).says("resuming a run whose runner died");
    let report = work.receiver.accepted();
    assert_eq!(report["status"], "COMPLETED", "{report}");
    assert_eq!(server.kept_user_messages(), 1);
}

#[tokio::test]
async fn a_program_that_is_killed_when_its_outcome_is_known_is_not_started_again() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::reported_to(server, Receiver::answering([Status(503); 4]).await).await;
    work.hold_at("2");
    let task = format!("---\nllm: {LLM_COST}\nlimits: {{timeout: 12s}}\n---\nDo the task.");
    let running = work.run(server).file("task.md", task).under(AS_PID_1).start();
    work.receiver.called().await;
    kill(program_under(pid_1(&running)), SIGKILL).unwrap();
    let finished = running.finish().await.exits_with(137);
    assert!(!finished.stderr.contains("resuming a run whose runner died"), "{}", finished.stderr);
    assert_eq!(finished.stderr.matches(" is ready").count(), 1, "{}", finished.stderr);
    work.failed_with("Timeout");
}

/// The service comes back when a guardian with a budget of 3 s has given up. One with a budget of hours still tries then.
#[tokio::test]
async fn pid_1_waits_for_its_guardian_for_as_long_as_its_budget_lasts() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let under = |budget: &str| {
        Run::new()
            .env("AUTOMATION_CALLBACK_URL", format!("http://127.0.0.1:{port}/complete"))
            .env("AUTOMATION_RUN_ID", uuid::Uuid::new_v4().to_string())
            .args([
                "run",
                "no.md",
                "--guardian-budget",
                budget,
                "--time-scale",
                "callback_delays=0.05,unhurried_callback=0.01",
            ])
            .under(AS_PID_1)
            .start()
    };
    let (patient, brief) = (under("4h"), under("3s"));
    let began = Instant::now();
    brief.finish().await.exits_with(78).says("leaving the completion callback to the guardian");
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    let receiver = Receiver::start_on(port).await;
    patient.finish().await.exits_with(78);
    assert_eq!(receiver.accepted()["error"]["code"], "InvalidInput");
}

#[tokio::test]
async fn pid_1_ends_when_it_is_told_to_though_its_guardian_is_at_work() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::reported_to(server, Receiver::answering([Status(503); 100]).await).await;
    work.hold_at("2");
    let running = work.run(server).under(AS_PID_1).start();
    work.reach("2").await;
    kill(program_under(pid_1(&running)), SIGABRT).unwrap();
    work.receiver.called().await;
    let told = Instant::now();
    kill(pid_1(&running), SIGTERM).unwrap();
    running.finish().await.exits_with(134);
    assert!(told.elapsed() < Duration::from_secs(20), "{:?}", told.elapsed());
}

#[tokio::test]
async fn pid_1_does_not_wait_for_a_process_that_has_its_guardians_name() {
    let receiver = Receiver::start().await;
    let script = r#"cp "$(command -v sleep)" openhands-guard; ./openhands-guard 300 & exec "$@""#;
    let wrapper = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child", "bash", "-c", script, "bash"];
    let run = Run::new().reports_to(&receiver, &uuid::Uuid::new_v4().to_string());
    let began = Instant::now();
    run.args(["run", "no.md"]).under(wrapper).finish().await.exits_with(78);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    receiver.accepted();
}

#[tokio::test]
async fn pid_1_without_proc_reports_too() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    work.llm.script("Do the task", [Step::finish("Done.")]);
    let script = r#"mount -t tmpfs none /proc || exit 99; exec "$@""#;
    let wrapper = ["unshare", "--fork", "--pid", "--mount", "--kill-child", "bash", "-c", script, "bash"];
    work.run(server).under(wrapper).finish().await.exits_with(0);
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
}

#[tokio::test]
async fn no_life_of_a_run_has_its_keys_in_its_environment() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    let steps = ["2", "4"];
    for step in steps {
        work.hold_at(step);
    }
    let keys = [("AUTOMATION_CALLBACK_API_KEY", "callback-key-of-the-test")];
    let run = keys.iter().fold(work.run(server), |run, (name, key)| run.env(name, key));
    // The agent-server is reached over http.
    let running = run.env("HTTPS_PROXY", "http://me:pw-of-the-proxy@127.0.0.1:9").under(AS_PID_1).start();
    work.reach("2").await;
    // Reads what it can, all the time, from the first moment of each new process.
    let (watching, binary) = (Arc::new(AtomicBool::new(true)), running.binary());
    let watcher = {
        let watching = Arc::clone(&watching);
        std::thread::spawn(move || {
            let mut seen = BTreeMap::<Pid, Vec<u8>>::new();
            while watching.load(Ordering::Relaxed) {
                for pid in processes_of(&binary) {
                    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                    seen.entry(pid).or_default().extend(environment);
                }
            }
            seen
        })
    };
    for (starts, step) in (1..).zip(steps) {
        work.reach(step).await;
        kill(program_under(pid_1(&running)), SIGKILL).unwrap();
        running.says_times(" is ready", starts + 1).await;
        work.let_go(step);
    }
    watching.store(false, Ordering::Relaxed);
    let seen = watcher.join().unwrap();
    assert!(seen.values().any(|environment| !environment.is_empty()), "nothing was read");
    for environment in seen.values().map(|environment| String::from_utf8_lossy(environment)) {
        running.keeps_secrets("an environment", &environment);
        assert!(!environment.contains("pw-of-the-proxy"), "the user part of a proxy is in an environment");
    }
    running.finish().await.exits_with(0);
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
}

#[tokio::test]
async fn a_git_under_pid_1_has_the_user_part_of_its_proxy() {
    let server = AgentServer::shared(NEWEST).await;
    let proxy = MockServer::start().await;
    let known = header("proxy-authorization", "Basic bWU6cHctb2YtdGhlLXByb3h5");
    Mock::given(known).respond_with(ResponseTemplate::new(404)).expect(1..).mount(&proxy).await;
    let who = ResponseTemplate::new(407).insert_header("proxy-authenticate", "Basic realm=\"proxy\"");
    Mock::given(any()).respond_with(who).mount(&proxy).await;
    let task = "---\nllm: {model: m}\nrepos: [{url: 'https://repositories.invalid/a.git'}]\n---\nDo the task.";
    Run::inside(server)
        .env("PATH", env!("PATH"))
        .env("https_proxy", format!("http://me:pw-of-the-proxy@{}", proxy.address()))
        .env("no_proxy", "127.0.0.1")
        .task(task)
        .under(AS_PID_1)
        .finish()
        .await
        .exits_with(69)
        .never_shows("pw-of-the-proxy");
}

#[tokio::test]
async fn pid_1_minds_no_signal_that_it_does_not_know() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    work.hold_at("1");
    let running = work.run(server).under(AS_PID_1).start();
    work.reach("1").await;
    std::process::Command::new("kill").args(["-35", &pid_1(&running).to_string()]).status().unwrap();
    work.let_go("1");
    running.finish().await.exits_with(0);
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
}

#[tokio::test]
async fn a_server_of_our_own_that_dies_ends_the_run() {
    let receiver = Receiver::start().await;
    Run::new()
        .reports_to(&receiver, &uuid::Uuid::new_v4().to_string())
        .args(["run", "--server-command", "sh -c 'echo no licence; exit 3'", "task.md"])
        .file("task.md", "---\nllm: {model: m}\n---\nDo the task.")
        .finish()
        .await
        .exits_with(69);
    let detail = receiver.accepted()["error"]["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("exited with 3") && detail.contains("no licence"), "{detail}");
}

#[tokio::test]
async fn a_server_of_our_own_that_cannot_be_started_is_bad_input() {
    for (command, words) in
        [("no-such-program x", "`no-such-program` cannot be started"), ("'", "understood"), ("", "empty")]
    {
        let receiver = Receiver::start().await;
        Run::new()
            .reports_to(&receiver, &uuid::Uuid::new_v4().to_string())
            .args(["run", "--server-command", command, "task.md"])
            .file("task.md", "---\nllm: {model: m}\n---\nDo the task.")
            .finish()
            .await
            .exits_with(78);
        let detail = receiver.accepted()["error"]["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(words), "{detail}");
    }
}

#[tokio::test]
async fn a_server_of_our_own_does_not_outlive_a_killed_runner() {
    let server = AgentServer::not_started(NEWEST);
    let work = Work::on(&server).await;
    work.hold_at("2");
    let turn = STARTING.lock().await;
    let running = whole_run_in_one_container(&server, &work, "Do the task.").start();
    work.reach("2").await;
    drop(turn);
    running.signal(SIGKILL);
    running.finish().await;
    work.failed_with("RunnerDied");
    assert!(std::net::TcpStream::connect(("127.0.0.1", server.port)).is_err(), "the agent-server lives");
}

#[tokio::test]
async fn no_file_is_left_outside_the_runs_folder() {
    let server = AgentServer::shared(NEWEST).await;
    let work = Work::on(server).await;
    work.llm.script("Do the task", [Step::finish("Done.")]);
    let script = r#"
        # mount(8) itself writes into /run.
        for place in /tmp /var/tmp /dev/shm /root /run; do
            # Where this very tree lies, it must stay in sight.
            case "$PWD/" in "$place"/*) continue ;; esac
            [ ! -d "$place" ] || mount -t tmpfs none "$place" || exit 99
            looked_at="$looked_at $place"
        done
        "$@" || exit
        find $looked_at -mindepth 1 >&2
        exit 0"#;
    let finished = work
        .run_without_arguments(server)
        .env("HOME", "/root")
        .env("RUST_LOG", "off")
        .args(["run", "--result", "result.json"])
        .under(["unshare", "--mount", "bash", "-c", script, "bash"])
        .finish()
        .await
        .exits_with(0);
    let left: Vec<&str> = finished.stderr.lines().filter(|line| line.starts_with('/')).collect();
    assert_eq!(left, [""; 0], "files are left");
    let mut names: Vec<_> =
        std::fs::read_dir(finished.path(".")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["result.json", "task.md"]);
    assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
}
