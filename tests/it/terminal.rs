//! What a run shows on a real terminal (tmux).

use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::batch::instant::batch;
use crate::support::instant_cloud::{InstantCloud, Nature};
use crate::support::{AgentServer, CloudServer, Gates, NEWEST, Run, ScriptedLlm, Step};

/// A terminal of its own server. It ends with the test.
struct Terminal {
    folder: TempDir,
}

impl Terminal {
    /// A terminal of this width that runs a command of a shell, and stays after it.
    fn start(columns: u32, command: &str) -> Self {
        let terminal = Self { folder: tempfile::tempdir().unwrap() };
        let script = terminal.folder.path().join("script");
        std::fs::write(&script, format!("{command}\necho \"exit code $?\"\nsleep 600\n")).unwrap();
        let size = columns.to_string();
        let shell = format!("sh {}", script.display());
        let started = terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &size, "-y", "40", &shell]);
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> Output {
        let socket = self.folder.path().join("socket");
        Command::new("tmux").arg("-S").arg(socket).args(arguments).env("TERM", "xterm-256color").output().unwrap()
    }

    fn resize(&self, columns: u32) {
        self.tmux(&["set-option", "-g", "window-size", "manual"]);
        let resized = self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", "40"]);
        assert!(resized.status.success(), "{}", String::from_utf8_lossy(&resized.stderr));
    }

    /// The lines that are seen, without those above the first row.
    fn lines(&self) -> Vec<String> {
        let shown = String::from_utf8(self.tmux(&["capture-pane", "-p"]).stdout).unwrap();
        shown.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
    }

    /// Waits until the lines are as they should be.
    async fn shows(&self, what: &str, is_so: impl Fn(&[String]) -> bool) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let lines = self.lines();
            if is_so(&lines) {
                return lines;
            }
            assert!(Instant::now() < deadline, "{what} is not seen:\n{}", lines.join("\n"));
            sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// The live line of a turn.
fn live(lines: &[String]) -> Vec<&String> {
    live_of("turn 1/1", lines)
}

/// The live line of a stage.
fn live_of<'l>(stage: &str, lines: &'l [String]) -> Vec<&'l String> {
    lines.iter().filter(|line| line.starts_with(&format!("{stage} | "))).collect()
}

/// Whether the command has ended so, and nothing of its live line is left.
fn has_ended(lines: &[String], stage: &str, code: i32) -> bool {
    lines.contains(&format!("exit code {code}")) && live_of(stage, lines).is_empty()
}

#[tokio::test]
async fn in_tmux_a_run_has_steps_one_live_line_at_any_width_and_a_summary() {
    const HOSTILE: &str = "echo '\u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}::set-env name=x::y'";
    let server = AgentServer::shared(NEWEST).await;
    let gates = Gates::new();
    gates.close("end");
    let llm = ScriptedLlm::start(0).await.unwrap();
    let steps = [Step::terminal(HOSTILE), Step::patient_terminal(&gates.wait("end")), Step::finish("It is done.")];
    llm.script("Do the task", steps);
    let run = Run::inside(server).llm(&llm).env("TERM", "xterm-256color").args(["run", "task.md"]);
    let (command, _home) = run.file("task.md", "Do the task.").into_shell_command("");
    let terminal = Terminal::start(80, &command);

    let is_waiting = |lines: &[String]| live(lines).iter().any(|line| line.contains("step 2"));
    let wide = terminal.shows("the second step", is_waiting).await;
    assert!(wide.iter().all(|line| line.chars().count() <= 80), "{wide:#?}");
    assert!(wide.iter().any(|line| line == "turn 1 of 1: Do the task."), "{wide:#?}");
    let hostile = wide.iter().find(|line| line.contains("set-env")).unwrap();
    assert!(hostile.contains("echo") && !hostile.contains(['\u{1b}', '\u{202e}']), "{hostile}");
    assert!(
        !String::from_utf8_lossy(&terminal.tmux(&["display-message", "-p", "#{pane_title}"]).stdout).contains("owned")
    );

    terminal.resize(40);
    let is_narrow = |lines: &[String]| live(lines).len() == 1 && live(lines)[0].chars().count() < 40;
    terminal.shows("one live line of less than 40 columns", is_narrow).await;
    terminal.resize(80);
    gates.open("end");
    let ended = terminal.shows("the end", |lines| lines.iter().any(|line| line == "exit code 0")).await;
    assert!(live(&ended).is_empty(), "{ended:#?}");
    let text = ended.join("\n");
    assert!(text.contains("completed") && text.contains("It is done."), "{text}");
}

#[tokio::test]
async fn in_tmux_an_error_says_what_is_wrong_where_and_what_to_do() {
    const TASK: &str = "---\nlimits: {tmieout: 3m, cost: abc}\n---\nx";
    let wrong_task = [
        "error: unknown field `limits.tmieout`",
        "  --> task.md:2:10",
        "help: did you mean `timeout`? Known are `timeout`, `cost`, `iterations` and `attempts`",
        "error: invalid value `abc` for `limits.cost`",
        "  --> task.md:2:29",
        "help: expected a number of US dollars, such as 2.50",
    ];
    let warning = "warning: RUST_LOG cannot be read; logging at level info: it is not a level such as `debug`";
    let wrong_copy = [warning, "error: neither of the two paths is in a sandbox", "  --> cp a b"];
    let wrong_key = [warning, "error: not set", "  --> OPENHANDS_API_KEY"];
    let no_folder = ["help: name a run folder of `run --out`, or a file with the output of `run --format jsonl`"];
    for (words, expected, code) in [
        (&["run", "task.md"][..], &wrong_task[..], 78),
        (&["run", "--quiet", "task.md"], &wrong_task, 78),
        (&["cp", "a", "b"], &wrong_copy, 2),
        (&["sandbox", "list"], &wrong_key, 78),
        (&["show", "no-folder"], &no_folder, 78),
    ] {
        let run = Run::new().env("TERM", "xterm-256color").env("RUST_LOG", "verbose").file("task.md", TASK);
        let run = run.command(|command| _ = command.args(words));
        let (command, _home) = run.into_shell_command("");
        let terminal = Terminal::start(120, &command);
        let end = format!("exit code {code}");
        let ended = terminal.shows("the end", |lines| lines.contains(&end)).await;
        for line in expected {
            assert!(ended.iter().any(|shown| shown == line), "{line}:\n{}", ended.join("\n"));
        }
        for of_log in ["code=", "cost=", "error=", "ERROR", "WARN", "Z "] {
            assert!(!ended.iter().any(|shown| shown.contains(of_log)), "{of_log}:\n{}", ended.join("\n"));
        }
    }
}

#[tokio::test]
async fn in_tmux_exec_cp_and_launch_show_what_is_under_way_and_leave_nothing_of_it() {
    let cloud = &CloudServer::lent().await;
    let outside = |words: &[&str]| Run::outside(cloud).env("TERM", "xterm-256color").command(|run| _ = run.args(words));
    let id = outside(&["sandbox", "create"]).finish().await.exits_with(0).stdout.trim().to_owned();
    let there = cloud.folder_of(&id).display().to_string();

    // A command whose output comes in between, once with half a line.
    let script = format!(
        "echo begun; until [ -e {there}/half ]; do sleep 0.1; done; printf half; until [ -e {there}/end ]; do sleep 0.1; done; echo -line"
    );
    let (command, _home) =
        outside(&["exec", "--sandbox", &id, "--timeout", "10m", "--", &script]).into_shell_command("");
    let terminal = Terminal::start(80, &command);
    let is_live = |lines: &[String]| {
        let live = live_of("exec", lines);
        live.len() == 1 && live[0].contains("/10:00 | echo begun; until") && lines.iter().any(|line| line == "begun")
    };
    terminal.shows("the command with its time and its limit", is_live).await;
    terminal.resize(40);
    let is_narrow = |lines: &[String]| {
        let live = live_of("exec", lines);
        live.len() == 1 && live[0].chars().count() < 40 && lines[lines.len() - 2] == "begun"
    };
    terminal.shows("one live line of less than 40 columns", is_narrow).await;
    terminal.resize(80);
    std::fs::write(format!("{there}/half"), "").unwrap();
    terminal
        .shows("half a line and no live line", |lines| lines.ends_with(&["begun", "half"].map(str::to_owned)))
        .await;
    std::fs::write(format!("{there}/end"), "").unwrap();
    let ended = terminal.shows("the end", |lines| has_ended(lines, "exec", 0)).await;
    assert!(ended.ends_with(&["begun", "half-line", "exit code 0"].map(str::to_owned)), "{ended:#?}");

    // A copy into a pipe that is read late.
    std::fs::write(format!("{there}/large"), vec![b'x'; 3_000_000]).unwrap();
    let (command, home) = outside(&["cp", &format!("{id}:{there}/large"), "pipe"]).into_shell_command("");
    let pipe = home.cwd().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let terminal = Terminal::start(200, &command);
    let is_live = |lines: &[String]| {
        live_of("cp", lines).iter().any(|line| line.contains(" of 3.0 MB, ") && line.contains(" to pipe"))
    };
    terminal.shows("the copy", is_live).await;
    let copied = tokio::task::spawn_blocking(move || std::fs::read(pipe).unwrap().len()).await.unwrap();
    assert_eq!(copied, 3_000_000);
    let ended = terminal.shows("the end", |lines| has_ended(lines, "cp", 0)).await;
    assert!(ended.ends_with(&["copied (files: 1, bytes: 3000000)", "exit code 0"].map(str::to_owned)), "{ended:#?}");

    // A run inside, whose stage, steps and action are seen here.
    let (llm, gates) = (ScriptedLlm::start(0).await.unwrap(), Gates::new());
    gates.close("end");
    llm.script("Do the watched task", [Step::patient_terminal(&gates.wait("end")), Step::finish("It was watched.")]);
    cloud.set_llm(&llm).await;
    let task = format!("---\nworking_dir: {there}/work\n---\nDo the watched task.");
    let launch = outside(&["launch", "--sandbox", &id, "--wait", "--max-cost", "2", "task.md"]).file("task.md", task);
    let (command, _home) = launch.into_shell_command("");
    let terminal = Terminal::start(120, &command);
    let is_live = |lines: &[String]| live(lines).len() == 1 && live(lines)[0].contains("/$2.00 | step 1");
    terminal.shows("the turn with its cost and its step", is_live).await;
    gates.open("end");
    let ended = terminal.shows("the end", |lines| has_ended(lines, "turn 1/1", 0)).await;
    assert!(ended.iter().any(|line| line == "It was watched."), "{ended:#?}");

    // Nothing of it on a pipe.
    let piped = outside(&["exec", "--sandbox", &id, "--", "echo out"]).finish().await.exits_with(0);
    assert_eq!((piped.stdout.as_str(), piped.stderr.contains(['\u{1b}', '\r'])), ("out\n", false));
    outside(&["sandbox", "delete", &id]).finish().await.exits_with(0);
}

#[tokio::test]
async fn in_tmux_a_batch_has_a_live_line_that_says_how_it_stands() {
    let cloud = InstantCloud::start(Nature::default()).await.unwrap();
    let run = batch(&cloud, 4, "out").args(["--concurrency", "1", "--cost", "50"]).env("TERM", "xterm-256color");
    let (command, _home) = run.into_shell_command("");
    let terminal = Terminal::start(120, &command);
    let is_half_done = |line: &str| {
        let parts: Vec<&str> = line.split(" | ").collect();
        let [_, _, cost, "1 running", "2/4 done", "0 failed", rate, left] = parts.as_slice() else { return false };
        cost.ends_with("/$50.00") && rate.ends_with("/min") && left.ends_with(" left")
    };
    let shown = terminal
        .shows("half of the batch", |lines| live_of("batch", lines).iter().any(|line| is_half_done(line)))
        .await;
    assert_eq!(live_of("batch", &shown).len(), 1, "{shown:#?}");
    assert!(shown.iter().any(|line| line.starts_with("row completed")), "{shown:#?}");
    let ended = terminal.shows("the end", |lines| has_ended(lines, "batch", 0)).await;
    assert!(ended.iter().any(|line| line.starts_with("rows    4: 4 completed, 0 failed")), "{ended:#?}");
}
