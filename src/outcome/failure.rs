//! The kinds of failures with the names that are reported, and their exit codes.

use openhands_client::agent_server::event::ServerError;
use openhands_client::secret::Redactor;
use openhands_client::text;
use serde_json::{Map, Value, json};

use super::ResultError;
use crate::problem::{Problem, Problems};

/// The kind of a failure. The set is closed; each code is documented and is never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The conversation ended with an error of the agent or its LLM. The server's own code is reported, if it gives one
    /// (`MaxIterationsReached`, `LLMAuthenticationError` …).
    ConversationError,
    /// The agent repeated the same step.
    AgentStuck,
    /// The cost limit of the task was reached.
    CostLimitReached,
    /// Someone else paused the conversation.
    ConversationPaused,
    /// The conversation waits for confirmation, which this program cannot give.
    ConfirmationRequired,
    /// The conversation was deleted during the run.
    ConversationDeleted,
    /// The time limit of the task was reached.
    Timeout,
    /// The agent-server was never ready, or did not respond for too long.
    AgentServerUnreachable,
    /// The Cloud API could not be reached.
    CloudUnreachable,
    /// A sandbox could not be created, no longer exists, or was never ready.
    SandboxUnavailable,
    /// A server rejected the key.
    CredentialsRefused,
    /// A server rejected a request that should be valid.
    RequestRefused,
    /// A repository of the task could not be cloned.
    RepositoryNotCloned,
    /// A command of the task's `setup` failed.
    SetupFailed,
    /// The agent finished, but a check of the task did not pass.
    ChecksFailed,
    /// The environment, the flags or the task file are invalid.
    InvalidInput,
    /// The command line is invalid.
    Usage,
    /// SIGHUP.
    HungUp,
    /// SIGINT.
    Interrupted,
    /// SIGQUIT.
    Quit,
    /// SIGTERM.
    Terminated,
    /// A bug in this program.
    InternalError,
    /// The runner was killed, or died for another reason, without reporting. Its guardian reports this.
    RunnerDied,
    /// The agent finished, but its result is missing or does not match the task's schema.
    InvalidAnswer,
    /// Someone else settled the run in the automation service: it was cancelled, or ended elsewhere.
    RunEndedElsewhere,
    /// Another runner is executing the same run. Not reported, because the other runner reports the outcome.
    AlreadyRunning,
}

impl FailureKind {
    /// All kinds, for documentation.
    #[cfg(test)]
    pub(crate) const ALL: &[Self] = &[
        Self::ConversationError,
        Self::AgentStuck,
        Self::CostLimitReached,
        Self::ConversationPaused,
        Self::ConfirmationRequired,
        Self::ConversationDeleted,
        Self::Timeout,
        Self::AgentServerUnreachable,
        Self::CloudUnreachable,
        Self::SandboxUnavailable,
        Self::CredentialsRefused,
        Self::RequestRefused,
        Self::RepositoryNotCloned,
        Self::SetupFailed,
        Self::ChecksFailed,
        Self::InvalidInput,
        Self::Usage,
        Self::HungUp,
        Self::Interrupted,
        Self::Quit,
        Self::Terminated,
        Self::InternalError,
        Self::RunnerDied,
        Self::InvalidAnswer,
        Self::RunEndedElsewhere,
        Self::AlreadyRunning,
    ];

    /// Returns the name under which the failure is reported.
    #[must_use]
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::ConversationError => "ConversationError",
            Self::AgentStuck => "AgentStuck",
            Self::CostLimitReached => "CostLimitReached",
            Self::ConversationPaused => "ConversationPaused",
            Self::ConfirmationRequired => "ConfirmationRequired",
            Self::ConversationDeleted => "ConversationDeleted",
            Self::Timeout => "Timeout",
            Self::AgentServerUnreachable => "AgentServerUnreachable",
            Self::CloudUnreachable => "CloudUnreachable",
            Self::SandboxUnavailable => "SandboxUnavailable",
            Self::CredentialsRefused => "CredentialsRefused",
            Self::RequestRefused => "RequestRefused",
            Self::RepositoryNotCloned => "RepositoryNotCloned",
            Self::SetupFailed => "SetupFailed",
            Self::ChecksFailed => "ChecksFailed",
            Self::InvalidInput => "InvalidInput",
            Self::Usage => "Usage",
            Self::HungUp => "HungUp",
            Self::Interrupted => "Interrupted",
            Self::Quit => "Quit",
            Self::Terminated => "Terminated",
            Self::InternalError => "InternalError",
            Self::RunnerDied => "RunnerDied",
            Self::InvalidAnswer => "InvalidAnswer",
            Self::RunEndedElsewhere => "RunEndedElsewhere",
            Self::AlreadyRunning => "AlreadyRunning",
        }
    }

    /// Returns what a user can do next. `docs/outcome.md` contains the same text.
    #[must_use]
    pub(crate) const fn help(self) -> &'static str {
        match self {
            Self::ConversationError => "run again with `--out DIR`, and look at the last steps in `DIR/report.html`",
            Self::AgentStuck => "make the task more precise, or choose another model with `--model`",
            Self::CostLimitReached => "raise `limits.cost` or `--max-cost`, or make the task smaller",
            Self::ConversationPaused => "run again when no other client uses the conversation",
            Self::ConfirmationRequired => "use a conversation without a confirmation policy",
            Self::ConversationDeleted => "run again, and keep the conversation until the run has ended",
            Self::Timeout => "raise `limits.timeout` or `--timeout`, or make the task smaller",
            Self::AgentServerUnreachable => {
                "check that the agent-server runs, and check `AGENT_SERVER_URL` or `AGENT_SERVER_PORT`; raise `--ready-timeout` \
                 for a slow start"
            }
            Self::CloudUnreachable => {
                "check the network, the proxy variables and `OPENHANDS_CLOUD_API_URL`; `openhands-runner check` tests them"
            }
            Self::SandboxUnavailable => {
                "look at `openhands-runner sandbox list`, or at `docker logs`; raise `--init-timeout` for a slow start"
            }
            Self::CredentialsRefused => {
                "set the key again: `SESSION_API_KEY` of an agent-server, `OPENHANDS_API_KEY` of OpenHands Cloud"
            }
            Self::RequestRefused => "correct what the server names; `openhands-runner check` tests the configuration",
            Self::RepositoryNotCloned => {
                "check `url` and `ref`, and the account's token for that host; `optional: true` continues without the repository"
            }
            Self::SetupFailed => {
                "run the command by hand in the same image; its exit code and its last output are in the error"
            }
            Self::ChecksFailed => {
                "look at `checks` in the result, with the end of each output; raise `limits.attempts`, or make the task more precise"
            }
            Self::InvalidInput => "correct it; `openhands-runner check` tests the configuration",
            Self::Usage => "`openhands-runner COMMAND --help` prints what the command accepts",
            Self::HungUp => "run again in a session that stays, for example with `nohup`",
            Self::Interrupted | Self::Quit => "run again when you are ready",
            Self::Terminated => "find what sent the signal, for example the time limit of the container, and run again",
            Self::InternalError => "run again with `RUST_LOG=debug`, and report the bug with the log",
            Self::RunnerDied => "check the memory limit of the container, and run again",
            Self::InvalidAnswer => "simplify `result.schema`, and describe its fields",
            Self::RunEndedElsewhere => "look at the run in the automation service",
            Self::AlreadyRunning => "wait for the other runner, or stop it",
        }
    }

    /// Returns the exit code of a run with this failure.
    #[must_use]
    pub(crate) const fn exit_code(self) -> ExitCode {
        match self {
            Self::ConversationError
            | Self::AgentStuck
            | Self::CostLimitReached
            | Self::ConversationPaused
            | Self::ConfirmationRequired
            | Self::ConversationDeleted
            | Self::SetupFailed
            | Self::ChecksFailed
            | Self::InvalidAnswer
            | Self::RunEndedElsewhere => ExitCode::FAILED,
            Self::Timeout => ExitCode::TIMEOUT,
            Self::AgentServerUnreachable
            | Self::CloudUnreachable
            | Self::SandboxUnavailable
            | Self::CredentialsRefused
            | Self::RequestRefused
            | Self::RepositoryNotCloned => ExitCode::UNAVAILABLE,
            Self::InvalidInput | Self::AlreadyRunning => ExitCode::INVALID_INPUT,
            Self::Usage => ExitCode::USAGE,
            Self::HungUp => ExitCode::ended_by(1),
            Self::Interrupted => ExitCode::ended_by(2),
            Self::Quit => ExitCode::ended_by(3),
            Self::Terminated => ExitCode::ended_by(15),
            Self::InternalError => ExitCode::INTERNAL,
            // The exit code that a shell reports after SIGKILL, the usual cause.
            Self::RunnerDied => ExitCode::ended_by(9),
        }
    }
}

/// What a user can do next after a failure with a code of the agent-server.
pub(crate) const HELP_OF_SERVER_CODES: &[(&str, &str)] = &[
    (
        "LLMAuthenticationError",
        "set the key of the LLM provider again, in the account's LLM settings or in `LLM_API_KEY`",
    ),
    ("MaxIterationsReached", "raise `limits.iterations` or `--max-iterations`, or make the task smaller"),
];

/// The exit code of the process. It is 0 if and only if the outcome is COMPLETED.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExitCode(pub(crate) u8);

impl ExitCode {
    /// The run completed.
    pub(crate) const COMPLETED: Self = Self(0);
    /// The run ended with an error: agent error, stuck, cost or iteration limit.
    pub(crate) const FAILED: Self = Self(1);
    /// The command line is invalid.
    pub(crate) const USAGE: Self = Self(2);
    /// A server is unreachable or rejects the key, or a repository cannot be cloned (`EX_UNAVAILABLE` of sysexits.h).
    pub(crate) const UNAVAILABLE: Self = Self(69);
    /// A bug in this program (`EX_SOFTWARE`).
    pub(crate) const INTERNAL: Self = Self(70);
    /// The environment or the task file is invalid (`EX_CONFIG`).
    pub(crate) const INVALID_INPUT: Self = Self(78);
    /// The time limit was reached, as for `timeout(1)`.
    pub(crate) const TIMEOUT: Self = Self(124);

    /// Returns the exit code of a process that was ended by a signal, as shells report it.
    #[must_use]
    pub(crate) const fn ended_by(signal: u8) -> Self {
        Self(128 + signal)
    }
}

/// A failure, with the details that the automation service shows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    /// The kind of the failure.
    pub(crate) kind: FailureKind,
    /// The details, for people.
    pub(crate) detail: String,
    /// The errors that the user has to correct, if they are known in detail.
    problems: Option<Box<Problems>>,
    /// The server's own error event, if it sent one.
    pub(crate) event: Option<ServerError>,
    /// Identifies the failure in all its reports.
    stamp: Box<ErrorStamp>,
}

/// Id and time of an error event of this program. Created once, so that runner and guardian report the same event.
#[derive(Debug, Clone, PartialEq)]
struct ErrorStamp {
    id: uuid::Uuid,
    timestamp: jiff::Timestamp,
}

impl ErrorStamp {
    fn now() -> Self {
        Self { id: uuid::Uuid::new_v4(), timestamp: jiff::Timestamp::now() }
    }
}

/// Returns a name from a server as it may be shown: short, on one line, without secrets.
fn name(text: &str, redactor: &Redactor) -> String {
    /// The maximum length of a name, in characters.
    const LONGEST: usize = 120;
    text::one_line(&redactor.redact(&text::one_line(text, 16 * LONGEST)), LONGEST)
}

/// The fields of an error object that the automation service knows. It accepts an object with other fields, but does not classify
/// it (`openhands-automation` 1.25.0).
const ERROR_FIELDS: [&str; 8] = ["kind", "id", "timestamp", "source", "parent_id", "code", "detail", "classification"];

impl Failure {
    /// Creates a failure that this program names.
    pub(crate) fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), problems: None, event: None, stamp: Box::new(ErrorStamp::now()) }
    }

    /// Creates a failure for invalid input.
    pub(crate) fn invalid(problems: Problems) -> Self {
        Self::with_problems(FailureKind::InvalidInput, problems)
    }

    /// Creates a failure for a command line that requests something impossible.
    pub(crate) fn usage(problem: Problem) -> Self {
        Self::with_problems(FailureKind::Usage, problem.into())
    }

    fn with_problems(kind: FailureKind, problems: Problems) -> Self {
        Self { problems: Some(Box::new(problems.clone())), ..Self::new(kind, problems.to_string()) }
    }

    /// Returns the failure in the form of the result.
    #[must_use]
    pub(crate) fn for_result(&self, redactor: &Redactor) -> ResultError {
        let shown = |text: &str| super::shown(text, redactor);
        let of_server = HELP_OF_SERVER_CODES.iter().find(|(code, _)| *code == self.code());
        ResultError {
            code: self.reported_code(redactor),
            detail: shown(&self.detail),
            help: of_server.map_or(self.kind.help(), |(_, help)| help).to_owned(),
            problems: self.problems.iter().flat_map(|problems| &problems.0).map(|problem| problem.map(shown)).collect(),
        }
    }

    /// Creates a failure that the server has named.
    #[must_use]
    pub(crate) fn of_server(event: ServerError) -> Self {
        let detail = event.detail().into_owned();
        Self { event: Some(event), ..Self::new(FailureKind::ConversationError, detail) }
    }

    /// Returns the server's code, or else the code of this program.
    #[must_use]
    pub(crate) fn code(&self) -> &str {
        self.event.as_ref().map_or(self.kind.code(), ServerError::code)
    }

    /// Returns the code as it may be shown: without secrets and with limited length.
    #[must_use]
    pub(crate) fn reported_code(&self, redactor: &Redactor) -> String {
        name(self.code(), redactor)
    }

    /// Returns the failure in the form of the server's conversation error event: only texts, without secrets and with limited
    /// length.
    #[must_use]
    pub(crate) fn error_object(&self, redactor: &Redactor) -> Map<String, Value> {
        let made = || {
            let Value::Object(fields) = json!({
                "kind": "ConversationErrorEvent",
                "id": self.stamp.id,
                "timestamp": self.stamp.timestamp.to_string(),
                "source": "environment",
                "code": self.kind.code(),
            }) else {
                unreachable!("the macro gives an object")
            };
            fields
        };
        let mut error = self.event.as_ref().map_or_else(made, |event| event.0.clone());
        error.retain(|field, value| ERROR_FIELDS.contains(&field.as_str()) && value.is_string());
        for value in error.values_mut() {
            *value = name(value.as_str().unwrap_or_default(), redactor).into();
        }
        if self.event.is_some() {
            error.insert("code".to_owned(), self.reported_code(redactor).into());
        }
        error.insert("detail".to_owned(), super::shown(&self.detail, redactor).into());
        error
    }
}
