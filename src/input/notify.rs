//! Receivers of a run's result, in addition to the automation service.

use openhands_client::redact;
use openhands_client::secret::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};
use url::Url;

use super::reporting::http_url;
use crate::problem::Mistake;

/// An address that gets the result of the run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Notify {
    /// Gets the result as JSON in a POST, with a `text` for people, as incoming webhooks of Slack and other chats take it. It counts as a
    /// secret.
    #[serde(deserialize_with = "address")]
    #[schemars(with = "String")]
    url: Secret,
    /// The runs that send a notice. Default: `always`.
    #[serde(default)]
    pub(crate) on: NotifyOn,
}

/// The runs that send a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NotifyOn {
    /// All.
    #[default]
    Always,
    /// Those that failed.
    Failure,
}

impl Notify {
    /// The address.
    #[must_use]
    pub(crate) fn url(&self) -> Option<Url> {
        http_url(self.url.expose())
    }

    /// What opens something: the address, its path and the parts of it that only a webhook has.
    pub(crate) fn secrets(&self) -> Vec<Secret> {
        let Some(url) = self.url() else { return Vec::new() };
        let mut secrets = redact::secrets_of_own_address(&url);
        let parts = url.path_segments().into_iter().flatten().filter(|part| part.len() >= SECRET_PART);
        secrets.extend(parts.chain([self.url.expose().trim(), url.as_str()]).map(Secret::new));
        if url.path().len() >= SECRET_PART {
            secrets.push(Secret::new(url.path()));
        }
        secrets
    }
}

/// A part of a path with at least this many bytes may be a key; `services` is shorter.
const SECRET_PART: usize = 16;

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    let url = Secret::deserialize(deserializer)?;
    // The address is never part of the error.
    let wrong = || de::Error::custom(Mistake::new("not an address", "write one that starts with http:// or https://"));
    if http_url(url.expose()).is_some() { Ok(url) } else { Err(wrong()) }
}

/// Parses the variable's value: one address, or the list of a task file as JSON.
///
/// # Errors
/// What is wrong with it, without the value.
pub(super) fn of_variable(value: &str) -> Result<Vec<Notify>, String> {
    let value = value.trim();
    if value.starts_with('[') {
        // The error may contain the value, and its position is enough.
        return serde_json::from_str(value)
            .map_err(|error| format!("not a list of such objects (column {})", error.column()));
    }
    match http_url(value) {
        Some(_) => Ok(vec![Notify { url: Secret::new(value), on: NotifyOn::Always }]),
        None => Err("not an address that starts with http:// or https://".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_has_an_address_or_a_list() {
        let url = "https://hooks.slack.com/services/T000/B000/abcdefghijklmnop1234";
        let of = |text: &str| of_variable(text).map(|all| all.into_iter().map(|notify| notify.on).collect::<Vec<_>>());
        assert_eq!(of(url), Ok(vec![NotifyOn::Always]));
        let list = format!(r#"[{{"url": "{url}", "on": "failure"}}, {{"url": "{url}"}}]"#);
        assert_eq!(of(&list), Ok(vec![NotifyOn::Failure, NotifyOn::Always]));
        for bad in [
            "hooks.slack.com/hunter22",
            "ftp://hunter22/",
            r#"[{"url": "hunter22"}]"#,
            r#"[{"on": "hunter22"}]"#,
            "[hunter22",
        ] {
            let error = of(bad).unwrap_err();
            assert!(!error.contains("hunter22"), "{error}");
        }
    }

    #[test]
    fn the_address_and_its_key_are_secrets_and_its_common_words_are_none() {
        let notify = &of_variable("https://hooks.slack.com/services/T000/B000/abcdefghijklmnop1234").unwrap()[0];
        let secrets = notify.secrets();
        let secrets: Vec<_> = secrets.iter().map(Secret::expose).collect();
        assert!(secrets.contains(&"abcdefghijklmnop1234"), "{secrets:?}");
        assert!(secrets.contains(&"/services/T000/B000/abcdefghijklmnop1234"), "{secrets:?}");
        assert!(!secrets.contains(&"services"), "{secrets:?}");
        assert!(!format!("{notify:?}").contains("hooks"));
    }
}
