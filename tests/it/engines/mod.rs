//! Rows, and the engines that start a run for each of them.

mod eight_rows;
mod manifests;
mod pods;
mod slurm;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{AgentServer, Browser, NEWEST, Run, ScriptedLlm, Step};

const TASK: &str = "---\nname: \"Greet {{ row.name }}\"\nlimits: {iterations: \"{{ row.steps }}\"}\nchecks: [\"{{ row.check }}\"]\n\
    ---\nWrite a greeting for {{ row.name }}.";
const ROWS: &str = "id,name,steps,check\nfirst,Ada,20,true\nsecond/2,Grace,20,false\n";

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn row(server: &AgentServer, llm: &ScriptedLlm, out: &Path, variable: (&str, &str)) -> Run {
    let run = Run::inside(server).llm(llm).env(variable.0, variable.1).file("task.md", TASK).file("rows.csv", ROWS);
    run.args(["run", "task.md", "--rows", "rows.csv", "--row", "auto", "--out", out.to_str().unwrap()])
}

async fn greeting_llm() -> ScriptedLlm {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Write a greeting for Ada.", [Step::finish("Hello, Ada.")]);
    llm.script("Write a greeting for Grace.", [Step::finish("Hello, Grace.")]);
    llm
}

#[tokio::test]
async fn each_process_of_an_engine_runs_its_row_in_a_folder_of_its_own() {
    let server = AgentServer::shared(NEWEST).await;
    let llm = greeting_llm().await;
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let out = home.path().join("batch");

    let first = row(server, &llm, &out, ("JOB_COMPLETION_INDEX", "0")).finish();
    let second = row(server, &llm, &out, ("CI_NODE_INDEX", "2")).finish();
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.exits_with(0).stdout, "Hello, Ada.\n");
    second.exits_with(1);
    let batch = json_of(&out.join("batch.json"))["id"].as_str().unwrap().to_owned();
    let result = |key: &str| json_of(&out.join("rows").join(key).join("result.json"));
    assert_eq!(result("first")["run_id"], format!("{batch}-first"));
    let before = result("second-2");
    assert_eq!(
        (&before["run_id"], &before["error"]["code"]),
        (&json!(format!("{batch}-second-2")), &json!("ChecksFailed"))
    );
    let kept = json_of(&out.join("rows/second-2/row.json"));
    assert_eq!((&kept["number"], &kept["fields"]["name"]), (&json!(1), &json!("Grace")), "{kept:#}");
    let conversation = server.conversation(before["conversation_id"].as_str().unwrap()).await;
    assert_eq!(conversation["title"], "Greet Grace");

    // A job that is submitted again runs only what has not completed, and continues it.
    let calls = llm.calls().len();
    let again = row(server, &llm, &out, ("SLURM_ARRAY_TASK_ID", "0")).finish().await.exits_with(0);
    assert!(again.stderr.contains("the row has already completed"), "{}", again.stderr);
    assert_eq!(llm.calls().len(), calls);
    row(server, &llm, &out, ("SLURM_ARRAY_TASK_ID", "1")).finish().await.exits_with(1);
    assert_eq!(result("second-2")["conversation_id"], before["conversation_id"]);
}

#[tokio::test]
async fn the_results_of_all_rows_are_joined_and_the_page_sorts_and_filters_in_a_browser() {
    let server = AgentServer::shared(NEWEST).await;
    let llm = greeting_llm().await;
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let out = home.path().join("batch");
    let first = row(server, &llm, &out, ("JOB_COMPLETION_INDEX", "0")).finish();
    let second = row(server, &llm, &out, ("JOB_COMPLETION_INDEX", "1")).finish();
    let (first, second) = tokio::join!(first, second);
    first.exits_with(0);
    second.exits_with(1);

    let joined = Run::new().args(["batch", "report", out.to_str().unwrap(), "--format", "json"]).finish().await;
    let joined = joined.exits_with(0).json();
    let summary = json!({"rows": 2, "completed": 1, "failed": 1, "unfinished": 0, "cost": joined["summary"]["cost"],
        "classes": {"checks": 1}});
    assert_eq!(joined["summary"], summary);
    let table = fs::read_to_string(out.join("results.csv")).unwrap();
    let cells = |line: usize| table.lines().nth(line).unwrap().split(',').collect::<Vec<_>>();
    assert_eq!(cells(1)[..3], ["0", "first", "COMPLETED"]);
    assert_eq!(cells(2)[..5], ["1", "second-2", "FAILED", "checks", "ChecksFailed"]);
    let junit = fs::read_to_string(out.join("junit.xml")).unwrap();
    assert!(junit.contains(r#"tests="2" failures="1" errors="0" skipped="0""#), "{junit}");

    let mut browser = Browser::start().await;
    browser.open(&out.join("report.html")).await;
    let shown = "[...document.querySelectorAll('#rows tr')].filter((row) => !row.hidden).map((row) => row.cells[1].querySelector('a').textContent)";
    assert_eq!(browser.value(shown).await, json!(["first", "second-2"]));
    // How cost and time are spread, and the failures by class.
    let spreads =
        "[...document.querySelectorAll('.spread section')].map((part) => part.querySelectorAll('rect').length > 0)";
    assert_eq!(browser.value(spreads).await, json!([true, true]));
    let classes = "[...document.querySelectorAll('h2 + section td:nth-child(2)')].map((cell) => cell.textContent)";
    assert_eq!(browser.value(classes).await, json!(["checksChecksFailed"]));
    let click = |head: usize| format!("document.querySelectorAll('th button')[{head}].click()");
    for _ in 0..2 {
        browser.value(&click(0)).await;
    }
    assert_eq!(browser.value(shown).await, json!(["second-2", "first"]));
    browser.value("text.value = 'grace'; text.dispatchEvent(new Event('input'))").await;
    assert_eq!(browser.value(shown).await, json!(["second-2"]));
    assert_eq!(browser.value("document.querySelector('#shown').textContent").await, "1 of 2 rows");
    browser.value("verdict.value = 'COMPLETED'; verdict.dispatchEvent(new Event('change'))").await;
    assert_eq!(browser.value(shown).await, json!([]));
    // The link of a row leads to the report of its run.
    let link = browser.value("document.querySelector('#rows a').href").await;
    let page = link.as_str().unwrap().strip_prefix("file://").unwrap().to_owned();
    browser.open(Path::new(&page)).await;
    assert_eq!(browser.value("document.querySelector('h1').textContent").await, "FAILED: ChecksFailed");

    let other = Run::new().args(["batch", "report", home.path().to_str().unwrap()]).finish().await.exits_with(78);
    assert!(other.stderr.contains("has no batch.json") && other.stderr.contains("name the folder"), "{}", other.stderr);
}

#[tokio::test]
async fn a_row_that_cannot_be_found_ends_the_run_before_anything_starts() {
    let of = |arguments: [&str; 2], rows: &str| {
        Run::new()
            .file("task.md", TASK)
            .file("rows.csv", rows)
            .args(["run", "task.md", "--rows", "rows.csv"])
            .args(arguments)
    };
    for (arguments, rows, expected) in [
        (["--row", "auto"], ROWS, "no engine has numbered this process"),
        (["--row", "2"], ROWS, "there is no row 2"),
        (["--row", "1"], "id,name\na,b,c\n", "rows.csv:2"),
        (
            ["--row", "0"],
            "id,name,steps,check\na,b,many,c\n",
            "invalid value `many` for `limits.iterations`, from rows.csv:2",
        ),
        (["--row", "0"], "id,nam,steps,check\na,b,3,c\n", "`row` has no `name` at rows.csv:2"),
    ] {
        let ended = of(arguments, rows).finish().await.exits_with(78);
        assert!(ended.stderr.contains(expected), "{expected}: {}", ended.stderr);
    }
    let alone = Run::new().file("task.md", TASK).args(["run", "task.md"]).finish().await.exits_with(78);
    assert!(alone.stderr.contains("the value comes from a row"), "{}", alone.stderr);
}

#[tokio::test]
async fn check_makes_the_task_of_each_row() {
    let server = AgentServer::shared(NEWEST).await;
    let check = |rows: &str| {
        let run = Run::inside(server).env("LLM_MODEL", "m").env("LLM_API_KEY", "sk-key-of-the-test");
        run.file("task.md", TASK).file("rows.csv", rows).args(["check", "task.md", "--rows", "rows.csv"])
    };
    let good = check(ROWS).args(["--limit", "1"]).finish().await.exits_with(0);
    assert!(good.stdout.contains("1 of 2 in rows.csv, each gives a task"), "{}", good.stdout);
    let bad = check("id,name,steps,check\na,b,3,c\nd,e,f,g\nh,i,0,j\n").finish().await.exits_with(78);
    for expected in ["task.md:3:22: invalid value `f` for `limits.iterations`, from rows.csv:3", "from rows.csv:4"] {
        assert!(bad.stdout.contains(expected), "{expected}: {}", bad.stdout);
    }
}
