//! Eight rows for a real engine, and what has to be there when all have run.

use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::support::repository;
use crate::support::{NEWEST, Run, ScriptedLlm, Step};

/// The command line of an agent-server, without its port.
pub fn server_program() -> String {
    let python = repository::file(format!("target/python/agent-server-{NEWEST}/bin/python"));
    format!("{} -m openhands.agent_server --host 127.0.0.1", python.display())
}

/// The rows, their task and their LLM. The row with the number 3 does not pass its check.
pub struct EightRows {
    pub home: TempDir,
    pub llm: ScriptedLlm,
}

impl EightRows {
    pub async fn new() -> Self {
        let llm = ScriptedLlm::start(0).await.unwrap();
        llm.script("Greet ", [Step::terminal("echo Hello >greeting.txt"), Step::finish("Done.")]);
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let task = "---\nchecks: [\"{{ row.check }}\"]\nlimits: {attempts: 1}\n---\nGreet {{ row.name }}.";
        fs::write(home.path().join("task.md"), task).unwrap();
        let row = |number: u32| {
            let check = if number == 3 { "false" } else { "test -s greeting.txt" };
            format!("row-{number},Person {number},{check}\n")
        };
        let rows: String = std::iter::once("id,name,check\n".to_owned()).chain((0..8).map(row)).collect();
        fs::write(home.path().join("rows.csv"), rows).unwrap();
        Self { home, llm }
    }

    /// What the runner and its agent-server need in their environment.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let folder = self.home.path().display();
        [
            ("LLM_MODEL", "openai/scripted".to_owned()),
            ("LLM_API_KEY", "key-of-the-llm".to_owned()),
            ("LLM_BASE_URL", self.llm.url()),
            ("HOME", folder.to_string()),
            ("LITELLM_LOCAL_MODEL_COST_MAP", "True".to_owned()),
            ("OH_PRELOAD_TOOLS", "false".to_owned()),
            ("OH_ENABLE_VSCODE", "false".to_owned()),
            ("OH_ENABLE_VNC", "false".to_owned()),
        ]
        .into()
    }

    /// What the processes of the engine have logged.
    pub fn logs(&self) -> String {
        let entries = fs::read_dir(self.home.path()).unwrap().map(|entry| entry.unwrap().path());
        let logs = entries.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
        let texts = logs.map(|path| format!("{}:\n{}", path.display(), fs::read_to_string(&path).unwrap()));
        texts.collect::<Vec<_>>().join("\n")
    }

    /// The joined report has all eight rows, each with its result.
    pub async fn are_joined(&self, out: &str) {
        let folder = self.home.path().join(out);
        let report = Run::new().args(["batch", "report", folder.to_str().unwrap(), "--format", "json"]);
        let summary = report.finish().await.exits_with(0).json()["summary"].clone();
        let counts = ["rows", "completed", "failed", "unfinished"].map(|name| summary[name].as_u64().unwrap());
        assert_eq!((counts, &summary["classes"]), ([8, 7, 1, 0], &json!({"checks": 1})), "{}", self.logs());
        let table = fs::read_to_string(folder.join("results.csv")).unwrap();
        let rows: Vec<(&str, &str)> = table.lines().skip(1).map(two_cells).collect();
        let expected = |number: usize| if number == 3 { "FAILED" } else { "COMPLETED" };
        for (number, (key, status)) in rows.iter().enumerate() {
            assert_eq!((*key, *status), (&*format!("row-{number}"), expected(number)), "{table}");
            assert!(Path::new(&folder).join("rows").join(key).join("report.html").exists(), "{key}");
        }
    }
}

/// The id and the status of a row in the table.
fn two_cells(line: &str) -> (&str, &str) {
    let mut cells = line.split(',').skip(1);
    (cells.next().unwrap(), cells.next().unwrap())
}
