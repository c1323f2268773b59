//! `action.yml`: its steps, run by bash as GitHub's runner runs them.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde::Deserialize;
use tempfile::TempDir;

use super::archive::Releases;
use crate::github::outputs;
use crate::support::release::{output, without_rust};
use crate::support::{AgentServer, CloudServer, NEWEST, ScriptedLlm, Step, cloud_server, keys, repository};

#[derive(Deserialize)]
struct Action {
    inputs: serde_json::Map<String, serde_json::Value>,
    outputs: serde_json::Map<String, serde_json::Value>,
    runs: Runs,
}

#[derive(Deserialize)]
struct Runs {
    using: String,
    steps: Vec<ActionStep>,
}

#[derive(Deserialize)]
struct ActionStep {
    shell: String,
    env: serde_json::Map<String, serde_json::Value>,
    run: String,
}

/// A job with this step, and the variables that the job has.
struct Job<'j> {
    folder: TempDir,
    releases: &'j Releases,
    inputs: Vec<(&'j str, String)>,
    variables: Vec<(&'j str, String)>,
}

impl<'j> Job<'j> {
    fn with(releases: &'j Releases, inputs: impl IntoIterator<Item = (&'j str, String)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["temp", "workspace"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder, releases, inputs: inputs.into_iter().collect(), variables: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What an expression gives. All that the action uses is known here.
    fn value(&self, action: &Action, expression: &str) -> String {
        let Some(inner) = expression.strip_prefix("${{ ").and_then(|rest| rest.strip_suffix(" }}")) else {
            assert!(!expression.contains("${{"), "an expression amid text: {expression}");
            return expression.to_owned();
        };
        match inner.split(" || ").next().unwrap() {
            "inputs.releases" => self.releases.url(),
            "github.action_ref" => format!("v{}", env!("CARGO_PKG_VERSION")),
            input => {
                let name = input.strip_prefix("inputs.").unwrap_or_else(|| panic!("unknown: {input}"));
                let declared = action.inputs.get(name).unwrap_or_else(|| panic!("no input {name}"));
                let given = self.inputs.iter().find(|(given, _)| *given == name).map(|(_, value)| value.clone());
                given.unwrap_or_else(|| declared["default"].as_str().unwrap_or_default().to_owned())
            }
        }
    }

    /// Runs the steps up to the first that fails; gives what the last one wrote.
    async fn runs(&self) -> Output {
        let text = std::fs::read_to_string(repository::file("action.yml")).unwrap();
        let action: Action = yaml_serde::from_str(&text).unwrap();
        assert_eq!(action.runs.using, "composite");
        let known: Vec<&str> = self.inputs.iter().map(|(name, _)| *name).collect();
        assert!(known.iter().all(|name| action.inputs.contains_key(*name)), "{known:?}");
        let mut last = None;
        for step in &action.runs.steps {
            assert_eq!(step.shell, "bash");
            assert!(!step.run.contains("${{"), "text from outside becomes a part of a script");
            std::fs::write(self.path("script"), &step.run).unwrap();
            let mut command = without_rust("bash", &self.path("workspace"));
            command.args(["--noprofile", "--norc", "-e", "-o", "pipefail"]).arg(self.path("script"));
            command.env("GITHUB_ACTIONS", "true").env("RUNNER_TEMP", self.path("temp"));
            command.env("GITHUB_ACTION_PATH", repository::file("").as_os_str());
            command.env("GITHUB_OUTPUT", self.path("output")).env("GITHUB_STEP_SUMMARY", self.path("summary"));
            command.envs(step.env.iter().map(|(name, value)| (name, self.value(&action, value.as_str().unwrap()))));
            let done = output({
                command.envs(self.variables.iter().map(|(name, value)| (*name, value)));
                command
            });
            let done = done.await;
            let failed = !done.status.success();
            last = Some(done);
            if failed {
                break;
            }
        }
        // What it promises is what the program writes.
        for (name, declared) in &action.outputs {
            assert_eq!(declared["value"], format!("${{{{ steps.run.outputs.{name} }}}}"));
        }
        last.unwrap()
    }

    #[track_caller]
    fn output(&self, name: &str) -> String {
        let found = outputs(&self.path("output")).into_iter().find(|(output, _)| output == name);
        found.unwrap_or_else(|| panic!("no output {name}")).1
    }

    /// The run completed with this answer and has left a report and a summary.
    #[track_caller]
    fn completed_with(&self, done: &Output, message: &str) {
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert_eq!((self.output("status"), self.output("message")), ("COMPLETED".to_owned(), message.to_owned()));
        assert!(self.output("cost").parse::<f64>().unwrap() > 0.0);
        assert!(Path::new(&self.output("report")).starts_with(self.path("workspace").canonicalize().unwrap()));
        assert!(Path::new(&self.output("report")).is_file());
        let summary = std::fs::read_to_string(self.path("summary")).unwrap();
        assert!(summary.starts_with("### openhands-runner: COMPLETED"), "{summary}");
    }
}

#[tokio::test]
async fn the_action_runs_a_task_file_on_a_given_agent_server() {
    let releases = Releases::published().await;
    let server = AgentServer::shared(NEWEST).await;
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Greet 'the' $(world)", [Step::finish("Greeted.")]);
    let mut job = Job::with(
        &releases,
        [
            ("task", "a task.md".to_owned()),
            ("params", "whom='the' $(world)\n".to_owned()),
            ("agent-server-url", server.url("")),
            ("agent-server-key", server.key.clone()),
            ("working-dir", server.working_dir().to_str().unwrap().to_owned()),
        ],
    );
    job.variables = vec![
        ("LLM_MODEL", "openai/scripted".to_owned()),
        ("LLM_API_KEY", keys::LLM.to_owned()),
        ("LLM_BASE_URL", llm.url()),
    ];
    let task = format!("---\nllm: {}\n---\nGreet {{{{ params.whom }}}}", crate::support::run::LLM_COST);
    std::fs::write(job.path("workspace/a task.md"), task).unwrap();
    let done = job.runs().await;
    job.completed_with(&done, "Greeted.");
    assert!(job.path("workspace/openhands-run/report.html").is_file());
}

#[tokio::test]
async fn the_action_runs_a_prompt_in_a_sandbox_of_the_cloud() {
    let releases = Releases::published().await;
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Say hello", [Step::finish("Hello.")]);
    let cloud = CloudServer::start(&[]).await;
    cloud.set_llm(&llm).await;
    let job = Job::with(
        &releases,
        [
            ("prompt", "Say hello; `then` \"stop\".".to_owned()),
            ("api-key", cloud_server::API_KEY.to_owned()),
            ("api-url", cloud.url()),
            ("timeout", "5m".to_owned()),
            ("max-cost", "1.50".to_owned()),
            ("out", "a report".to_owned()),
        ],
    );
    let done = job.runs().await;
    job.completed_with(&done, "Hello.");
    assert!(job.path("workspace/a report/report.html").is_file());
    assert_eq!(cloud.sandboxes().await, [serde_json::Value::Null; 0]);
}

#[tokio::test]
async fn an_action_without_a_task_says_what_to_give_and_a_failed_run_fails_the_step() {
    let releases = Releases::published().await;
    let job = Job::with(&releases, [("agent-server-url", "http://127.0.0.1:9".to_owned())]);
    let done = job.runs().await;
    assert_eq!(done.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&done.stdout),
        "::error::give the action a task file (task) or a text (prompt)\n"
    );

    let job = Job::with(&releases, [("agent-server-url", "no address".to_owned()), ("prompt", "x".to_owned())]);
    let done = job.runs().await;
    assert_eq!(done.status.code(), Some(78), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(job.output("status"), "FAILED");
    assert!(job.output("reason").contains("AGENT_SERVER_URL"), "{}", job.output("reason"));
}

#[test]
fn workflows_and_the_action_are_what_github_reads() {
    let check = |schema: &str, files: &[PathBuf]| {
        let tool = "set -euo pipefail; . scripts/lib/common.sh; exec \"$(python_environment release)/bin/check-jsonschema\" \"$@\"";
        let done = std::process::Command::new("bash")
            .args(["-c", tool, "check", "--builtin-schema", schema])
            .args(files)
            .current_dir(repository::file(""))
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    };
    let workflows = std::fs::read_dir(repository::file(".github/workflows")).unwrap();
    check("vendor.github-workflows", &workflows.map(|entry| entry.unwrap().path()).collect::<Vec<_>>());
    check("vendor.github-actions", &[repository::file("action.yml")]);
}
