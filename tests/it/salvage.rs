//! What a run keeps of the agent's work: the patch in numbers, and the files of `collect`.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{AgentServer, Run, ScriptedLlm, Step};

crate::on_newest_and_oldest!(
    files_that_the_task_names_are_in_the_run_folder,
    an_agent_that_leaves_nothing_has_an_empty_patch,
);

/// A run in a working directory that is a repository, whose agent runs this command.
async fn run(server: &AgentServer, collect: &Value, command: &str) -> (Run, ScriptedLlm) {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Do the task", [Step::terminal(command), Step::finish("Done.")]);
    let working_dir = server.working_dir();
    std::fs::create_dir_all(&working_dir).unwrap();
    assert!(Command::new("git").args(["init", "-q", "."]).current_dir(&working_dir).status().unwrap().success());
    let run = Run::inside(server).llm(&llm).env("WORKSPACE_BASE", working_dir.to_str().unwrap());
    let run = run.args(["run", "--out", "out", "--format", "json", "task.md"]);
    (run.file("task.md", format!("---\ncollect: {collect}\n---\nDo the task.")), llm)
}

async fn files_that_the_task_names_are_in_the_run_folder(server: &AgentServer) {
    let command = "mkdir -p 'report/in a' && printf 'a\\000b' >'report/in a/binary' && echo page >report/page.html && echo x >x.xml \
        && echo y >y.txt && ln -s /etc/passwd report/link && head -c 40000000 /dev/zero >report/zeros && rm -f report/none";
    let (run, _llm) = run(server, &json!(["report/**", "**/*.xml"]), command).await;
    let finished = run.finish().await.exits_with(0).says("1 left out: report/zeros (over 32 MiB in all)");
    let result = finished.json();
    assert_eq!(result["collected"], json!({"files": 3, "bytes": 10, "left_out": 1}), "{result:#}");
    let collected = finished.path("out/collected");
    assert_eq!(std::fs::read(collected.join("report/in a/binary")).unwrap(), b"a\0b");
    assert_eq!(std::fs::read_to_string(collected.join("report/page.html")).unwrap(), "page\n");
    assert!(collected.join("x.xml").exists());
    for absent in ["y.txt", "report/link", "report/zeros"] {
        assert!(collected.join(absent).symlink_metadata().is_err(), "{absent}");
    }
}

async fn an_agent_that_leaves_nothing_has_an_empty_patch(server: &AgentServer) {
    let (run, _llm) = run(server, &json!(["report/**"]), "true").await;
    let finished = run.finish().await.exits_with(0).says("no file of the workspace matches `collect`: report/**");
    let result = finished.json();
    assert_eq!(result["patch"], json!({"files": 0, "insertions": 0, "deletions": 0}), "{result:#}");
    assert_eq!(result["collected"], json!({"files": 0, "bytes": 0, "left_out": 0}), "{result:#}");
    assert!(result.get("changes").is_none() && !finished.path("out/changes.patch").exists(), "{result:#}");
}
