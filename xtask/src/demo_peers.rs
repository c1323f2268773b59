//! The peers of `scripts/demo`, on ports of their own: a receiver that prints the completion callback when it arrives, and
//! an LLM that plays the example task's answers.
//!
//!     demo_peers WORKING_DIR
//!
//! The first two lines on standard output are the callback's address and the LLM's; then come the callbacks.

use std::io::Write as _;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response};
use serde_json::{Value, json};

#[path = "../../../tests/support"]
mod support {
    pub mod http_listener;
    pub mod scripted_llm;
}

use support::http_listener::{self, Handler, HttpListener};
use support::scripted_llm::{ScriptedLlm, Step};

struct Receiver;

impl Handler for Receiver {
    async fn answer(&self, request: Request<Bytes>) -> Response<Full<Bytes>> {
        let body = serde_json::from_slice::<Value>(request.body()).unwrap_or_default();
        tell(&format!("{} {}\n{body:#}", request.method(), request.uri().path()));
        http_listener::json(200, &json!({"status": "ok"}))
    }
}

fn tell(line: &str) {
    // Nobody reads any more: then nobody needs to know.
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let receiver = HttpListener::start(0, Receiver).await?;
    let llm = ScriptedLlm::start(0).await?;
    llm.script(
        "3 facts about the project",
        [
            Step::terminal("ls; head -n 5 README.md 2>/dev/null"),
            Step::call(
                "file_editor",
                json!({
                    "command": "create",
                    "path": std::env::args().nth(1).unwrap_or_default() + "/FACTS.txt",
                    "file_text": "1. It is written in Rust.\n2. It is one static binary.\n3. Its outcome always arrives.\n",
                }),
            ),
            Step::finish("I wrote three facts about the project into FACTS.txt."),
        ],
    );
    llm.script("delete that file", [Step::terminal("rm FACTS.txt && ls"), Step::finish("FACTS.txt is deleted.")]);
    tell(&receiver.url("/v1/runs/demo/complete"));
    tell(&llm.url());
    tokio::signal::ctrl_c().await
}
