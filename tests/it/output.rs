//! Standard output, result file, log, help and schemas.

use std::process::Stdio;

use serde_json::Value;

use crate::support::{AgentServer, NEWEST, Receiver, Run, ScriptedLlm, Step};

async fn llm() -> ScriptedLlm {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Do the task", [Step::terminal("echo one"), Step::finish("Done.")]);
    llm
}

#[tokio::test]
async fn json_and_the_result_file_hold_the_same_and_fit_the_schema() {
    let (llm, server) = (llm().await, AgentServer::shared(NEWEST).await);
    let finished = Run::inside(server)
        .llm(&llm)
        .args(["run", "--format", "json", "--result", "result.json", "-o", "last.txt", "task.md"])
        .file("task.md", "Do the task.")
        .finish()
        .await
        .exits_with(0);
    let result = finished.json();
    assert_eq!(result["status"], "COMPLETED");
    assert_eq!(result["message"], "Done.");
    assert_eq!(result["exit_code"], 0);
    let file: Value = serde_json::from_slice(&std::fs::read(finished.path("result.json")).unwrap()).unwrap();
    assert_eq!(file, result);
    assert_eq!(std::fs::read_to_string(finished.path("last.txt")).unwrap(), "Done.\n");

    let schema = Run::new().args(["schema", "result"]).finish().await.exits_with(0).json();
    let known = schema["properties"].as_object().unwrap();
    for field in result.as_object().unwrap().keys() {
        assert!(known.contains_key(field), "{field} is not in the schema");
    }
}

#[tokio::test]
async fn the_schema_names_every_field_of_a_task() {
    let schema = Run::new().args(["schema"]).finish().await.exits_with(0).json();
    for field in ["name", "prompt", "then", "llm", "secrets", "limits", "tags", "working_dir"] {
        assert!(!schema["properties"][field].is_null(), "{field}");
    }
    assert_eq!(schema["additionalProperties"], false);
}

/// OSC 52 writes the clipboard; U+009B is CSI in one character; U+202E turns the direction of reading around.
#[tokio::test]
async fn a_terminal_gets_nothing_that_it_obeys_and_a_pipe_gets_the_message_as_it_is() {
    const MESSAGE: &str = "Done\u{1b}]52;c;ZXZpbA==\u{7} and\u{9b}2J \u{202e}well\u{1b}[31m.";
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Do the task", [Step::finish(MESSAGE)]);
    let server = AgentServer::shared(NEWEST).await;
    for format in ["text", "json", "jsonl"] {
        let run = || {
            let run = Run::inside(server).llm(&llm).file("task.md", "Do the task.");
            run.args(["run", "--format", format, "task.md"])
        };
        let terminal = nix::pty::openpty(None, None).unwrap();
        let reading = {
            let mut master = std::fs::File::from(terminal.master);
            // Ends with an error when the last process has closed the terminal.
            std::thread::spawn(move || {
                let mut shown = Vec::new();
                let _ = std::io::Read::read_to_end(&mut master, &mut shown);
                String::from_utf8(shown).unwrap()
            })
        };
        let on_terminal = run().command(|command| {
            command.stdout(Stdio::from(terminal.slave));
        });
        on_terminal.finish().await.exits_with(0);
        let shown = reading.join().unwrap();
        assert!(shown.contains("Done") && shown.contains("well"), "{format}: {shown:?}");
        let obeyed = |char: char| !matches!(char, '\r' | '\n') && (char.is_control() || char == '\u{202e}');
        assert!(!shown.contains(obeyed), "{format}: {shown:?}");

        let finished = run().finish().await.exits_with(0);
        match format {
            "text" => assert_eq!(finished.stdout, format!("{MESSAGE}\n")),
            "json" => assert_eq!(finished.json()["message"], MESSAGE),
            _ => assert_eq!(finished.json_lines().last().unwrap()["message"], MESSAGE),
        }
    }
}

#[tokio::test]
async fn log_lines_can_be_json() {
    let finished = Run::new().args(["run", "--log-format", "json", "no.md"]).finish().await.exits_with(78);
    for line in finished.stderr.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
}

#[tokio::test]
async fn a_result_file_that_cannot_be_written_changes_no_outcome() {
    let (llm, server, receiver) = (llm().await, AgentServer::shared(NEWEST).await, Receiver::start().await);
    let finished = Run::inside(server)
        .llm(&llm)
        .reports_to(&receiver, "full-disk")
        .args(["run", "--result", "/proc/no/result.json", "task.md"])
        .file("task.md", "Do the task.")
        .finish()
        .await
        .exits_with(0);
    finished.says("the result file could not be written");
    assert_eq!(receiver.accepted()["status"], "COMPLETED");
}

#[tokio::test]
async fn closed_output_ends_no_run() {
    let (llm, server) = (llm().await, AgentServer::shared(NEWEST).await);
    for (name, format) in [("closed-text", "text"), ("closed-json", "jsonl")] {
        let receiver = Receiver::start().await;
        let run = Run::inside(server)
            .llm(&llm)
            .reports_to(&receiver, &format!("{name}-{}", uuid::Uuid::new_v4()))
            .args(["run", "--format", format, "task.md"])
            .file("task.md", "Do the task.")
            .command(|command| {
                let (reader, writer) = std::io::pipe().unwrap();
                drop(reader);
                command.stdout(Stdio::from(writer.try_clone().unwrap())).stderr(Stdio::from(writer));
            });
        run.finish().await.exits_with(0);
        assert_eq!(receiver.accepted()["status"], "COMPLETED");
    }
}
