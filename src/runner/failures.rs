//! Errors of the parts as failures of the whole.

use crate::agent_server::ready::ReadyError;
use crate::display;
use crate::http::HttpError;
use crate::outcome::{Failure, FailureKind};
use crate::sandbox::SandboxError;
use crate::sandbox::copy::CopyError;
use crate::sandbox::exec::ExecError;
use crate::shutdown::Signal;
use crate::workspace::WorkspaceError;

/// The failure that a signal is.
pub(crate) fn ended_by(signal: Signal) -> Failure {
    let (kind, name) = match signal {
        Signal::HangUp => (FailureKind::HungUp, "SIGHUP"),
        Signal::Interrupt => (FailureKind::Interrupted, "SIGINT"),
        Signal::Quit => (FailureKind::Quit, "SIGQUIT"),
        Signal::Terminate => (FailureKind::Terminated, "SIGTERM"),
    };
    Failure::new(kind, format!("the runner was ended by {name}"))
}

pub(super) fn bug(panic: &(dyn std::any::Any + Send)) -> Failure {
    let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Failure::new(FailureKind::InternalError, format!("a bug in openhands-runner: {}", words.unwrap_or("a panic")))
}

pub(super) fn not_ready(error: &ReadyError) -> Failure {
    Failure::new(FailureKind::AgentServerUnreachable, display::chain(error))
}

/// Something could not be had from the account.
pub(crate) fn not_inherited(error: &WorkspaceError) -> Failure {
    let kind = match error {
        WorkspaceError::Account { source, .. } if source.is_refusal() => FailureKind::CredentialsRefused,
        WorkspaceError::Account { .. } => FailureKind::CloudUnreachable,
        WorkspaceError::NoAccount { .. }
        | WorkspaceError::NoLlm
        | WorkspaceError::NoSuchProfile { .. }
        | WorkspaceError::NoSuchSecret { .. } => FailureKind::InvalidInput,
    };
    Failure::new(kind, display::chain(error))
}

/// A sandbox could not be had.
pub(crate) fn no_sandbox(error: &SandboxError) -> Failure {
    let kind = match error {
        SandboxError::Request { source, .. } => of_request(source, FailureKind::CloudUnreachable),
        _ => FailureKind::SandboxUnavailable,
    };
    Failure::new(kind, display::chain(error))
}

/// A command could not be run in a sandbox.
pub(crate) fn not_executed(error: &ExecError) -> Failure {
    let kind = match error {
        ExecError::Request { source, .. } => of_request(source, FailureKind::AgentServerUnreachable),
        ExecError::Sandbox { .. } => FailureKind::RequestRefused,
        ExecError::Variable(_) => FailureKind::InvalidInput,
    };
    Failure::new(kind, display::chain(error))
}

/// A file could not be copied.
pub(crate) fn not_copied(error: &CopyError) -> Failure {
    let kind = match error {
        CopyError::Sandbox(error) => return not_executed(error),
        CopyError::Transfer { source, .. } => of_request(source, FailureKind::AgentServerUnreachable),
        CopyError::Here { .. } | CopyError::NotAbsolute(_) => FailureKind::InvalidInput,
        CopyError::Size { .. } => FailureKind::RequestRefused,
    };
    Failure::new(kind, display::chain(error))
}

fn of_request(error: &HttpError, unreachable: FailureKind) -> FailureKind {
    match error {
        _ if error.is_refusal() => FailureKind::CredentialsRefused,
        HttpError::Connect { .. }
        | HttpError::Timeout { .. }
        | HttpError::Broken { .. }
        | HttpError::Status { status: 408 | 429 | 500.., .. } => unreachable,
        _ => FailureKind::RequestRefused,
    }
}
