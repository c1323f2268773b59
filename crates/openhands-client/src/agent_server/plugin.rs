//! Plugins of a conversation.

use serde::Serialize;

/// A plugin that the agent-server loads at the first message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PluginSource {
    /// `github:owner/repo`, a git URL, or a directory on the agent-server's machine.
    pub source: String,
    /// A branch, a tag or a commit of a git source.
    #[serde(rename = "ref")]
    pub git_ref: Option<String>,
    /// The plugin's directory in a git source.
    pub repo_path: Option<String>,
}

impl PluginSource {
    /// Returns the web page of the plugin; `None` for a directory. The official client builds the conversation's tag `plugins` in
    /// this way (`openhands-sdk` 1.58.0).
    #[must_use]
    pub fn page(&self) -> Option<String> {
        let base = match self.source.strip_prefix("github:") {
            Some(repo) => format!("https://github.com/{repo}"),
            None if self.source.contains("://") => {
                // The user part of a URL counts as a secret.
                let url = url::Url::parse(&self.source).ok()?;
                return Some(crate::http::without_secrets(&url));
            }
            None if self.source.starts_with("git@") => return Some(self.source.clone()),
            None => return None,
        };
        Some(match (&self.git_ref, &self.repo_path) {
            (None, None) => base,
            (Some(git_ref), None) => format!("{base}/tree/{git_ref}"),
            (git_ref, Some(path)) => format!("{base}/tree/{}/{path}", git_ref.as_deref().unwrap_or("main")),
        })
    }
}
