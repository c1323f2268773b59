//! Triggers, which start the runs of an automation.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A trigger, which starts the runs of an automation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Value", into = "Value")]
#[non_exhaustive]
pub enum Trigger {
    /// A schedule.
    Cron {
        /// Five fields: minute, hour, day of the month, month, day of the week.
        schedule: String,
        /// An IANA time zone, such as `Europe/Berlin`.
        timezone: String,
    },
    /// An event that the service receives.
    Event {
        /// The source of the event: one that the service knows, such as `github`, or a custom webhook.
        source: String,
        /// The event types, such as `pull_request.opened`, `push` or `issue.*`.
        on: Vec<String>,
        /// A JMESPath expression that must be true for the event.
        filter: Option<String>,
    },
    /// A trigger that this version of the library does not know.
    Other(Value),
}

impl From<Value> for Trigger {
    fn from(value: Value) -> Self {
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let known = match value.get("type").and_then(Value::as_str) {
            Some("cron") => text("schedule").map(|schedule| Self::Cron {
                schedule,
                timezone: text("timezone").unwrap_or_else(|| "UTC".to_owned()),
            }),
            Some("event") => text("source").map(|source| {
                let on = match value.get("on") {
                    Some(Value::Array(patterns)) => {
                        patterns.iter().filter_map(Value::as_str).map(str::to_owned).collect()
                    }
                    Some(Value::String(pattern)) => vec![pattern.clone()],
                    _ => Vec::new(),
                };
                Self::Event { source, on, filter: text("filter") }
            }),
            _ => None,
        };
        known.unwrap_or(Self::Other(value))
    }
}

impl From<Trigger> for Value {
    fn from(trigger: Trigger) -> Self {
        match trigger {
            Trigger::Cron { schedule, timezone } => {
                serde_json::json!({"type": "cron", "schedule": schedule, "timezone": timezone})
            }
            Trigger::Event { source, on, filter } => {
                let mut event = serde_json::json!({"type": "event", "source": source, "on": on});
                if let Some(filter) = filter {
                    event["filter"] = filter.into();
                }
                event
            }
            Trigger::Other(value) => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_trigger_is_read_leniently_and_written_strictly() {
        for (wire, trigger, written) in [
            (
                json!({"type": "cron", "schedule": "0 3 * * *"}),
                Trigger::Cron { schedule: "0 3 * * *".to_owned(), timezone: "UTC".to_owned() },
                json!({"type": "cron", "schedule": "0 3 * * *", "timezone": "UTC"}),
            ),
            (
                json!({"type": "event", "source": "github", "on": "push", "filter": null, "wake_agent": true}),
                Trigger::Event { source: "github".to_owned(), on: vec!["push".to_owned()], filter: None },
                json!({"type": "event", "source": "github", "on": ["push"]}),
            ),
            (json!({"type": "moon"}), Trigger::Other(json!({"type": "moon"})), json!({"type": "moon"})),
            (json!({"type": "cron"}), Trigger::Other(json!({"type": "cron"})), json!({"type": "cron"})),
        ] {
            assert_eq!(serde_json::from_value::<Trigger>(wire).unwrap(), trigger);
            assert_eq!(serde_json::to_value(trigger).unwrap(), written);
        }
    }
}
