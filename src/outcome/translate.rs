//! Errors of the library as failures of a run. The only translation that there is.

use openhands_client::agent_server::ready::ReadyError;
use openhands_client::conversation::fold::TurnEnd;
use openhands_client::conversation::{ConversationError, FollowError};
use openhands_client::http::HttpError;
use openhands_client::sandbox::SandboxError;
use openhands_client::sandbox::copy::CopyError;
use openhands_client::sandbox::exec::ExecError;
use openhands_client::sandbox::install::InstallError;
use openhands_client::text;
use openhands_client::workspace::WorkspaceError;

use crate::outcome::{Failure, FailureKind};

/// The kind of a failed request, to a server that is `unreachable` where nothing of it answers.
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
            WorkspaceError::NoAccount { .. }
            | WorkspaceError::NoLlm
            | WorkspaceError::NoSuchProfile { .. }
            | WorkspaceError::NoSuchSecret { .. } => FailureKind::InvalidInput,
        };
        let is_page = matches!(&error, WorkspaceError::Account { source: HttpError::Page { .. }, .. });
        Self::new(kind, text::chain(&error) + advice_on_page(is_page))
    }
}

/// Which variables lead to a page for people instead of an API.
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

impl From<ExecError> for Failure {
    fn from(error: ExecError) -> Self {
        Self::new(kind_of_exec(&error), text::chain(&error))
    }
}

fn kind_of_exec(error: &ExecError) -> FailureKind {
    match error {
        ExecError::Request { source, .. } => kind_of_request(source, FailureKind::AgentServerUnreachable),
        ExecError::Sandbox { .. } => FailureKind::RequestRefused,
        ExecError::Variable(_) => FailureKind::InvalidInput,
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
        CopyError::Transfer { source, .. } => kind_of_request(source, FailureKind::AgentServerUnreachable),
        CopyError::Here { .. } | CopyError::NotAbsolute(_) => FailureKind::InvalidInput,
        CopyError::Size { .. } => FailureKind::RequestRefused,
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
            ConversationError::Ended(TurnEnd::Error(Some(error))) => return Self::of_server(error),
            ConversationError::Ended(TurnEnd::Stuck) => FailureKind::AgentStuck,
            ConversationError::Ended(TurnEnd::Paused) => FailureKind::ConversationPaused,
            ConversationError::Ended(TurnEnd::WaitingForConfirmation) => FailureKind::ConfirmationRequired,
            ConversationError::Ended(TurnEnd::Deleted) => FailureKind::ConversationDeleted,
            ConversationError::Ended(_) => FailureKind::ConversationError,
            ConversationError::Follow(FollowError::ServerLost(_) | FollowError::OnlyErrors(_)) => {
                FailureKind::AgentServerUnreachable
            }
            ConversationError::Follow(FollowError::Refused(_)) => FailureKind::CredentialsRefused,
            ConversationError::Follow(FollowError::NotStarted(_)) => FailureKind::RequestRefused,
            ConversationError::Follow(FollowError::OverBudget { .. }) => FailureKind::CostLimitReached,
            ConversationError::Request { ref source, .. } => {
                kind_of_request(source, FailureKind::AgentServerUnreachable)
            }
            ConversationError::TimeLimit => FailureKind::Timeout,
            _ => FailureKind::InternalError,
        };
        Self::new(kind, text::chain(&error))
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
