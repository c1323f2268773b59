//! Converts errors of the library to failures of a run. This is the only place that does so.

use openhands_client::agent_server::ready::ReadyError;
use openhands_client::automation::AutomationError;
use openhands_client::conversation::{ConversationError, FollowError, TurnEnd};
use openhands_client::http::HttpError;
use openhands_client::sandbox::SandboxError;
use openhands_client::sandbox::copy::CopyError;
use openhands_client::sandbox::exec::ExecError;
use openhands_client::sandbox::install::InstallError;
use openhands_client::text;
use openhands_client::workspace::WorkspaceError;

use crate::outcome::{Failure, FailureKind};
use crate::run_folder::FolderError;

/// Returns the kind of a failed request. It is `unreachable` if nothing of the server responds.
fn kind_of_request(error: &HttpError, unreachable: FailureKind) -> FailureKind {
    match error {
        _ if error.is_refusal() => FailureKind::CredentialsRefused,
        HttpError::Connect { .. }
        | HttpError::Timeout { .. }
        | HttpError::Broken { .. }
        | HttpError::Status { status: 408 | 429 | 500.., .. } => unreachable,
        _ => FailureKind::RequestRefused,
    }
}

impl Failure {
    /// Converts a failed request to the agent-server.
    #[must_use]
    pub(crate) fn of_request(doing: &str, error: &HttpError) -> Self {
        let kind = kind_of_request(error, FailureKind::AgentServerUnreachable);
        Self::new(kind, format!("failed to {doing}: {}", text::chain(error)))
    }
}

impl From<ReadyError> for Failure {
    fn from(error: ReadyError) -> Self {
        Self::new(FailureKind::AgentServerUnreachable, text::chain(&error))
    }
}

impl From<WorkspaceError> for Failure {
    fn from(error: WorkspaceError) -> Self {
        let kind = match &error {
            WorkspaceError::Account { source, .. } if source.is_refusal() => FailureKind::CredentialsRefused,
            WorkspaceError::Account { .. } => FailureKind::CloudUnreachable,
            // The account does not have what the task or the settings request.
            _ => FailureKind::InvalidInput,
        };
        let is_page = matches!(&error, WorkspaceError::Account { source: HttpError::Page { .. }, .. });
        Self::new(kind, text::chain(&error) + advice_on_page(is_page))
    }
}

/// Returns the variables that may be wrong if the response was an HTML page instead of an API response.
fn advice_on_page(is_page: bool) -> &'static str {
    if is_page { " (OPENHANDS_CLOUD_API_URL, or AGENT_SERVER_URL in self-hosted mode)" } else { "" }
}

impl From<SandboxError> for Failure {
    fn from(error: SandboxError) -> Self {
        let kind = match &error {
            SandboxError::Request { source, .. } => kind_of_request(source, FailureKind::CloudUnreachable),
            _ => FailureKind::SandboxUnavailable,
        };
        let is_page = matches!(&error, SandboxError::Request { source: HttpError::Page { .. }, .. });
        Self::new(kind, text::chain(&error) + advice_on_page(is_page))
    }
}

impl From<AutomationError> for Failure {
    fn from(error: AutomationError) -> Self {
        let (kind, advice) = match &error {
            _ if error.is_wrong_address() => (
                FailureKind::RequestRefused,
                ": check AUTOMATION_API_URL, which ends in /api/automation (and OPENHANDS_CLOUD_API_URL, if you set it)",
            ),
            AutomationError::Request { source, .. } if source.is_refusal() => (
                FailureKind::CredentialsRefused,
                ": check OPENHANDS_API_KEY, or for a self-hosted service AUTOMATION_LOCAL_API_KEY",
            ),
            AutomationError::Request { source, .. } if matches!(source.status(), Some(400 | 422)) => {
                let is_about_tags = text::chain(&error).contains("body.tags: Extra inputs");
                let advice =
                    if is_about_tags { ": leave out --tag; tags need automation service 1.26.0 or later" } else { "" };
                (FailureKind::InvalidInput, advice)
            }
            AutomationError::Request { source, .. } => (kind_of_request(source, FailureKind::CloudUnreachable), ""),
            AutomationError::NoSuchAutomation(_) => {
                (FailureKind::InvalidInput, ": `openhands-runner automation list` shows the ids")
            }
            AutomationError::NoSuchRun { .. } => {
                (FailureKind::InvalidInput, ": `openhands-runner automation show` lists the last runs")
            }
            AutomationError::TooLarge { .. } => {
                (FailureKind::InvalidInput, ": put less into the task file; let the agent get the data itself")
            }
            _ => (FailureKind::RequestRefused, ""),
        };
        Self::new(kind, text::chain(&error) + advice)
    }
}

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Self {
        Self::new(FailureKind::InvalidInput, format!("{} (--out): name a new folder", text::chain(&error)))
    }
}

impl From<ExecError> for Failure {
    fn from(error: ExecError) -> Self {
        Self::new(kind_of_exec(&error), text::chain(&error))
    }
}

fn kind_of_exec(error: &ExecError) -> FailureKind {
    match error {
        ExecError::Request { source, .. } => kind_of_request(source, FailureKind::AgentServerUnreachable),
        ExecError::Variable(_) => FailureKind::InvalidInput,
        // This includes error kinds of later versions.
        _ => FailureKind::RequestRefused,
    }
}

impl From<CopyError> for Failure {
    fn from(error: CopyError) -> Self {
        Self::new(kind_of_copy(&error), text::chain(&error))
    }
}

fn kind_of_copy(error: &CopyError) -> FailureKind {
    match error {
        CopyError::Sandbox(error) => kind_of_exec(error),
        // The agent-server responds with 500 if the file system rejects the operation. Gateways respond with 502 to 504 if the
        // server behind them does not respond.
        CopyError::Transfer { source, .. } if matches!(source.status(), Some(500 | 501 | 505..)) => {
            FailureKind::RequestRefused
        }
        CopyError::Transfer { source, .. } => kind_of_request(source, FailureKind::AgentServerUnreachable),
        CopyError::Here { .. } | CopyError::NotAbsolute(_) | CopyError::NoFolder { .. } | CopyError::NotAFile(_) => {
            FailureKind::InvalidInput
        }
        // This includes error kinds of later versions.
        _ => FailureKind::RequestRefused,
    }
}

impl From<InstallError> for Failure {
    fn from(error: InstallError) -> Self {
        let kind = match &error {
            InstallError::Copy(error) => kind_of_copy(error),
            InstallError::Exec(error) => kind_of_exec(error),
            _ => FailureKind::InvalidInput,
        };
        Self::new(kind, text::chain(&error))
    }
}

impl From<ConversationError> for Failure {
    fn from(error: ConversationError) -> Self {
        let kind = match error {
            ConversationError::Ended { end: TurnEnd::Error(Some(error)), .. } => return Self::of_server(error),
            ConversationError::Ended { ref end, .. } => kind_of_end(end),
            ConversationError::Follow { error: ref source, .. } => kind_of_follow(source),
            ConversationError::WorkingDir { .. } => FailureKind::RequestRefused,
            ConversationError::Request { ref source, .. } => {
                kind_of_request(source, FailureKind::AgentServerUnreachable)
            }
            ConversationError::TimeLimit { .. } => FailureKind::Timeout,
            _ => FailureKind::InternalError,
        };
        Self::new(kind, text::chain(&error))
    }
}

fn kind_of_end(end: &TurnEnd) -> FailureKind {
    match end {
        TurnEnd::Stuck | TurnEnd::EmptyResponses => FailureKind::AgentStuck,
        TurnEnd::Paused => FailureKind::ConversationPaused,
        TurnEnd::WaitingForConfirmation => FailureKind::ConfirmationRequired,
        TurnEnd::Deleted => FailureKind::ConversationDeleted,
        _ => FailureKind::ConversationError,
    }
}

fn kind_of_follow(error: &FollowError) -> FailureKind {
    match error {
        FollowError::ServerLost { .. } | FollowError::OnlyErrors { .. } => FailureKind::AgentServerUnreachable,
        FollowError::Refused(_) => FailureKind::CredentialsRefused,
        FollowError::OverBudget { .. } => FailureKind::CostLimitReached,
        _ => FailureKind::RequestRefused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_for_people_names_the_variables_that_lead_to_it() {
        let source = HttpError::Page { target: "GET https://h/api".to_owned() };
        let detail = Failure::from(WorkspaceError::Account { what: "the LLM", source }).detail;
        assert!(detail.contains("HTML page") && detail.contains("https://h/api"), "{detail}");
        assert!(detail.contains("OPENHANDS_CLOUD_API_URL"), "{detail}");
    }
}
