//! Commands that the agent-server runs at certain events of a conversation.

use serde::Serialize;

/// `hook_config` of `POST /api/conversations`.
#[derive(Debug, Clone, Serialize)]
pub struct HookConfig {
    post_tool_use: [Matcher; 1],
    stop: [Matcher; 1],
}

#[derive(Debug, Clone, Serialize)]
struct Matcher {
    matcher: &'static str,
    hooks: [Hook; 1],
}

#[derive(Debug, Clone, Serialize)]
struct Hook {
    r#type: &'static str,
    name: &'static str,
    command: String,
    timeout: u32,
}

/// Seconds; what takes longer does not block.
const TIMEOUT: u32 = 5;

impl HookConfig {
    /// One command after each use of the finish tool, and one when the agent stops, which may send it back with exit
    /// code 2. The commands are given to `sh -c`.
    #[must_use]
    pub fn around_finish(after_finish: String, at_stop: String) -> Self {
        let hook = |name, command| [Hook { r#type: "command", name, command, timeout: TIMEOUT }];
        Self {
            post_tool_use: [Matcher { matcher: "/(?:finish|FinishTool)/", hooks: hook("finish-used", after_finish) }],
            stop: [Matcher { matcher: "*", hooks: hook("finish-required", at_stop) }],
        }
    }
}
