//! The peers of `scripts/demo`, on ports of their own: a receiver that prints the completion callback when it arrives, and
//! an LLM that plays the example task's answers.
//!
//! The first two lines on standard output are the callback's address and the LLM's; the callbacks follow.

use std::io::Write as _;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response};
use serde_json::{Value, json};

use crate::Failure;
use crate::support::http_listener::{self, Handler, HttpListener};
use crate::support::{ScriptedLlm, Step};

struct Receiver;

impl Handler for Receiver {
    async fn answer(&self, request: Request<Bytes>) -> Response<Full<Bytes>> {
        let body = serde_json::from_slice::<Value>(request.body()).unwrap_or_default();
        print(&format!("{} {}\n{body:#}", request.method(), request.uri().path()));
        http_listener::json(200, &json!({"status": "ok"}))
    }
}

fn print(line: &str) {
    // A reader that has left needs no more lines.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Serves until Ctrl-C. The agent works in `working_dir`.
pub(crate) async fn serve(working_dir: &str) -> Result<(), Failure> {
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
                    "path": format!("{working_dir}/FACTS.txt"),
                    "file_text": "1. It is written in Rust.\n2. It is one static binary.\n3. Its outcome always arrives.\n",
                }),
            ),
            Step::finish("I wrote three facts about the project into FACTS.txt."),
        ],
    );
    llm.script("delete that file", [Step::terminal("rm FACTS.txt && ls"), Step::finish("FACTS.txt is deleted.")]);
    print(&receiver.url("/v1/runs/demo/complete"));
    print(&llm.url());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
