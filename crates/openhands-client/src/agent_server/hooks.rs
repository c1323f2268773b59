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

/// In seconds. A hook that takes longer does not block the agent.
const TIMEOUT: u32 = 5;

impl HookConfig {
    /// Runs one command after each use of the finish tool, and one when the agent stops, which can send the agent back to work
    /// with exit code 2. Both commands are passed to `sh -c`.
    #[must_use]
    pub fn around_finish(after_finish: String, at_stop: String) -> Self {
        let hook = |name, command| [Hook { r#type: "command", name, command, timeout: TIMEOUT }];
        Self {
            post_tool_use: [Matcher { matcher: "/(?:finish|FinishTool)/", hooks: hook("finish-used", after_finish) }],
            stop: [Matcher { matcher: "*", hooks: hook("finish-required", at_stop) }],
        }
    }
}
