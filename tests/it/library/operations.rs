//! The operations of a conversation beside its turns, on the newest and the oldest agent-server.

use std::collections::BTreeMap;
use std::error::Error as _;

use openhands_client::conversation::{ConfirmationPolicy, EventQuery, ForkOptions};
use openhands_client::{ConversationError, HttpError, Secrets, TurnEnd};

use super::{agent, at_work, conversation, many_steps, open, until_action, until_status};
use crate::support::{AgentServer, Gates, ScriptedLlm, Step};

crate::on_newest_and_oldest!(
    pausing_ends_the_turn_and_a_message_continues,
    interrupting_ends_a_running_command_where_the_version_can,
    stopping_works_on_every_version,
    title_and_tags_are_set,
    a_fork_has_the_events_and_continues_alone,
    the_history_is_condensed,
    the_agent_answers_a_question_beside_the_conversation,
    actions_wait_for_a_confirmation_are_rejected_and_confirmed,
    events_are_searched_and_counted,
    secrets_are_added_to_a_running_conversation,
    a_plugin_is_loaded_from_a_marketplace,
    a_conversation_is_deleted,
);

/// Whether a request failed because the agent-server's version lacks the endpoint.
#[track_caller]
fn is_unsupported<T>(result: Result<T, ConversationError>) -> bool {
    let error = result.err().expect("an older version lacks it");
    let source = error.source().and_then(|source| source.downcast_ref::<HttpError>());
    assert!(error.to_string().starts_with("failed to "), "{error}");
    matches!(source, Some(HttpError::Unsupported { .. }))
}

async fn pausing_ends_the_turn_and_a_message_continues(server: &AgentServer) {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Work", many_steps());
    llm.script("Finish", [Step::finish("Finished.")]);
    let workspace = open(server).await;
    let mut conversation = at_work(&workspace, &llm, server).await;
    conversation.pause().await.unwrap();
    assert_eq!(conversation.run().await.unwrap(), TurnEnd::Paused);
    conversation.send("Finish.").await.unwrap();
    assert_eq!(conversation.run().await.unwrap(), TurnEnd::Finished);
    assert_eq!(conversation.final_message().await.unwrap().as_deref(), Some("Finished."));
    conversation.close().await.unwrap();
}

async fn interrupting_ends_a_running_command_where_the_version_can(server: &AgentServer) {
    let (llm, gates) = (ScriptedLlm::start(0).await.unwrap(), Gates::new());
    gates.close("end");
    llm.script("Work", [Step::patient_terminal(&gates.wait("end")), Step::finish("Too late.")]);
    let workspace = open(server).await;
    let mut conversation = at_work(&workspace, &llm, server).await;
    if server.is_before("1.24.0") {
        assert!(is_unsupported(conversation.interrupt().await));
        gates.open("end");
        assert_eq!(conversation.run().await.unwrap(), TurnEnd::Finished);
    } else {
        conversation.interrupt().await.unwrap();
        assert_eq!(conversation.run().await.unwrap(), TurnEnd::Paused);
    }
    conversation.close().await.unwrap();
}

async fn stopping_works_on_every_version(server: &AgentServer) {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Work", many_steps());
    let workspace = open(server).await;
    let conversation = at_work(&workspace, &llm, server).await;
    conversation.stop().await.unwrap();
    until_status(server, &conversation.id().to_string(), "paused").await;
}

async fn title_and_tags_are_set(server: &AgentServer) {
    let llm = ScriptedLlm::start(0).await.unwrap();
    let workspace = open(server).await;
    let conversation = conversation(&workspace, &llm, &server.working_dir()).start().await.unwrap();
    conversation.set_title("A title of the test").await.unwrap();
    let tags = BTreeMap::from([("team".to_owned(), "blue".to_owned())]);
    let tagged = conversation.set_tags(&tags).await;
    let info = server.conversation(&conversation.id().to_string()).await;
    assert_eq!(info["title"], "A title of the test");
    if server.is_before("1.16.1") {
        let error = tagged.unwrap_err();
        let source = error.source().and_then(|source| source.downcast_ref::<HttpError>());
        assert_eq!(source.and_then(HttpError::status), Some(422), "{error:?}");
    } else {
        tagged.unwrap();
        assert_eq!(info["tags"]["team"], "blue");
    }
    // Nothing makes the server run the program that embeds the library.
    assert!(info["hook_config"].is_null(), "{info}");
}

async fn a_fork_has_the_events_and_continues_alone(server: &AgentServer) {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("First", [Step::finish("The first.")]);
    llm.script("Second", [Step::finish("The second.")]);
    let (workspace, directory) = (open(server).await, server.working_dir());
    let mut original = conversation(&workspace, &llm, &directory).start().await.unwrap();
    original.send("First.").await.unwrap();
    original.run().await.unwrap();
    let forked = original.fork(&ForkOptions::default().title("The fork")).await;
    if server.is_before("1.22.1") {
        assert!(is_unsupported(forked));
        return;
    }
    let id = forked.unwrap();
    assert_eq!(server.conversation(&id.to_string()).await["title"], "The fork");
    let mut fork = conversation(&workspace, &llm, &directory).id(id).start().await.unwrap();
    fork.send("Second.").await.unwrap();
    assert_eq!(fork.run().await.unwrap(), TurnEnd::Finished);
    assert_eq!(server.user_messages(&id.to_string()).await, ["First.", "Second."]);
    assert_eq!(server.user_messages(&original.id().to_string()).await, ["First."]);
}

async fn the_history_is_condensed(server: &AgentServer) {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Work", many_steps().take(8).chain([Step::finish("Done.")]));
    let workspace = open(server).await;
    let mut conversation = conversation(&workspace, &llm, &server.working_dir()).start().await.unwrap();
    conversation.send("Work.").await.unwrap();
    conversation.run().await.unwrap();
    conversation.condense().await.unwrap();
    let events = server.events(&conversation.id().to_string()).await;
    assert!(events.iter().any(|event| event["kind"] == "Condensation"), "{events:#?}");
}

async fn the_agent_answers_a_question_beside_the_conversation(server: &AgentServer) {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Work", [Step::finish("Done.")]);
    llm.script("What have you done", [Step::say("The work.")]);
    let workspace = open(server).await;
    let mut conversation = conversation(&workspace, &llm, &server.working_dir()).start().await.unwrap();
    conversation.send("Work.").await.unwrap();
    conversation.run().await.unwrap();
    assert_eq!(conversation.ask_agent("What have you done?").await.unwrap(), "The work.");
    assert_eq!(server.user_messages(&conversation.id().to_string()).await, ["Work."]);
}

async fn actions_wait_for_a_confirmation_are_rejected_and_confirmed(server: &AgentServer) {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script(
        "Work",
        [Step::terminal("echo 1 > rejected"), Step::terminal("echo 2 > confirmed"), Step::finish("Done.")],
    );
    let (workspace, directory) = (open(server).await, server.working_dir());
    let mut conversation = conversation(&workspace, &llm, &directory).start().await.unwrap();
    conversation.set_confirmation_policy(ConfirmationPolicy::Always).await.unwrap();
    conversation.send("Work.").await.unwrap();
    assert_eq!(conversation.run().await.unwrap(), TurnEnd::WaitingForConfirmation);
    conversation.reject("Not this one.").await.unwrap();
    assert_eq!(conversation.run().await.unwrap(), TurnEnd::WaitingForConfirmation);
    conversation.confirm().await.unwrap();
    let mut end = conversation.run().await.unwrap();
    if end == TurnEnd::WaitingForConfirmation {
        // Some versions let the agent finish without a confirmation.
        conversation.confirm().await.unwrap();
        end = conversation.run().await.unwrap();
    }
    assert_eq!(end, TurnEnd::Finished);
    assert!(!directory.join("rejected").exists() && directory.join("confirmed").exists());
    let events = server.events(&conversation.id().to_string()).await;
    assert!(events.iter().any(|event| event.to_string().contains("Not this one.")), "{events:#?}");
}

async fn events_are_searched_and_counted(server: &AgentServer) {
    let llm = ScriptedLlm::start(0).await.unwrap();
    llm.script("Look for the needle", [Step::terminal("echo hay"), Step::finish("Found.")]);
    let workspace = open(server).await;
    let mut conversation = conversation(&workspace, &llm, &server.working_dir()).start().await.unwrap();
    conversation.send("Look for the needle.").await.unwrap();
    conversation.run().await.unwrap();

    let all = conversation.count_events(&EventQuery::default()).await.unwrap();
    assert_eq!(all, u64::try_from(server.events(&conversation.id().to_string()).await.len()).unwrap());
    let of_user = EventQuery::default().source("user").body("NEEDLE");
    assert_eq!(conversation.count_events(&of_user).await.unwrap(), 1);
    let found = conversation.search_events(&of_user).await.unwrap();
    assert_eq!(found.events.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), ["MessageEvent"]);
    assert_eq!(found.next_page_id, None);

    // Page by page, the newest first.
    let mut query = EventQuery::default().source("agent").newest_first().limit(1);
    let mut kinds = Vec::new();
    loop {
        let page = conversation.search_events(&query).await.unwrap();
        assert!(page.events.len() <= 1);
        kinds.extend(page.events.into_iter().map(|event| event.kind));
        match page.next_page_id {
            Some(id) => query = query.page_id(id),
            None => break,
        }
    }
    let actions = kinds.iter().filter(|kind| *kind == "ActionEvent").count();
    assert_eq!((kinds.first().map(String::as_str), actions), (Some("ActionEvent"), 2), "{kinds:?}");
}

async fn secrets_are_added_to_a_running_conversation(server: &AgentServer) {
    let (llm, gates) = (ScriptedLlm::start(0).await.unwrap(), Gates::new());
    gates.close("added");
    llm.script(
        "Work",
        [
            Step::patient_terminal(&gates.wait("added")),
            Step::terminal("echo ${ADDED#top-} > seen"),
            Step::finish("Done."),
        ],
    );
    let (workspace, directory) = (open(server).await, server.working_dir());
    let mut conversation = conversation(&workspace, &llm, &directory).start().await.unwrap();
    conversation.send("Work.").await.unwrap();
    until_action(&mut conversation).await;
    let secrets = Secrets::from([("ADDED".to_owned(), "top-secret".into())]);
    // On some versions the request waits for the running command.
    let (added, ()) = tokio::join!(conversation.update_secrets(&secrets), async { gates.open("added") });
    added.unwrap();
    assert_eq!(conversation.run().await.unwrap(), TurnEnd::Finished);
    assert_eq!(std::fs::read_to_string(directory.join("seen")).unwrap(), "secret\n");
}

async fn a_plugin_is_loaded_from_a_marketplace(server: &AgentServer) {
    let (llm, market) = (ScriptedLlm::start(0).await.unwrap(), tempfile::tempdir().unwrap());
    llm.script("Work", [Step::finish("Done.")]);
    for (path, content) in [
        (
            ".plugin/marketplace.json",
            r#"{"name":"shop","owner":{"name":"us"},"plugins":[{"name":"tools","source":"./tools"}]}"#,
        ),
        ("tools/.plugin/plugin.json", r#"{"name":"tools","version":"1.0.0","description":"d"}"#),
        ("tools/skills/hammer/SKILL.md", "---\nname: hammer\ndescription: hits nails\n---\nHit the nail.\n"),
    ] {
        let path = market.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let workspace = open(server).await;
    let agent = agent(&llm).marketplace("shop", market.path().display().to_string());
    let directory = server.working_dir().display().to_string();
    let mut conversation = workspace.conversation(agent).working_dir(directory).start().await.unwrap();
    conversation.send("Work.").await.unwrap();
    conversation.run().await.unwrap();
    let loaded = conversation.load_plugin("tools@shop").await;
    if server.is_before("1.36.1") {
        assert!(is_unsupported(loaded));
        return;
    }
    loaded.unwrap();
    let info = server.get(&format!("/api/conversations/{}?include_skills=true", conversation.id())).await;
    assert!(info.to_string().contains("hits nails"), "{info:#}");
    let missing = conversation.load_plugin("saw@shop").await.unwrap_err();
    assert!(format!("{missing:?}").contains("saw"), "{missing:?}");
}

async fn a_conversation_is_deleted(server: &AgentServer) {
    let llm = ScriptedLlm::start(0).await.unwrap();
    let (workspace, directory) = (open(server).await, server.working_dir());
    let first = conversation(&workspace, &llm, &directory).start().await.unwrap();
    let second = conversation(&workspace, &llm, &directory).id(first.id()).start().await.unwrap();
    first.delete().await.unwrap();
    assert!(format!("{:?}", second.set_title("x").await.unwrap_err()).contains("404"));
}
