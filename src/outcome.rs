//! How a run ended, and what follows from it: the completion report, the result object, the exit code. No I/O.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::agent_server::event::ServerError;
use crate::agent_server::wire::Cost;
use crate::answer::{Answer, TaskOutcome};
use crate::display;
use crate::ids::{ConversationId, RunId, SandboxId};
use crate::secret::Redactor;

/// Why a run has failed. The set is closed; a code is documented and never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The conversation ended in an error of the agent or its LLM. The server's own code is reported, where it gives
    /// one (`MaxIterationsReached`, `LLMAuthenticationError` …).
    ConversationError,
    /// The agent did the same again and again.
    AgentStuck,
    /// The cost limit of the task is reached.
    CostLimitReached,
    /// Somebody else has paused the conversation.
    ConversationPaused,
    /// The conversation waits for a confirmation that nobody here can give.
    ConfirmationRequired,
    /// The conversation was deleted during the run.
    ConversationDeleted,
    /// The time limit of the task is reached.
    Timeout,
    /// The agent-server was never ready, or gave no sign of life for too long.
    AgentServerUnreachable,
    /// The Cloud API could not be reached.
    CloudUnreachable,
    /// A sandbox could not be made, is gone, or was never ready.
    SandboxUnavailable,
    /// A server refused our key.
    CredentialsRefused,
    /// A server refused a request that should be right.
    RequestRefused,
    /// A repository of the task cannot be cloned.
    RepositoryNotCloned,
    /// The environment, the flags or the task file cannot be used.
    InvalidInput,
    /// The command line cannot be understood.
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
    /// The runner was killed, or died otherwise, without a word; its guardian says so.
    RunnerDied,
    /// The agent finished, and its result is missing or does not fit the task's schema.
    InvalidAnswer,
    /// The automation service has settled the run without us: it was cancelled, or ended by somebody else.
    RunEndedElsewhere,
    /// Another runner is at work on the same run. Not reported: the outcome is the other one's.
    AlreadyRunning,
}

impl FailureKind {
    /// All kinds, for documentation.
    pub const ALL: &[Self] = &[
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

    /// The name under which the failure is reported.
    #[must_use]
    pub const fn code(self) -> &'static str {
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

    /// The exit code of a run that failed so.
    #[must_use]
    pub const fn exit_code(self) -> ExitCode {
        match self {
            Self::ConversationError
            | Self::AgentStuck
            | Self::CostLimitReached
            | Self::ConversationPaused
            | Self::ConfirmationRequired
            | Self::ConversationDeleted
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
            // What a shell says of SIGKILL, the usual cause.
            Self::RunnerDied => ExitCode::ended_by(9),
        }
    }
}

/// The process's exit code. 0 if and only if the outcome is COMPLETED.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitCode(pub u8);

impl ExitCode {
    /// The run completed.
    pub const COMPLETED: Self = Self(0);
    /// The run ended in error: agent error, stuck, cost or iteration limit.
    pub const FAILED: Self = Self(1);
    /// The command line cannot be understood.
    pub const USAGE: Self = Self(2);
    /// A server is unreachable or refuses us, or a repository cannot be cloned (`EX_UNAVAILABLE` of sysexits.h).
    pub const UNAVAILABLE: Self = Self(69);
    /// Our own bug (`EX_SOFTWARE`).
    pub const INTERNAL: Self = Self(70);
    /// The environment or the task file is invalid (`EX_CONFIG`).
    pub const INVALID_INPUT: Self = Self(78);
    /// The time limit, as `timeout(1)` has it.
    pub const TIMEOUT: Self = Self(124);

    /// Ended by a signal, as shells have it.
    #[must_use]
    pub const fn ended_by(signal: u8) -> Self {
        Self(128 + signal)
    }
}

/// A failure, with what the automation service shows of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Why.
    pub kind: FailureKind,
    /// For people.
    pub detail: String,
    /// The server's own error event, where it gave one.
    pub event: Option<ServerError>,
}

/// What the automation service knows of an error object. With any other field it takes the object, but does not classify it
/// (`openhands-automation` 1.25.0).
const ERROR_FIELDS: [&str; 8] = ["kind", "id", "timestamp", "source", "parent_id", "code", "detail", "classification"];

/// The longest `detail` or summary that is reported, in characters.
const LONGEST_DETAIL: usize = 2000;

impl Failure {
    /// A failure that we name ourselves.
    pub fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), event: None }
    }

    /// A failure that the server has named.
    #[must_use]
    pub fn of_server(event: ServerError) -> Self {
        Self { kind: FailureKind::ConversationError, detail: event.detail().to_owned(), event: Some(event) }
    }

    /// The server's code, else ours.
    #[must_use]
    pub fn code(&self) -> &str {
        self.event.as_ref().map_or(self.kind.code(), ServerError::code)
    }

    /// The failure in the shape of the server's conversation error event, without secrets and of bounded length.
    #[must_use]
    pub fn error_object(&self, redactor: &Redactor) -> Map<String, Value> {
        let made = || {
            let Value::Object(fields) = json!({
                "kind": "ConversationErrorEvent",
                "id": uuid::Uuid::new_v4(),
                "timestamp": jiff::Timestamp::now().to_string(),
                "source": "environment",
                "code": self.kind.code(),
            }) else {
                unreachable!("the macro gives an object")
            };
            fields
        };
        let mut error = self.event.as_ref().map_or_else(made, |event| event.0.clone());
        error.retain(|field, _| ERROR_FIELDS.contains(&field.as_str()));
        let detail = display::bounded(&redactor.redact(&self.detail), LONGEST_DETAIL);
        error.insert("detail".to_owned(), detail.into());
        error
    }
}

/// How the run ended, with all that is known of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Nothing when the run completed.
    pub failure: Option<Failure>,
    /// The run.
    pub run_id: Option<RunId>,
    /// The conversation, once there is one.
    pub conversation_id: Option<ConversationId>,
    /// The sandbox of a run that is driven from outside.
    pub sandbox_id: Option<SandboxId>,
    /// What the conversation has cost in all.
    pub cost: Cost,
    /// The agent's final message.
    pub message: Option<String>,
    /// What the agent gave besides.
    pub answer: Option<Answer>,
}

/// The two statuses that the automation service knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum OutcomeStatus {
    /// The task is done.
    Completed,
    /// Anything else.
    Failed,
}

impl Outcome {
    /// COMPLETED or FAILED.
    #[must_use]
    pub fn status(&self) -> OutcomeStatus {
        if self.failure.is_none() { OutcomeStatus::Completed } else { OutcomeStatus::Failed }
    }

    /// The process's exit code.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        self.failure.as_ref().map_or(ExitCode::COMPLETED, |failure| failure.kind.exit_code())
    }

    /// The body of the completion callback.
    #[must_use]
    pub fn report(&self, redactor: &Redactor) -> Report {
        Report {
            status: self.status(),
            run_id: self.run_id.as_ref().map(|id| id.as_str().to_owned()),
            conversation_id: self.conversation_id.map(|id| id.to_string()),
            cost: self.cost,
            error: self.failure.as_ref().map(|failure| Value::Object(failure.error_object(redactor))),
            task_outcome: self.task_outcome(redactor).map(|TaskOutcome { status, summary }| TaskOutcome {
                status,
                summary: display::bounded(&summary, LONGEST_DETAIL),
            }),
        }
    }

    fn task_outcome(&self, redactor: &Redactor) -> Option<TaskOutcome> {
        let Some(Answer::TaskOutcome(TaskOutcome { status, summary })) = &self.answer else { return None };
        Some(TaskOutcome { status: *status, summary: redactor.redact(summary).into_owned() })
    }

    /// The user's object, without secrets in its texts.
    fn object(&self, redactor: &Redactor) -> Option<Value> {
        let Some(Answer::Object(fields)) = &self.answer else { return None };
        Some(redacted(&Value::Object(fields.clone()), redactor))
    }

    /// The object that `--format json` and `--result` give.
    #[must_use]
    pub fn result(&self, redactor: &Redactor) -> RunResult {
        RunResult {
            status: self.status(),
            run_id: self.run_id.as_ref().map(|id| id.as_str().to_owned()),
            conversation_id: self.conversation_id.map(|id| id.to_string()),
            sandbox_id: self.sandbox_id.as_ref().map(|id| id.as_str().to_owned()),
            cost: self.cost,
            task_outcome: self.task_outcome(redactor),
            answer: self.object(redactor),
            message: self.message.as_deref().map(|message| redactor.redact(message).into_owned()),
            error: self.failure.as_ref().map(|failure| ResultError {
                code: failure.code().to_owned(),
                detail: display::bounded(&redactor.redact(&failure.detail), LONGEST_DETAIL),
            }),
            exit_code: self.exit_code().0,
        }
    }
}

fn redacted(value: &Value, redactor: &Redactor) -> Value {
    match value {
        Value::String(text) => redactor.redact(text).into(),
        Value::Array(items) => items.iter().map(|item| redacted(item, redactor)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (redactor.redact(name).into_owned(), redacted(value, redactor))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// Body of the completion callback, `POST …/v1/runs/{run id}/complete`.
///
/// Any other field is a 422 and a lost completion (`openhands-automation` 1.25.0).
#[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize)]
pub struct Report {
    /// COMPLETED or FAILED.
    pub status: OutcomeStatus,
    /// The run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
    /// US dollars, left out when unknown.
    #[serde(default, skip_serializing_if = "Cost::is_unknown")]
    pub cost: Cost,
    /// On FAILED: an object in the shape of the server's conversation error event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
    /// How the task went; services before 1.9.0 refuse it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_outcome: Option<TaskOutcome>,
}

impl Report {
    /// The same outcome in the fewest words: for a service that refuses the full body.
    #[must_use]
    pub fn plainest(&self) -> Self {
        let error = self.error.as_ref().map(|error| {
            let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
            Value::from(format!("{}: {}", text("code"), text("detail")))
        });
        Self { conversation_id: None, cost: Cost::default(), task_outcome: None, error, ..self.clone() }
    }
}

/// The result of a run, as `--format json` and `--result` give it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "openhands-runner result")]
pub struct RunResult {
    /// COMPLETED or FAILED.
    pub status: OutcomeStatus,
    /// `AUTOMATION_RUN_ID`, else `RUN_ID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The agent-server's id of the conversation, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
    /// The sandbox of a run that is driven from outside, also when it has been deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox_id: Option<String>,
    /// US dollars that the conversation has cost; left out when unknown.
    #[serde(skip_serializing_if = "Cost::is_unknown")]
    pub cost: Cost,
    /// The agent's final message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How the task went, where the agent was asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_outcome: Option<TaskOutcome>,
    /// The object of the task's `result.schema`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    /// Why the run failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ResultError>,
    /// The exit code of the process.
    pub exit_code: u8,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ResultError {
    /// The server's code, such as `LLMAuthenticationError`, else one of this program's.
    pub code: String,
    /// The reason for people.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::TaskStatus;
    use crate::secret::Secret;

    fn outcome(failure: Option<Failure>) -> Outcome {
        Outcome {
            failure,
            run_id: Some(RunId::new("run")),
            conversation_id: Some("1b716b4b-78d1-5f02-9247-f78169819a82".parse().unwrap()),
            sandbox_id: None,
            cost: Cost::dollars(0.25),
            message: Some("done".to_owned()),
            answer: None,
        }
    }

    fn body(outcome: &Outcome) -> Value {
        serde_json::to_value(outcome.report(&Redactor::default())).unwrap()
    }

    #[test]
    fn a_completed_run_reports_what_the_service_takes_and_no_more() {
        assert_eq!(
            body(&outcome(None)),
            json!({"status": "COMPLETED", "run_id": "run",
                "conversation_id": "1b716b4b-78d1-5f02-9247-f78169819a82", "cost": 0.25})
        );
        assert_eq!(outcome(None).exit_code(), ExitCode::COMPLETED);
    }

    #[test]
    fn an_unknown_cost_is_left_out() {
        let outcome = Outcome { cost: Cost::default(), ..outcome(None) };
        assert_eq!(body(&outcome).get("cost"), None);
    }

    #[test]
    fn a_failure_is_reported_in_the_shape_of_the_servers_event() {
        let failed = body(&outcome(Some(Failure::new(FailureKind::AgentStuck, "the agent repeats itself"))));
        assert_eq!(failed["status"], "FAILED");
        assert_eq!(failed["error"]["kind"], "ConversationErrorEvent");
        assert_eq!(failed["error"]["code"], "AgentStuck");
        assert_eq!(failed["error"]["source"], "environment");
        assert_eq!(failed["error"]["detail"], "the agent repeats itself");
    }

    #[test]
    fn the_servers_own_event_is_passed_on_without_secrets() {
        let Value::Object(event) =
            json!({"code": "LLMAuthenticationError", "detail": "bad key sk-123456", "source": "agent", "x": 1})
        else {
            unreachable!()
        };
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("sk-123456"));
        let outcome = outcome(Some(Failure::of_server(ServerError(event))));
        let report = outcome.report(&redactor);
        assert_eq!(
            report.error.unwrap(),
            json!({"code": "LLMAuthenticationError", "detail": "bad key ***", "source": "agent"})
        );
        let result = outcome.result(&redactor);
        assert_eq!(result.error.unwrap().code, "LLMAuthenticationError");
        assert_eq!(result.exit_code, 1);
    }

    #[test]
    fn a_summary_is_reported_in_bounds_and_given_whole() {
        let summary = "ä".repeat(100_000);
        let answer = Answer::TaskOutcome(TaskOutcome { status: TaskStatus::Success, summary: summary.clone() });
        let outcome = Outcome { answer: Some(answer), ..outcome(None) };
        let reported = outcome.report(&Redactor::default()).task_outcome.unwrap().summary;
        assert!(reported.chars().count() < 2010, "{}", reported.len());
        assert_eq!(outcome.result(&Redactor::default()).task_outcome.unwrap().summary, summary);
    }

    #[test]
    fn an_answer_loses_secrets_in_its_texts_and_stays_an_object() {
        let Value::Object(fields) =
            json!({"note": "use 123456 or \"key\"-1", "count": 1_234_567, "list": [["123456"]]})
        else {
            unreachable!()
        };
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("123456"));
        redactor.learn(&Secret::new("\"key\"-1"));
        let outcome = Outcome { answer: Some(Answer::Object(fields)), ..outcome(None) };
        let expected = json!({"note": "use *** or ***", "count": 1_234_567, "list": [["***"]]});
        assert_eq!(outcome.result(&redactor).answer, Some(expected));
    }

    #[test]
    fn the_plainest_report_has_three_texts() {
        let report = outcome(Some(Failure::new(FailureKind::Timeout, "too slow"))).report(&Redactor::default());
        assert_eq!(
            serde_json::to_value(report.plainest()).unwrap(),
            json!({"status": "FAILED", "run_id": "run", "error": "Timeout: too slow"})
        );
    }

    #[test]
    fn only_a_completed_run_exits_with_0() {
        for kind in FailureKind::ALL {
            assert_ne!(kind.exit_code(), ExitCode::COMPLETED, "{kind:?}");
        }
        assert_eq!(FailureKind::Terminated.exit_code().0, 143);
    }
}
