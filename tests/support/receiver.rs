//! The automation service's callback endpoint, on wiremock: it answers as it is told, and keeps what came.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "support code, of which tests and benchmarks use different parts"
)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers};

use super::keys;

/// A callback that came, and how it was answered.
#[derive(Debug, Clone)]
pub struct Callback {
    pub body: Value,
    pub authorization: Option<String>,
    pub answer: Answer,
    pub at: Instant,
}

/// How a callback is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// With this status.
    Status(u16),
    /// 409 for a run that the service has not noted as running yet.
    Early,
    /// 429 with `Retry-After`, in seconds.
    RetryAfter(u64),
    /// With this status and an HTML page, as a proxy in front of the service does.
    Page(u16),
    /// 307 to this address, which keeps method and body.
    Redirect(&'static str),
    /// Another redirect to this address.
    Moved(u16, &'static str),
    /// Not within any time that matters.
    Never,
}

impl Answer {
    fn template(self) -> ResponseTemplate {
        match self {
            Self::Status(status) => {
                ResponseTemplate::new(status).set_body_json(json!({"detail": format!("scripted {status}")}))
            }
            Self::Early => {
                ResponseTemplate::new(409).set_body_json(json!({"detail": "Run is PENDING, expected RUNNING"}))
            }
            Self::RetryAfter(seconds) => ResponseTemplate::new(429).insert_header("retry-after", seconds.to_string()),
            Self::Page(status) => ResponseTemplate::new(status).set_body_raw("<html>Wait a moment</html>", "text/html"),
            Self::Redirect(url) => ResponseTemplate::new(307).insert_header("location", url),
            Self::Moved(status, url) => ResponseTemplate::new(status).insert_header("location", url),
            Self::Never => ResponseTemplate::new(200).set_delay(Duration::from_secs(3600)),
        }
    }
}

/// A receiver of completion callbacks. Like the real service it accepts one and answers 409 from then on.
pub struct Receiver {
    server: MockServer,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Answers that come before the normal ones.
    first: Mutex<Vec<Answer>>,
    callbacks: Mutex<Vec<Callback>>,
}

impl Receiver {
    /// One that accepts the first callback.
    pub async fn start() -> Self {
        Self::answering([]).await
    }

    /// One that gives these answers first.
    pub async fn answering(first: impl IntoIterator<Item = Answer>) -> Self {
        Self::on(MockServer::start().await, first).await
    }

    /// One on this port.
    pub async fn start_on(port: u16) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
        Self::on(MockServer::builder().listener(listener).start().await, []).await
    }

    async fn on(server: MockServer, first: impl IntoIterator<Item = Answer>) -> Self {
        let state = Arc::new(State { first: Mutex::new(first.into_iter().collect()), ..State::default() });
        let answers = Answers(Arc::clone(&state));
        Mock::given(matchers::method("POST"))
            .and(matchers::path("/complete"))
            .respond_with(answers)
            .mount(&server)
            .await;
        Self { server, state }
    }

    pub fn url(&self) -> String {
        format!("{}/complete", self.server.uri())
    }

    /// The same for as long as the test runs.
    pub fn leaked_url(&self) -> &'static str {
        self.url().leak()
    }

    pub fn port(&self) -> u16 {
        self.server.address().port()
    }

    /// Until a callback has come, accepted or not.
    pub async fn called(&self) {
        while self.callbacks().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Every callback that came.
    pub fn callbacks(&self) -> Vec<Callback> {
        self.state.callbacks.lock().unwrap().clone()
    }

    /// The body of the one callback that was accepted; none that was refused says anything else.
    #[track_caller]
    pub fn accepted(&self) -> Value {
        let accepted = self.accepted_first();
        for callback in self.callbacks() {
            assert_eq!(callback.body["status"], accepted["status"], "contradictory callbacks: {:#?}", self.callbacks());
        }
        accepted
    }

    /// The same for a run that was reported, and then run once more.
    #[track_caller]
    pub fn accepted_first(&self) -> Value {
        let callbacks = self.callbacks();
        let accepted: Vec<_> = callbacks.iter().filter(|callback| callback.answer == Answer::Status(200)).collect();
        assert_eq!(accepted.len(), 1, "not exactly one accepted callback: {callbacks:#?}");
        for secret in [keys::SESSION, keys::LLM, keys::CLOUD] {
            let told = callbacks.iter().any(|callback| callback.body.to_string().contains(secret));
            assert!(!told, "a secret is in a callback");
        }
        accepted[0].body.clone()
    }
}

struct Answers(Arc<State>);

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut first = self.0.first.lock().unwrap();
        let mut callbacks = self.0.callbacks.lock().unwrap();
        let settled = callbacks.iter().any(|callback| callback.answer == Answer::Status(200));
        let answer = if !first.is_empty() {
            first.remove(0)
        } else if settled {
            Answer::Status(409)
        } else {
            Answer::Status(200)
        };
        callbacks.push(Callback {
            body: serde_json::from_slice(&request.body).unwrap_or(Value::Null),
            authorization: request.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned()),
            answer,
            at: Instant::now(),
        });
        answer.template()
    }
}
