//! The labels of a conversation for people and for other systems: tags, a title, and its place in a trace.

use openhands_client::collections::inserted;
use std::collections::BTreeMap;

use jiff::Timestamp;
use openhands_client::agent_server::trace::Trace;
use openhands_client::ids::RunId;
use serde_json::Value;

use super::env::RawEnv;
use super::python_json;
use super::title::title;
use super::values::text;

/// The longest value of a tag, in characters (agent-server 1.16.1 and later, `POST /api/conversations`).
const LONGEST_TAG: usize = 256;

pub(super) fn tags(raw: &RawEnv, run_id: Option<&RunId>) -> BTreeMap<String, String> {
    // Keys and values as in the automation service's own preset: under the service the trigger is `automation`, whatever
    // triggered the automation.
    let under_service = raw.openhands_observability_metadata.as_ref().map(|_| "automation");
    let known = [
        ("automationid", raw.automation_id.as_deref()),
        ("automationname", raw.automation_name.as_deref()),
        ("automationtrigger", under_service.or(raw.automation_trigger_source.as_deref())),
        ("automationrunid", run_id.map(RunId::as_str)),
    ];
    inserted(
        known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.chars().take(LONGEST_TAG).collect()))),
    )
}

pub(super) fn title_of_run(raw: &RawEnv) -> Option<String> {
    let payload = raw.automation_event_payload.as_deref().and_then(|payload| python_json::parse(payload).ok());
    title(raw.automation_name.as_deref()?, payload.as_ref(), Timestamp::now())
}

/// Returns the trace fields. They never fail a run: invalid ones are left out.
pub(super) fn trace(raw: &RawEnv) -> Trace {
    let metadata = raw.openhands_observability_metadata.as_deref().and_then(|metadata| {
        let parsed = python_json::parse(metadata).and_then(|value| match value {
            Value::Object(fields) => Ok(fields),
            _ => Err("JSON, but not an object".to_owned()),
        });
        parsed.inspect_err(|_| tracing::warn!("OPENHANDS_OBSERVABILITY_METADATA is not a JSON object")).ok()
    });
    let tags = raw.openhands_observability_tags.as_deref().unwrap_or_default().split(',').map(str::trim);
    Trace {
        metadata,
        tags: tags.filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
        span_name: text(raw.openhands_observability_span_name.as_ref()),
        parent_span_context: text(raw.openhands_observability_parent_span_context.as_ref()),
        traceparent: text(raw.traceparent.as_ref()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::settings::{Overrides, Settings};

    fn settings(vars: &[(&str, &str)]) -> Settings {
        let (raw, faults) = RawEnv::from_vars(vars.iter().map(|(name, value)| (name.into(), value.into())));
        Settings::from_env(&raw, &faults.not_text, Overrides::default()).unwrap()
    }

    #[test]
    fn trace_fields_are_passed_on_and_what_is_wrong_with_them_is_left_out() {
        let of = |metadata: &str| {
            let vars = [
                ("OPENHANDS_OBSERVABILITY_METADATA", metadata),
                ("OPENHANDS_OBSERVABILITY_TAGS", "automation, ,automation.trigger:cron"),
                ("traceparent", "00-1-2-01"),
                ("AUTOMATION_TRIGGER_SOURCE", "cron"),
            ];
            settings(&vars)
        };
        let good = of(r#"{"automation.id": "a", "n": 1}"#);
        assert_eq!(good.trace.metadata.unwrap()["n"], 1);
        assert_eq!(good.trace.tags, ["automation", "automation.trigger:cron"]);
        assert_eq!(good.trace.traceparent.as_deref(), Some("00-1-2-01"));
        assert_eq!(good.tags["automationtrigger"], "automation");
        assert_eq!(of("[]").trace.metadata, None);
    }

    #[test]
    fn tags_tell_the_automation_and_fit_the_server() {
        let long = "ä".repeat(300);
        let settings = settings(&[("AUTOMATION_NAME", &long), ("RUN_ID", "r")]);
        assert_eq!(settings.tags["automationname"].chars().count(), LONGEST_TAG);
        assert_eq!(settings.tags["automationrunid"], "r");
    }
}
