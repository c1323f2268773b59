//! A run in a step of GitHub Actions.

use std::fs;
use std::path::Path;

use crate::support::{AgentServer, NEWEST, Run, ScriptedLlm, Step, keys};

/// The outputs of a step, as GitHub's runner reads them.
pub fn outputs(file: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(file).unwrap();
    let (mut lines, mut read) = (text.lines(), Vec::new());
    while let Some(line) = lines.next() {
        read.push(match line.split_once("<<") {
            Some((name, end)) => {
                let value: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
                (name.to_owned(), value.join("\n"))
            }
            None => line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap(),
        });
    }
    read
}

#[tokio::test]
async fn a_step_has_a_summary_and_outputs_that_a_hostile_answer_cannot_write() {
    let hostile = format!(
        "```\n# Owned\n<img src=x>\n::set-env name=PATH::/tmp\nEOF\nghadelimiter_0\nstatus=OWNED\nreport<<EOF\n/owned\nEOF\n\
         the key is {}",
        keys::LLM
    );
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Do the task", [Step::finish(&hostile)]);
    let run = Run::inside(AgentServer::shared(NEWEST).await).llm(&llm).env("GITHUB_ACTIONS", "true");
    let run = run.env("GITHUB_STEP_SUMMARY", "summary.md").env("GITHUB_OUTPUT", "output.txt");
    let run = run.file("task.md", "Do the task.").file("output.txt", "earlier=1\nunended=2");
    let finished = run.args(["run", "--out", "out", "task.md"]).finish().await.exits_with(0);

    let known = outputs(&finished.path("output.txt"));
    let value = |name: &str| {
        let values: Vec<&str> =
            known.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect();
        assert_eq!(values.len(), 1, "{name}: {known:#?}");
        values[0]
    };
    assert_eq!((value("earlier"), value("unended"), value("status")), ("1", "2", "COMPLETED"));
    let shown = hostile.replace("\n::set-env", "\n: :set-env").replace(keys::LLM, "***");
    assert_eq!(value("message"), shown);
    assert!(value("prompt-tokens").parse::<u64>().unwrap() > 0);
    assert!(Path::new(value("report")).is_file() && value("report").ends_with("/out/report.html"));
    assert!(known.iter().all(|(name, _)| name != "reason"), "{known:#?}");

    let summary = fs::read_to_string(finished.path("summary.md")).unwrap();
    assert!(
        summary.starts_with("### openhands-runner: COMPLETED\n\n**Answer**\n\n````text\n```\n# Owned\n"),
        "{summary}"
    );
    assert!(summary.contains("the key is ***\n````\n\n| | |\n") && summary.contains("\n| tokens | "), "{summary}");
}

#[tokio::test]
async fn a_step_whose_run_never_began_has_the_reason() {
    for arguments in [["run", "missing.md"], ["run", "--no-such-flag"]] {
        let run = Run::new().env("GITHUB_STEP_SUMMARY", "summary.md").env("GITHUB_OUTPUT", "output.txt");
        let finished = run.args(arguments).finish().await;
        let known = outputs(&finished.path("output.txt"));
        let [(status, failed), (code, _), (reason, detail)] = &known[..] else { panic!("{known:#?}") };
        assert_eq!([status, failed, code, reason], ["status", "FAILED", "code", "reason"]);
        assert!(detail.contains(arguments[1]), "{detail}");
        let summary = fs::read_to_string(finished.path("summary.md")).unwrap();
        assert!(summary.contains("**Reason**") && summary.contains(detail.lines().next().unwrap()), "{summary}");
    }
}
