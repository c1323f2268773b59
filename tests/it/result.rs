//! Results that a task asks for: an object of its own schema, on agent-servers whose finish tool takes further fields and
//! on ones where it has to be asked for in words.

use serde_json::{Value, json};

use crate::support::run::Finished;
use crate::support::{AgentServer, NEWEST, OLDEST, Run, ScriptedLlm, Step};

const TASK: &str = "---
result:
  schema:
    type: object
    properties:
      count: { type: integer, minimum: 1 }
      names: { type: array, items: { type: string } }
    required: [count]
---
Count the files.";

async fn run(server: &AgentServer, steps: impl IntoIterator<Item = Step>) -> Finished {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Count the files", steps);
    Run::inside(server).llm(&llm).task(TASK).args(["--format", "json"]).finish().await
}

fn finish(fields: Value) -> Step {
    let mut arguments = json!({"message": "counted"});
    arguments.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    Step::call("finish", arguments)
}

#[tokio::test]
async fn the_finish_tool_takes_the_object_and_the_server_has_it_mended() {
    let server = AgentServer::shared(NEWEST).await;
    let steps = [finish(json!({"count": "many"})), finish(json!({"count": 2, "names": ["a", "b"]}))];
    let result = run(server, steps).await.exits_with(0).json();
    assert_eq!(result["answer"], json!({"count": 2, "names": ["a", "b"]}));
    assert_eq!(result["message"], "counted");
}

#[tokio::test]
async fn a_completed_run_without_a_final_message_has_a_warning_in_its_result() {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Say nothing", [Step::finish("")]);
    llm.script("Say blanks", [Step::finish(" \n")]);
    let server = AgentServer::shared(NEWEST).await;
    for task in ["Say nothing.", "Say blanks."] {
        let finished = Run::inside(server).llm(&llm).task(task).args(["--format", "json"]).finish().await.exits_with(0);
        assert_eq!(finished.json()["warnings"], json!(["the agent finished without a final message"]));
        finished.says("the agent finished without a final message");
    }
}

#[tokio::test]
async fn an_agent_that_never_gives_the_object_fails_the_run() {
    let server = AgentServer::shared(NEWEST).await;
    let result = run(server, [Step::say("There are two.")]).await.exits_with(1).json();
    assert_eq!(result["error"]["code"], "InvalidAnswer", "{result:#}");
    assert_eq!(result["message"], "There are two.");
}

/// The server refuses each of these calls of the finish tool, and ends the turn in the end.
#[tokio::test]
async fn an_agent_that_finishes_again_and_again_without_a_fitting_object_gave_an_invalid_answer() {
    let server = AgentServer::shared(NEWEST).await;
    let same = vec![finish(json!({"count": "many"}))];
    let alternating = (0..40).map(|index| finish(json!({"count": if index % 2 == 0 { "many" } else { "few" }})));
    let without = vec![finish(json!({}))];
    for steps in [same, alternating.collect(), without] {
        let result = run(server, steps).await.exits_with(1).json();
        assert_eq!(result["error"]["code"], "InvalidAnswer", "{result:#}");
        assert!(result["error"]["detail"].as_str().unwrap().contains("AgentStuck"), "{result:#}");
    }
}

#[tokio::test]
async fn an_agent_that_runs_out_of_iterations_without_a_fitting_object_gave_an_invalid_answer() {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Count the files", (0..9).map(|index| finish(json!({"count": format!("about {index}")}))));
    let task = TASK.replace("result:", "limits: { iterations: 3 }\nresult:");
    let run = Run::inside(AgentServer::shared(NEWEST).await).llm(&llm).task(&task).args(["--format", "json"]);
    let result = run.finish().await.exits_with(1).json();
    assert_eq!(result["error"]["code"], "InvalidAnswer", "{result:#}");
    let detail = result["error"]["detail"].as_str().unwrap();
    assert!(detail.contains("not an integer") && detail.contains("MaxIterationsReached"), "{detail}");
}

/// Whose last call is not a finish is stuck in something else.
#[tokio::test]
async fn an_agent_that_is_stuck_before_its_finish_is_stuck() {
    let result = run(AgentServer::shared(NEWEST).await, [Step::terminal("true")]).await.exits_with(1).json();
    assert_eq!(result["error"]["code"], "AgentStuck", "{result:#}");
}

#[tokio::test]
async fn an_older_server_refuses_the_fields_and_an_object_that_does_not_fit_is_an_invalid_answer() {
    let server = &AgentServer::lent(OLDEST).await;
    let result = run(server, [finish(json!({"count": "many"}))]).await.exits_with(1).json();
    assert_eq!(result["error"]["code"], "InvalidAnswer", "{result:#}");
}

#[tokio::test]
async fn an_older_server_is_asked_in_words_and_the_object_is_checked_here() {
    let server = &AgentServer::lent(OLDEST).await;
    let result = run(server, [Step::finish("```json\n{\"count\": 2}\n```")]).await.exits_with(0).json();
    assert_eq!(result["answer"], json!({"count": 2}));
    let asked = server.user_messages(result["conversation_id"].as_str().unwrap()).await;
    assert!(asked[0].contains("JSON Schema") && asked[0].contains("\"minimum\":1"), "{asked:?}");

    let result = run(server, [Step::finish("{\"count\": 0}")]).await.exits_with(1).json();
    assert_eq!(result["error"]["code"], "InvalidAnswer", "{result:#}");
    assert!(result["error"]["detail"].as_str().unwrap().contains("count: 0 is beyond the minimum 1"), "{result:#}");
}

#[tokio::test]
async fn a_schema_that_cannot_be_checked_is_refused_before_anything_starts() {
    let task = TASK.replace("minimum: 1", "multipleOf: 3");
    let finished = Run::new().task(&task).finish().await.exits_with(78);
    finished.says("the-task.md").says("`multipleOf` at `schema.properties.count`; not supported");
}

#[tokio::test]
async fn a_conversation_that_was_started_without_the_question_is_asked_in_words() {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Begin", [Step::finish("begun")]);
    llm.script("Count the files", [Step::finish("{\"count\": 2}")]);
    let server = AgentServer::shared(NEWEST).await;
    let id = uuid::Uuid::new_v4().to_string();
    let run = |task: &str| Run::inside(server).llm(&llm).env("AUTOMATION_CONVERSATION_ID", &id).task(task);
    run("Begin.").finish().await.exits_with(0);
    let result = run(TASK).args(["--format", "json"]).finish().await.exits_with(0).json();
    assert_eq!(result["answer"], json!({"count": 2}));
    assert!(server.user_messages(&id).await[1].contains("JSON Schema"));
}

#[tokio::test]
async fn a_named_conversation_that_the_run_creates_may_give_the_object_with_its_finish_tool() {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Count the files", [finish(json!({"count": 2}))]);
    let server = AgentServer::shared(NEWEST).await;
    let id = uuid::Uuid::new_v4().to_string();
    let run = Run::inside(server).llm(&llm).env("AUTOMATION_CONVERSATION_ID", &id).task(TASK);
    let result = run.args(["--format", "json"]).finish().await.exits_with(0).json();
    assert_eq!(result["answer"], json!({"count": 2}));
    // No one knows from outside whose conversation it is: the words must not forbid what the tool asks for.
    let asked = server.user_messages(&id).await;
    assert!(asked[0].contains("if your finish tool has parameters for its fields, there"), "{asked:?}");
}
