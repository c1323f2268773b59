//! What a run shows on a real terminal (tmux).

use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::support::run::LLM_COST;
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

    fn resize(&self, columns: u32, rows: u32) {
        self.tmux(&["set-option", "-g", "window-size", "manual"]);
        let resized = self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
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

    terminal.resize(40, 40);
    let is_narrow = |lines: &[String]| live(lines).len() == 1 && live(lines)[0].chars().count() < 40;
    terminal.shows("one live line of less than 40 columns", is_narrow).await;
    terminal.resize(80, 40);
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
    terminal.resize(40, 40);
    let is_narrow = |lines: &[String]| {
        let live = live_of("exec", lines);
        live.len() == 1 && live[0].chars().count() < 40 && lines[lines.len() - 2] == "begun"
    };
    terminal.shows("one live line of less than 40 columns", is_narrow).await;
    terminal.resize(80, 40);
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

/// Whether the lines that begin with one of these names and ` | ` are those of exactly these rows, in their order.
fn rows_are(lines: &[String], expected: &[&str]) -> bool {
    let of_row = |line: &String| line.split_once(" | ").map(|(name, _)| name.trim().to_owned());
    let shown: Vec<String> = lines.iter().filter_map(of_row).filter(|name| name.starts_with("row-")).collect();
    shown == expected
}

#[tokio::test]
async fn in_tmux_a_batch_has_a_table_with_its_totals_and_its_running_rows() {
    let (llm, gates) = (ScriptedLlm::start(0).await.unwrap(), Gates::new());
    for row in ["row-a", "row-b", "row-c"] {
        gates.close(row);
        llm.script(&format!("for {row}."), [Step::patient_terminal(&gates.wait(row)), Step::finish("Done.")]);
    }
    let server = AgentServer::shared(NEWEST).await;
    let url = server.url("");
    let task = format!("---\nllm: {LLM_COST}\n---\nWork for {{{{ row.id }}}}.");
    let batch = Run::new().llm(&llm).env("SESSION_API_KEY", &server.key).env("WORKSPACE_BASE", server.working_dir());
    let batch = batch.file("task.md", task).file("rows.csv", "id\nrow-a\nrow-b\nrow-c\n").env("TERM", "xterm-256color");
    let batch = batch.args(["batch", "task.md", "--rows", "rows.csv", "--where", url.as_str(), "--out", "out"]);
    let (command, _home) = batch.args(["--concurrency", "2", "--cost", "50"]).into_shell_command("");
    let terminal = Terminal::start(80, &command);

    let is_begun = |lines: &[String]| {
        let works = |row: &str| {
            lines.iter().any(|line| {
                line.starts_with(row) && line.contains("| turn 1/1 |") && line.contains("| step 1 | terminal")
            })
        };
        let totals = lines
            .iter()
            .position(|line| line.starts_with("batch | ") && line.ends_with("/$50.00 | 0/3 done | 0 failed"));
        totals.is_some_and(|totals| lines[totals + 1] == "2 running | 1 waiting")
            && rows_are(lines, &["row-a", "row-b"])
            && works("row-a | ")
            && works("row-b | ")
    };
    let wide = terminal.shows("the totals and two rows at work", is_begun).await;
    assert!(wide.iter().all(|line| line.chars().count() <= 80), "{wide:#?}");
    assert_eq!(live_of("batch", &wide).len(), 1, "{wide:#?}");

    // The terminal wraps the lines that stand there; they are erased whole, and drawn again.
    terminal.resize(40, 40);
    let is_narrow = |lines: &[String]| {
        let table = lines.iter().position(|line| line.starts_with("batch | ")).map_or(&[][..], |first| &lines[first..]);
        table.len() == 4 && table.iter().all(|line| line.chars().count() < 40) && rows_are(lines, &["row-a", "row-b"])
    };
    terminal.shows("four lines of less than 40 columns", is_narrow).await;
    // With too little room the rest is counted.
    terminal.resize(80, 4);
    let is_low = |lines: &[String]| lines.ends_with(&["2 running | 1 waiting".to_owned(), "and 2 more".to_owned()]);
    terminal.shows("the number of rows without room", is_low).await;
    terminal.resize(80, 40);

    gates.open("row-a");
    let is_next = |lines: &[String]| {
        let has_rate = |line: &String| {
            let parts: Vec<&str> = line.split(" | ").collect();
            let ["2 running", "0 waiting", rate, left] = parts.as_slice() else { return false };
            rate.ends_with("/min") && left.ends_with(" left")
        };
        lines.iter().any(has_rate)
            && live_of("batch", lines)[0].ends_with(" | 1/3 done | 0 failed")
            && rows_are(lines, &["row-b", "row-c"])
    };
    let next = terminal.shows("the third row, and the rate", is_next).await;
    assert!(next.iter().any(|line| line.starts_with("row completed (row: 0, id: row-a")), "{next:#?}");
    gates.open("row-b");
    gates.open("row-c");
    let ended = terminal.shows("the end", |lines| has_ended(lines, "batch", 0)).await;
    assert!(ended.iter().any(|line| line.starts_with("rows    3: 3 completed, 0 failed")), "{ended:#?}");
    assert!(rows_are(&ended, &[]), "{ended:#?}");
}
