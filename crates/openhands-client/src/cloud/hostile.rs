//! Checks of what the Cloud API may send: see [`crate::hostile`].

use super::sandboxes::{SandboxInfo, SandboxPage};
use super::wire::UserSettings;

/// Checks the body of a response, parsed as each endpoint would parse it.
pub(crate) fn responses(data: &[u8]) {
    let _ = serde_json::from_slice::<SandboxPage>(data);
    let _ = serde_json::from_slice::<UserSettings>(data);
    if let Ok(info) = serde_json::from_slice::<SandboxInfo>(data) {
        let _ = (info.agent_server(), info.failure_reason(), info.status.to_string());
    }
}
