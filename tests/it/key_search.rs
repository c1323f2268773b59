//! A process of the same user that looks for keys finds none: when the program starts, during a whole run, and during a second life of PID 1.
//!
//! `KEY_SEARCHES` says how often; `scripts/test --full` searches twenty times. The agent-server and its agent are those of another user, but
//! for the last test: there all are one user's, and what is found is only what the agent-server holds by design.

use std::collections::BTreeSet;
use std::os::unix::fs::chown;
use std::path::Path;

use nix::sys::signal::Signal::SIGKILL;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::faults::Work;
use crate::faults::container::{pid_1, program_under, with_a_server_of_its_own};
use crate::faults::killed::tree_of;
use crate::support::agent_server::STARTING;
use crate::support::hunter::{Hunter, USER, hunt};
use crate::support::{AgentServer, NEWEST, Run, asked};

const KEYS: [(&str, &str); 3] = [
    ("AUTOMATION_CALLBACK_API_KEY", "callback-key-that-no-agent-may-see"),
    ("AUTOMATION_KV_TOKEN", "kv-token-that-no-agent-may-see"),
    ("LLM_API_KEY", "llm-key-that-no-agent-may-see"),
];

/// Nothing, but in a process that [`Hunter`] has started.
#[test]
fn the_hunter_itself() {
    hunt();
}

fn hunter() -> Hunter {
    Hunter::start(&KEYS.map(|(_, key)| key))
}

fn searches(few: u32) -> u32 {
    asked::variable("KEY_SEARCHES").map_or(few, |count| count.parse().unwrap())
}

fn with_keys(run: Run) -> Run {
    KEYS.iter().fold(run, |run, (name, key)| run.env(name, key))
}

/// A run of [`USER`] with the keys that does this work. It is held at step 2.
fn run(work: &Work, server: &AgentServer) -> Run {
    work.hold_at("2");
    with_keys(work.given_to(Run::of_user(USER).in_sandbox_of(server))).args(["run", "task.md"])
}

/// The hunter has tried to look into these processes, and nothing but what they do to hide keeps it from that.
fn hunt_down(hunter: &mut Hunter, pids: &[Pid]) {
    for pid in pids {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        assert!(status.contains(&format!("\nUid:\t{USER}\t{USER}\t{USER}\t{USER}\n")), "{status}");
    }
    hunter.has_tried(pids);
}

#[tokio::test]
async fn nothing_is_found_at_the_start_of_an_execute_only_binary() {
    let hunter = hunter();
    for _ in 0..searches(10) {
        let arguments =
            ["run", "--prompt", "x", "--agent-server-url", "http://127.0.0.1:9", "--ready-timeout", "300ms"];
        with_keys(Run::of_user(USER)).env("LLM_MODEL", "m").args(arguments).finish().await.exits_with(69);
    }
    assert_eq!(hunter.findings(), Vec::<String>::new());
}

#[tokio::test]
async fn nothing_is_found_during_a_whole_run() {
    let server = AgentServer::shared(NEWEST).await;
    let mut hunter = hunter();
    for _ in 0..searches(1) {
        let work = Work::on(server).await;
        let running = run(&work, server).start();
        work.reach("2").await;
        let processes = running.processes();
        assert_eq!(processes.len(), 2, "the runner and its guardian");
        hunt_down(&mut hunter, &processes);
        work.let_go("2");
        running.finish().await.exits_with(0);
        assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
    }
    assert_eq!(hunter.findings(), Vec::<String>::new());
}

#[tokio::test]
async fn nothing_is_found_during_a_second_life_of_pid_1() {
    // setpriv(1) would keep the capability to read any file until it has started the program, which then is not protected.
    let user = format!("--userspec={USER}:{USER}");
    let namespace = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"];
    let server = AgentServer::shared(NEWEST).await;
    let mut hunter = hunter();
    for _ in 0..searches(1) {
        let work = Work::on(server).await;
        let run = run(&work, server).under(["/usr/sbin/chroot", &user, "--skip-chdir", "/"]).under(namespace);
        let running = run.start();
        work.reach("2").await;
        let (init, first_life) = (pid_1(&running), program_under(pid_1(&running)));
        let guardians: Vec<Pid> =
            running.processes().into_iter().filter(|pid| ![init, first_life].contains(pid)).collect();
        assert_eq!(guardians.len(), 1, "{guardians:?}");
        hunt_down(&mut hunter, &[init, first_life, guardians[0]]);
        kill(first_life, SIGKILL).unwrap();
        running.says_times(" is ready", 2).await;
        let second_life = program_under(init);
        assert_ne!(second_life, first_life);
        hunt_down(&mut hunter, &[init, second_life]);
        work.let_go("2");
        running.finish().await.exits_with(0).says("resuming a run whose runner died");
        assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
    }
    assert_eq!(hunter.findings(), Vec::<String>::new());
}

/// PID 1 of a namespace as [`USER`], who can reach an interpreter that lies in the closed home of root.
fn as_pid_1(run: Run, python: &str) -> Run {
    let script = format!(
        r#"
        prefix=$(readlink -f {python}) && prefix=${{prefix%/bin/*}} || exit 99
        case $prefix in /root/*)
            mount --bind "$prefix" /mnt && mount -t tmpfs -o mode=755 none /root || exit 99
            mkdir -p "$prefix" && mount --move /mnt "$prefix" || exit 99
        esac
        exec /usr/sbin/chroot --userspec={USER}:{USER} --skip-chdir / "$@""#
    );
    run.under(["unshare", "--fork", "--pid", "--mount-proc", "--kill-child", "bash", "-c", &script, "bash"])
}

/// Gives a folder, and all in it, to [`USER`].
fn give(folder: &Path) {
    chown(folder, Some(USER), Some(USER)).unwrap();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir()) {
        give(&entry.path());
    }
}

/// Every other run has a second life. The program, its guardian, PID 1, the agent-server and the agent are one user's.
#[tokio::test]
async fn as_one_user_with_the_agent_server_only_what_that_holds_is_found() {
    let mut hunter = hunter();
    let mut own = BTreeSet::new();
    for number in 0..searches(1) {
        let server = AgentServer::not_started(NEWEST);
        let work = Work::on(&server).await;
        work.hold_at("2");
        let run = with_keys(work.given_to(Run::of_user(USER).in_sandbox_of(&server)));
        let (_, home) = server.environment().into_iter().find(|(name, _)| name == "HOME").unwrap();
        give(Path::new(&home));
        let command = server.command();
        let turn = STARTING.lock().await;
        let running = as_pid_1(with_a_server_of_its_own(run, &server), command.split(' ').next().unwrap()).start();
        work.reach("2").await;
        let mut lives = 1;
        loop {
            let program = program_under(pid_1(&running));
            let servers: Vec<Pid> = tree_of(program).into_iter().filter(|pid| *pid != program).collect();
            assert!(!servers.is_empty(), "no agent-server under the program");
            let processes: Vec<Pid> = running.processes().into_iter().filter(|pid| !servers.contains(pid)).collect();
            assert!(processes.len() >= 3, "PID 1, the program and its guardian: {processes:?}");
            hunt_down(&mut hunter, &processes);
            hunt_down(&mut hunter, &servers);
            own.extend(processes);
            if number % 2 == 0 || lives == 2 {
                break;
            }
            kill(program, SIGKILL).unwrap();
            lives += 1;
            running.says_times(" is ready", lives).await;
        }
        drop(turn);
        work.let_go("2");
        running.finish().await.exits_with(0);
        assert_eq!(work.receiver.accepted()["status"], "COMPLETED");
    }
    let findings = hunter.findings();
    let is_of_ours = |line: &&String| {
        let mut words = line.split(' ').filter_map(|word| word.parse().ok());
        words.any(|pid| own.contains(&Pid::from_raw(pid)))
    };
    assert_eq!(findings.iter().filter(is_of_ours).collect::<Vec<_>>(), Vec::<&String>::new());
    for (name, key) in KEYS {
        let found: Vec<&String> = findings.iter().filter(|line| line.ends_with(key)).collect();
        // The agent-server has the key of the LLM, in a form that may be found: nothing can be promised for it.
        assert!(found.is_empty() || name == "LLM_API_KEY", "{name}: {found:?}");
    }
}
