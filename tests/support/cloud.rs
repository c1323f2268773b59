//! The Cloud API as a sandbox sees it, on wiremock.

use serde_json::{Value, json};
use wiremock::matchers::{header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// The key of the account.
pub const API_KEY: &str = super::keys::CLOUD;
/// The sandbox.
pub const SANDBOX_ID: &str = "sandbox-1";

/// An account with an LLM and secrets.
pub struct Cloud {
    pub server: MockServer,
}

impl Cloud {
    /// An account whose settings are these, and which has these secrets.
    pub async fn start(session_key: &str, settings: Value, secrets: &[(&str, &str)]) -> Self {
        let cloud = Self { server: MockServer::start().await };
        Mock::given(method("GET"))
            .and(path("/api/v1/users/me"))
            .and(query_param("expose_secrets", "true"))
            .and(header("authorization", format!("Bearer {API_KEY}")))
            .and(header("x-session-api-key", session_key))
            .respond_with(ResponseTemplate::new(200).set_body_json(settings))
            .mount(&cloud.server)
            .await;
        let names: Vec<Value> = secrets
            .iter()
            .map(|(name, _)| json!({"name": name, "description": format!("the secret {name}")}))
            .collect();
        let base = format!("/api/v1/sandboxes/{SANDBOX_ID}/settings/secrets");
        cloud.give(&base, session_key, ResponseTemplate::new(200).set_body_json(json!({"secrets": names}))).await;
        for (name, value) in secrets {
            cloud
                .give(&format!("{base}/{name}"), session_key, ResponseTemplate::new(200).set_body_string(*value))
                .await;
        }
        cloud
    }

    async fn give(&self, at: &str, session_key: &str, answer: ResponseTemplate) {
        Mock::given(method("GET"))
            .and(path(at))
            .and(header("x-session-api-key", session_key))
            .respond_with(answer)
            .mount(&self.server)
            .await;
    }

    pub fn url(&self) -> String {
        self.server.uri()
    }
}
