//! Formats automations and runs for people and programs. Texts from the service and from agents are shown without terminal
//! control sequences.

use std::borrow::Cow;

use openhands_client::automation::{Automation, AutomationRun, Trigger};
use openhands_client::text::{one_line, printable};
use serde_json::{Value, json};

/// The longest text in a line, in characters.
const LONGEST: usize = 200;

fn line(text: &str) -> String {
    one_line(text, LONGEST)
}

fn or_dash(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), line)
}

/// Formats a trigger in one line.
fn trigger(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Cron { schedule, timezone } => line(&format!("{schedule} ({timezone})")),
        Trigger::Event { source, on, filter } => {
            let filter = filter.as_ref().map(|filter| format!(" if {filter}")).unwrap_or_default();
            line(&format!("{source}: {}{filter}", on.join(", ")))
        }
        Trigger::Other(value) => line(&value.to_string()),
        _ => "-".to_owned(),
    }
}

/// Formats an automation as a line of a list.
pub(super) fn row(automation: &Automation) -> String {
    let Automation { id, name, state, last_triggered_at, .. } = automation;
    let started = or_dash(last_triggered_at.as_deref());
    format!("{id}\t{}\t{}\t{started}\t{}", line(state), trigger(&automation.trigger), line(name))
}

/// Formats an automation in several lines.
pub(super) fn text(automation: &Automation) -> String {
    let timeout = automation.timeout().map(|limit| format!("{} s", limit.as_secs()));
    let tags = automation.tags.join(", ");
    let disabled = automation.disabled_reason.as_deref();
    let rows = [
        ("automation", Some(Cow::from(automation.id.to_string()))),
        ("name", Some(automation.name.as_str().into())),
        ("about", automation.description.as_deref().map(Cow::from)),
        ("trigger", Some(trigger(&automation.trigger).into())),
        ("state", Some(automation.state.as_str().into())),
        ("disabled", disabled.map(Cow::from)),
        ("timeout", timeout.map(Cow::from)),
        ("profile", automation.model.as_deref().map(Cow::from)),
        ("agent", automation.agent_profile_id.as_deref().map(Cow::from)),
        ("tags", Some(Cow::from(tags))),
        ("entrypoint", Some(automation.entrypoint.as_str().into())),
    ];
    let rows = rows.into_iter().filter_map(|(label, value)| Some((label, value.filter(|value| !value.is_empty())?)));
    rows.map(|(label, value)| format!("{label:<11} {}", line(&value))).collect::<Vec<_>>().join("\n")
}

/// Formats an automation as JSON.
pub(super) fn object(automation: &Automation) -> Value {
    json!({
        "id": automation.id.to_string(),
        "name": automation.name,
        "description": automation.description,
        "trigger": automation.trigger,
        "state": automation.state,
        "disabled_reason": automation.disabled_reason,
        "timeout_secs": automation.timeout().map(|limit| limit.as_secs()),
        "profile": automation.model,
        "agent_profile": automation.agent_profile_id,
        "tags": automation.tags,
        "entrypoint": automation.entrypoint,
        "tarball": automation.tarball_path,
        "created_at": automation.created_at,
        "last_triggered_at": automation.last_triggered_at,
    })
}

/// Formats a run as a line of a list.
pub(super) fn run_row(run: &AutomationRun) -> String {
    let cost = run.cost.map_or_else(|| "-".to_owned(), |cost| format!("${cost:.4}"));
    let words = why(run).or(run.outcome_summary()).or(run.current_phase.as_deref());
    format!("{}\t{}\t{}\t{cost}\t{}", run.id, run.status, or_dash(run.created_at.as_deref()), or_dash(words))
}

/// Returns why a run has not completed.
pub(super) fn why(run: &AutomationRun) -> Option<&str> {
    run.error_detail.as_deref().filter(|detail| !detail.trim().is_empty())
}

/// Formats the state or the end of a run in several lines.
pub(super) fn run_text(run: &AutomationRun) -> String {
    let task = [run.task_status(), run.outcome_summary()].into_iter().flatten().collect::<Vec<_>>().join(": ");
    let time = [run.started_at.as_deref(), run.completed_at.as_deref()].map(or_dash).join(" to ");
    let rows = [
        ("run", Some(run.id.to_string())),
        ("status", Some(run.status.to_string())),
        ("why", why(run).map(printable)),
        ("phase", run.current_phase.as_deref().filter(|_| !run.status.is_final()).map(line)),
        ("time", Some(time).filter(|_| run.started_at.is_some())),
        ("cost", run.cost.map(|cost| format!("${cost:.4}"))),
        ("conversation", run.conversation_id.as_deref().map(line)),
        ("sandbox", run.sandbox_id.as_deref().map(line)),
        ("task", Some(printable(&task)).filter(|_| !task.is_empty())),
        ("message", run.message().map(printable)),
    ];
    let rows = rows.into_iter().filter_map(|(label, value)| Some(format!("{label:<12} {}", value?)));
    rows.collect::<Vec<_>>().join("\n")
}

/// Formats a run as JSON.
pub(super) fn run_object(run: &AutomationRun) -> Value {
    let error = why(run).map(|detail| {
        let kind = run.status_detail.as_ref();
        json!({
            "code": kind.and_then(|kind| kind.code.as_deref()),
            "kind": kind.and_then(|kind| kind.kind.as_deref()),
            "detail": detail,
        })
    });
    json!({
        "id": run.id.as_str(),
        "automation_id": run.automation_id.to_string(),
        "status": run.status.to_string(),
        "phase": run.current_phase,
        "error": error,
        "trigger": run.trigger_source,
        "conversation_id": run.conversation_id,
        "sandbox_id": run.sandbox_id,
        "cost": run.cost,
        "task_status": run.task_status(),
        "outcome_summary": run.outcome_summary(),
        "message": run.message(),
        "created_at": run.created_at,
        "started_at": run.started_at,
        "completed_at": run.completed_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> AutomationRun {
        serde_json::from_value(json!({
            "id": "r1", "automation_id": "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "status": "FAILED",
            "error_detail": "Timeout: \u{1b}[31mtoo slow", "cost": 0.25, "conversation_id": null,
            "run_metadata": {"finish_tool_response": {"status": "blocked", "outcome_summary": "No key.", "message": "Sorry."}},
        }))
        .unwrap()
    }

    #[test]
    fn a_run_tells_its_end_without_what_could_change_a_terminal() {
        let text = run_text(&run());
        for line in
            ["status       FAILED", "cost         $0.2500", "task         blocked: No key.", "message      Sorry."]
        {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains('\u{1b}') && text.contains("too slow"), "{text:?}");
        assert!(run_row(&run()).starts_with("r1\tFAILED\t-\t$0.2500\tTimeout: "));
    }

    #[test]
    fn an_event_trigger_is_one_line() {
        let event = Trigger::Event {
            source: "github".to_owned(),
            on: vec!["push".to_owned(), "issues.*".to_owned()],
            filter: Some("ref == 'x'".to_owned()),
        };
        assert_eq!(trigger(&event), "github: push, issues.* if ref == 'x'");
    }
}
