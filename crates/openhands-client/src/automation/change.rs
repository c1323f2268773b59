//! Creation and changes of automations. The service rejects fields that it does not know, so only fields that are set are sent.

use std::time::Duration;

use serde::Serialize;

use super::trigger::Trigger;
use super::wire::Tarball;

/// A new automation.
#[derive(Debug, Clone, Serialize)]
pub struct NewAutomation {
    name: String,
    trigger: Trigger,
    tarball_path: Tarball,
    entrypoint: String,
    #[serde(flatten)]
    more: AutomationUpdate,
}

impl NewAutomation {
    /// Creates an automation with this name, whose runs unpack this tarball and start this command in its folder.
    pub fn new(name: impl Into<String>, trigger: Trigger, tarball: Tarball, entrypoint: impl Into<String>) -> Self {
        let (name, entrypoint) = (name.into(), entrypoint.into());
        Self { name, trigger, tarball_path: tarball, entrypoint, more: AutomationUpdate::default() }
    }

    /// Sets the other fields. Name, trigger, tarball and entrypoint of `more` are ignored.
    #[must_use]
    pub fn with(mut self, more: AutomationUpdate) -> Self {
        self.more = AutomationUpdate { name: None, trigger: None, tarball_path: None, entrypoint: None, ..more };
        self
    }

    /// Returns the tarball of its runs.
    #[must_use]
    pub fn tarball(&self) -> &Tarball {
        &self.tarball_path
    }
}

/// Changes of an automation. Fields that are not set stay as they are.
#[derive(Debug, Clone, Default, Serialize)]
pub struct AutomationUpdate {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trigger: Option<Trigger>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tarball_path: Option<Tarball>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entrypoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_profile_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
}

impl AutomationUpdate {
    /// Changes the name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Changes the description.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Changes the trigger of its runs.
    #[must_use]
    pub fn trigger(mut self, trigger: Trigger) -> Self {
        self.trigger = Some(trigger);
        self
    }

    /// Changes the tarball that its runs unpack.
    #[must_use]
    pub fn tarball(mut self, tarball: Tarball) -> Self {
        self.tarball_path = Some(tarball);
        self
    }

    /// Changes the command that its runs start. The service rejects absolute paths, `..` and most special characters of a shell.
    #[must_use]
    pub fn entrypoint(mut self, entrypoint: impl Into<String>) -> Self {
        self.entrypoint = Some(entrypoint.into());
        self
    }

    /// Changes the time limit of a run. The service counts whole seconds (default: 600 s, at most 1800 s).
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit.as_secs() + u64::from(limit.subsec_nanos() > 0));
        self
    }

    /// Changes the LLM profile of its runs (default: the profile that is active when the automation is created).
    #[must_use]
    pub fn model(mut self, profile: impl Into<String>) -> Self {
        self.model = Some(profile.into());
        self
    }

    /// Changes the agent profile of its runs, given by its UUID.
    #[must_use]
    pub fn agent_profile_id(mut self, id: impl Into<String>) -> Self {
        self.agent_profile_id = Some(id.into());
        self
    }

    /// Replaces all tags: up to 10, of up to 50 characters each. Supported from 1.26.0.
    #[must_use]
    pub fn tags(mut self, tags: impl IntoIterator<Item: Into<String>>) -> Self {
        self.tags = Some(tags.into_iter().map(Into::into).collect());
        self
    }

    /// Sets whether the trigger starts runs.
    #[must_use]
    pub fn active(mut self, is_active: bool) -> Self {
        self.state = Some(if is_active { "ACTIVE" } else { "INACTIVE" });
        self
    }

    /// Returns whether no field is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        serde_json::to_value(self).is_ok_and(|value| value.as_object().is_some_and(serde_json::Map::is_empty))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_set_is_sent() {
        assert!(AutomationUpdate::default().is_empty());
        let update = AutomationUpdate::default().timeout(Duration::from_millis(89_001)).active(false).name("x");
        assert_eq!(serde_json::to_value(&update).unwrap(), json!({"name": "x", "timeout": 90, "state": "INACTIVE"}));
        let trigger = Trigger::Cron { schedule: "* * * * *".to_owned(), timezone: "UTC".to_owned() };
        let new = NewAutomation::new("n", trigger, Tarball::at("https://h/t"), "exec e").with(update.tags(["a"]));
        let trigger = json!({"type": "cron", "schedule": "* * * * *", "timezone": "UTC"});
        let sent = json!({"name": "n", "trigger": trigger, "tarball_path": "https://h/t", "entrypoint": "exec e",
            "timeout": 90, "tags": ["a"], "state": "INACTIVE"});
        assert_eq!(serde_json::to_value(&new).unwrap(), sent);
    }
}
