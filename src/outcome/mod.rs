//! How a run ended, and the consequences: the completion report, the result object, the exit code. No I/O.

mod command;
mod failure;
pub(crate) mod notice;
mod result;
mod salvage;
mod translate;

use std::borrow::Cow;

use openhands_client::agent_server::wire::{Cost, Usage};
use openhands_client::automation::completion::{CompletionReport, OutcomeStatus, TaskOutcome};
use openhands_client::ids::{ConversationId, RunId, SandboxId};
use openhands_client::secret::{MASK, Redactor};
use openhands_client::text;
use serde_json::Value;

use crate::agent_result::AgentResult;

pub(crate) use command::{CheckResult, CommandResult, CommandStatus};
#[cfg(test)]
pub(crate) use failure::HELP_OF_SERVER_CODES;
pub(crate) use failure::{ExitCode, Failure, FailureKind};
pub(crate) use result::{Facts, ResultError, RunResult, SCHEMA_VERSION, StageTime};
pub(crate) use salvage::{ChangedFile, Collected, PatchSize, RepositoryChanges, Salvage};

/// The longest `detail` or summary in a report, in characters.
const LONGEST_DETAIL: usize = 2000;

/// How a run ended. It is decided once. Facts that are read later are added in an [`Outcome`] and do not change it.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    /// The failure; `None` if the run completed.
    pub(crate) failure: Option<Failure>,
    /// The id of the run.
    pub(crate) run_id: Option<RunId>,
    /// The id of the conversation, if there is one.
    pub(crate) conversation_id: Option<ConversationId>,
    /// The cost of the conversation when the run ended.
    pub(crate) cost: Cost,
    /// Whether the agent wrapped up because time ran out.
    pub(crate) cut_short: bool,
    /// The object that the agent was asked for.
    pub(crate) result: Option<AgentResult>,
}

/// What the agent-server reports after the end of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastWords {
    /// The agent's final message.
    pub(crate) message: Option<String>,
    /// The result of the task, as the agent reports it.
    pub(crate) task_outcome: Option<AgentResult>,
    /// The total cost of the conversation.
    pub(crate) cost: Cost,
    /// The usage of the conversation, if it was read.
    pub(crate) usage: Usage,
}

/// How a run ended, with all known facts.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    verdict: Verdict,
    last_words: LastWords,
    /// The sandbox of a run that is driven from outside.
    sandbox_id: Option<SandboxId>,
    warnings: Vec<String>,
    facts: Facts,
}

impl Verdict {
    /// Returns COMPLETED or FAILED.
    #[must_use]
    pub(crate) fn status(&self) -> OutcomeStatus {
        if self.failure.is_none() { OutcomeStatus::Completed } else { OutcomeStatus::Failed }
    }

    /// Returns the exit code of the process.
    #[must_use]
    pub(crate) fn exit_code(&self) -> ExitCode {
        self.failure.as_ref().map_or(ExitCode::COMPLETED, |failure| failure.kind.exit_code())
    }

    /// Returns the outcome with the facts that were read after the end.
    #[must_use]
    pub(crate) fn with(self, last_words: LastWords, sandbox_id: Option<SandboxId>) -> Outcome {
        Outcome { verdict: self, last_words, sandbox_id, warnings: Vec::new(), facts: Facts::default() }
    }

    /// Returns the outcome with the facts that are known at the end of the run.
    #[must_use]
    pub(crate) fn alone(&self) -> Outcome {
        self.clone().with(LastWords::default(), None)
    }
}

impl Outcome {
    /// Adds warnings for the user.
    #[must_use]
    pub(crate) fn warning(self, warnings: Vec<String>) -> Self {
        Self { warnings, ..self }
    }

    /// Adds measured and counted values.
    #[must_use]
    pub(crate) fn knowing(self, facts: Facts) -> Self {
        Self { facts, ..self }
    }

    /// Adds what was collected after the verdict, and all warnings.
    #[must_use]
    pub(crate) fn salvaging(&self, salvage: Salvage, warnings: Vec<String>) -> Self {
        Self { facts: Facts { salvage, ..self.facts.clone() }, warnings, ..self.clone() }
    }

    /// Returns how the run ended.
    #[must_use]
    pub(crate) fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Returns the cost of the conversation in US dollars.
    fn cost(&self) -> Cost {
        self.verdict.cost.or_more(self.last_words.cost)
    }

    /// Returns the agent's object.
    fn agent_result(&self) -> Option<&AgentResult> {
        self.verdict.result.as_ref().or(self.last_words.task_outcome.as_ref())
    }

    /// Returns the body of the completion callback.
    #[must_use]
    pub(crate) fn report(&self, redactor: &Redactor) -> CompletionReport {
        CompletionReport {
            status: self.verdict.status(),
            run_id: self.verdict.run_id.as_ref().map(|id| id.as_str().to_owned()),
            conversation_id: self.verdict.conversation_id.map(|id| id.to_string()),
            cost: self.cost(),
            error: self.verdict.failure.as_ref().map(|failure| Value::Object(failure.error_object(redactor))),
            task_outcome: self.task_outcome(redactor).map(|TaskOutcome { status, summary }| TaskOutcome {
                status,
                summary: text::bounded(&summary, LONGEST_DETAIL),
            }),
        }
    }

    fn task_outcome(&self, redactor: &Redactor) -> Option<TaskOutcome> {
        let Some(AgentResult::TaskOutcome(TaskOutcome { status, summary })) = self.agent_result() else { return None };
        Some(TaskOutcome { status: *status, summary: redactor.redact(summary).into_owned() })
    }

    /// Returns the user's object without secrets in its texts.
    fn object(&self, redactor: &Redactor) -> Option<Value> {
        let Some(AgentResult::Object(fields)) = self.agent_result() else { return None };
        Some(texts_without_secrets(&Value::Object(fields.clone()), redactor))
    }

    /// Returns the object for `--format json` and `--result`.
    #[must_use]
    pub(crate) fn result(&self, redactor: &Redactor) -> RunResult {
        RunResult {
            schema_version: SCHEMA_VERSION,
            status: self.verdict.status(),
            run_id: self.verdict.run_id.as_ref().map(|id| id.as_str().to_owned()),
            conversation_id: self.verdict.conversation_id.map(|id| id.to_string()),
            sandbox_id: self.sandbox_id.as_ref().map(|id| id.as_str().to_owned()),
            cost: self.cost(),
            cut_short: self.verdict.cut_short.then_some(true),
            task_outcome: self.task_outcome(redactor),
            answer: self.object(redactor),
            message: self.last_words.message.as_deref().map(|message| redactor.redact(message).into_owned()),
            error: self.verdict.failure.as_ref().map(|failure| failure.for_result(redactor)),
            warnings: self.warnings.iter().map(|warning| shown(warning, redactor)).collect(),
            facts: self.facts.without_secrets(redactor),
            exit_code: self.verdict.exit_code().0,
        }
    }

    /// Returns the result without fields that may be long, for a run whose runner cannot write the complete result.
    #[must_use]
    pub(crate) fn short_result(&self, redactor: &Redactor) -> RunResult {
        let mut short = self.clone();
        short.last_words.message = None;
        short.verdict.result = None;
        short.facts.salvage.changes.clear();
        short.facts.setup.clear();
        short.facts.checks.clear();
        let mut result = short.result(redactor);
        result.task_outcome = self.report(redactor).task_outcome;
        result
    }
}

/// Returns a text for people, without secrets and with limited length.
fn shown(text: &str, redactor: &Redactor) -> String {
    text::bounded(&redactor.redact(&text::printable(text)), LONGEST_DETAIL)
}

/// Returns the value without secrets in its texts and names. A number that contains a secret is masked too.
pub(crate) fn without_secrets(value: &Value, redactor: &Redactor) -> Value {
    match value {
        Value::Number(number) if matches!(redactor.redact(&number.to_string()), Cow::Owned(_)) => MASK.into(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        _ => redacted(value, redactor, without_secrets),
    }
}

/// Returns the value without secrets in its texts and names. Numbers stay, because the user's schema requires them.
fn texts_without_secrets(value: &Value, redactor: &Redactor) -> Value {
    redacted(value, redactor, texts_without_secrets)
}

fn redacted(value: &Value, redactor: &Redactor, each: fn(&Value, &Redactor) -> Value) -> Value {
    match value {
        Value::String(text) => redactor.redact(text).into(),
        Value::Array(items) => items.iter().map(|item| each(item, redactor)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (redactor.redact(name).into_owned(), each(value, redactor))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use openhands_client::agent_server::event::ServerError;
    use openhands_client::automation::completion::TaskStatus;
    use openhands_client::secret::Secret;

    fn verdict(failure: Option<Failure>) -> Verdict {
        Verdict {
            failure,
            run_id: Some(RunId::new("run")),
            conversation_id: Some("1b716b4b-78d1-5f02-9247-f78169819a82".parse().unwrap()),
            cost: Cost::dollars(0.25),
            cut_short: false,
            result: None,
        }
    }

    fn outcome(failure: Option<Failure>) -> Outcome {
        verdict(failure).with(LastWords { message: Some("done".to_owned()), ..LastWords::default() }, None)
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
        assert_eq!(verdict(None).exit_code(), ExitCode::COMPLETED);
    }

    #[test]
    fn an_unknown_cost_is_left_out() {
        let outcome = Verdict { cost: Cost::default(), ..verdict(None) }.alone();
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
    fn of_a_servers_error_only_short_texts_without_secrets_are_passed_on() {
        let Value::Object(event) = json!({"code": format!("Bad{}", "x".repeat(3_000_000)), "source": "from sk-123456",
            "classification": {"a": 1}, "kind": 7, "detail": {"reason": ["a", 1]}})
        else {
            unreachable!()
        };
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("sk-123456"));
        let outcome = outcome(Some(Failure::of_server(ServerError(event))));
        let error = outcome.report(&redactor).error.unwrap();
        assert_eq!(error["detail"], r#"{"reason":["a",1]}"#);
        assert_eq!(error["source"], "from ***");
        assert!(error.to_string().len() < 500 && error.get("classification").is_none() && error.get("kind").is_none());
        assert!(outcome.result(&redactor).error.unwrap().code.len() < 200);
    }

    #[test]
    fn a_servers_error_is_reported_as_short_texts_without_secrets() {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("sk-123456"));
        let named = |code: Value, source: Value| {
            let Value::Object(event) = json!({"code": code, "source": source, "classification": ["sk-123456"]}) else {
                unreachable!()
            };
            let outcome = outcome(Some(Failure::of_server(ServerError(event))));
            let (report, result) = (outcome.report(&redactor), outcome.result(&redactor));
            let error = report.error.clone().unwrap();
            assert_eq!(error["code"], result.error.unwrap().code);
            assert!(serde_json::to_string(&report).unwrap().len() < 3000);
            assert!(!serde_json::to_string(&report).unwrap().contains("sk-123456"));
            assert!(error.as_object().unwrap().values().all(Value::is_string), "{error}");
            error
        };
        assert_eq!(named(json!({"a": "sk-123456"}), json!(7))["code"], "ConversationError");
        assert_eq!(named(json!("Bad sk-123456"), json!("of sk-123456"))["source"], "of ***");
        assert!(
            named(json!("x".repeat(3_000_000)), json!("y".repeat(3_000_000)))["code"].as_str().unwrap().len() < 250
        );
    }

    #[test]
    fn a_summary_is_reported_in_bounds_and_given_whole() {
        let summary = "ä".repeat(100_000);
        let answer = AgentResult::TaskOutcome(TaskOutcome { status: TaskStatus::Success, summary: summary.clone() });
        let outcome = verdict(None).with(LastWords { task_outcome: Some(answer), ..LastWords::default() }, None);
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
        let outcome = Verdict { result: Some(AgentResult::Object(fields)), ..verdict(None) }.alone();
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

    #[test]
    fn a_failure_is_the_same_event_in_every_report() {
        let verdict = verdict(Some(Failure::new(FailureKind::Timeout, "too slow")));
        let first = body(&verdict.alone());
        assert_eq!(body(&verdict.with(LastWords::default(), None)), first);
        assert!(first["error"]["id"].as_str().is_some_and(|id| id.len() == 36));
    }

    #[test]
    fn a_cost_that_is_read_at_the_end_counts_only_if_it_is_higher() {
        for (read, reported) in [(Cost::dollars(0.5), 0.5), (Cost::dollars(0.1), 0.25), (Cost::default(), 0.25)] {
            let outcome = verdict(None).with(LastWords { cost: read, ..LastWords::default() }, None);
            assert_eq!(body(&outcome)["cost"], reported);
        }
    }
}
