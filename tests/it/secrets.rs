//! Where keys go, and who can read them.

use crate::support::{Receiver, Run};

/// 0.0.0.0 is no address of this machine by name, and leads to it.
#[tokio::test]
async fn a_key_over_plain_http_to_another_machine_is_a_warning_that_names_the_variable() {
    let receiver = Receiver::start().await;
    let elsewhere = receiver.url().replace("127.0.0.1", "0.0.0.0");
    for (variable, key) in [
        ("AUTOMATION_CALLBACK_URL", "AUTOMATION_CALLBACK_API_KEY"),
        ("AUTOMATION_CALLBACK_URL", "OPENHANDS_API_KEY"),
        ("AUTOMATION_PHASE_URL", "AUTOMATION_CALLBACK_API_KEY"),
        ("LLM_BASE_URL", "LLM_API_KEY"),
        ("OPENHANDS_CLOUD_API_URL", "OPENHANDS_API_KEY"),
        ("AGENT_SERVER_URL", "SESSION_API_KEY"),
    ] {
        let warns = async |url: &str| {
            let run = Run::new().env(variable, url).env(key, "sk-0123456789abcdef").args(["run", "no-such-file.md"]);
            let finished = run.finish().await.exits_with(78);
            let names_it = finished.stderr.contains(variable) || finished.stderr.contains(key);
            finished.stderr.contains("over plain http to another machine") && names_it
        };
        assert!(warns(&elsewhere).await, "{variable}");
        assert!(!warns(&receiver.url()).await, "{variable}");
    }
}
