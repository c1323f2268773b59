//! An MCP server over HTTP, without tools: it keeps who asked for them.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response};
use serde_json::{Value, json};

use super::http_listener::{self, Handler, HttpListener};

pub struct McpServer {
    listener: HttpListener,
    asked: Arc<Mutex<Vec<String>>>,
}

impl McpServer {
    pub async fn start() -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let listener = HttpListener::start(0, Answers { asked: Arc::clone(&asked) }).await.unwrap();
        Self { listener, asked }
    }

    pub fn url(&self) -> String {
        self.listener.url("/mcp")
    }

    /// The `Authorization` of everyone who asked for the tools.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

struct Answers {
    asked: Arc<Mutex<Vec<String>>>,
}

impl Handler for Answers {
    async fn answer(&self, request: Request<Bytes>) -> Response<Full<Bytes>> {
        if request.method() != Method::POST {
            // No stream of the server's own messages.
            return http_listener::json(405, &json!({}));
        }
        let message: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let result = match message["method"].as_str() {
            Some("initialize") => json!({
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "test", "version": "1"},
            }),
            Some("tools/list") => {
                let key = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
                self.asked.lock().unwrap().push(key.unwrap_or_default());
                json!({"tools": []})
            }
            _ if message.get("id").is_none() => return http_listener::json(202, &Value::Null),
            _ => json!({}),
        };
        http_listener::json(200, &json!({"jsonrpc": "2.0", "id": message["id"], "result": result}))
    }
}
