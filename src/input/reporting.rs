//! The settings for reporting the outcome, which are needed even if other settings are invalid.
//!
//! They are read before everything else and leniently, so that a run with other invalid settings can still report that.

use openhands_client::ids::RunId;
use openhands_client::secret::Secret;
use url::Url;

use super::env::RawEnv;
use super::notify::{Notify, of_variable};
use super::task::repos::is_this_machine;
use super::values::{default_cloud_api_url, is_header_value, misread};

/// Where and how the outcome is reported.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reporting {
    /// The URL of the completion callback. Without it, the exit code is the only report.
    pub(crate) callback_url: Option<Url>,
    /// Bearer token of the callback.
    pub(crate) key: Option<Secret>,
    /// Bearer token of the phases.
    pub(crate) phase_key: Option<Secret>,
    /// The URL of the phases.
    pub(crate) phase_url: Option<Url>,
    /// The id in the callback.
    pub(crate) run_id: Option<RunId>,
    /// The automation's name, for people.
    pub(crate) name: Option<String>,
    /// Other receivers of the run's result.
    pub(crate) notify: Vec<Notify>,
}

impl Reporting {
    /// Returns the valid part of the environment, and a warning for the rest.
    #[must_use]
    pub(crate) fn from_env(raw: &RawEnv) -> (Self, Option<String>) {
        let callback = [("AUTOMATION_CALLBACK_URL", &raw.automation_callback_url), ("CALLBACK_URL", &raw.callback_url)];
        let mut warning = None;
        let callback = callback.into_iter().find_map(|(name, value)| {
            let url = http_url(value.as_deref()?);
            if url.is_none() {
                warning = Some(format!("{name} is not an http or https address: no callback can be delivered to it"));
            }
            url.map(|url| (name, url))
        });
        let phase_url = raw.automation_phase_url.as_deref().and_then(|value| {
            let url = http_url(value);
            if url.is_none() {
                tracing::warn!("AUTOMATION_PHASE_URL is not an http or https address: there will be no phases");
            }
            url
        });
        let own_key = usable(raw.automation_callback_api_key.as_ref());
        let cloud_key = || usable(raw.openhands_api_key.as_ref().or(raw.openhands_cloud_api_key.as_ref()));
        // `CALLBACK_URL` may belong to any service, and the Cloud API key gives access to an account.
        let key = own_key.clone().or_else(|| match &callback {
            Some(("CALLBACK_URL", url)) => cloud_key().filter(|_| is_of_cloud(url, raw)),
            _ => cloud_key(),
        });
        let phase_key = own_key.or_else(cloud_key);
        if let Some((name, url)) = &callback {
            warn_of_plain_http(name, url, key.as_ref());
        }
        if let Some(url) = &phase_url {
            warn_of_plain_http("AUTOMATION_PHASE_URL", url, phase_key.as_ref());
        }
        let reporting = Self {
            callback_url: callback.map(|(_, url)| url),
            phase_url,
            key,
            phase_key,
            run_id: raw.automation_run_id.as_ref().or(raw.run_id.as_ref()).map(|id| RunId::new(id.trim())),
            name: raw.automation_name.clone(),
            // If the variable is invalid, the settings report it.
            notify: raw
                .openhands_runner_notify
                .as_deref()
                .and_then(|value| of_variable(value).ok())
                .unwrap_or_default(),
        };
        (reporting, warning)
    }
}

/// Parses an http or https URL.
pub(super) fn http_url(value: &str) -> Option<Url> {
    let value = Some(value.trim()).filter(|value| misread(value).is_none());
    Url::parse(value?).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
}

/// Warns if others can read a key on its way to this URL.
pub(super) fn warn_of_plain_http(variable: &'static str, url: &Url, key: Option<&Secret>) {
    if key.is_some() && url.scheme() == "http" && !is_this_machine(url) {
        let host = url.host_str().unwrap_or_default();
        tracing::warn!(variable, host, "a key is sent over plain http to another machine; use https");
    }
}

/// Returns a key that is valid in a header. The settings report any other, and the run is still reported.
fn usable(key: Option<&String>) -> Option<Secret> {
    key.map(|key| key.trim()).filter(|key| is_header_value(key)).map(Secret::new)
}

/// Returns whether a URL has the host of OpenHands Cloud.
pub(super) fn is_of_cloud(url: &Url, raw: &RawEnv) -> bool {
    let cloud = raw.openhands_cloud_api_url.as_deref().map_or_else(|| Some(default_cloud_api_url()), http_url);
    cloud.is_some_and(|cloud| cloud.origin() == url.origin())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clouds_key_goes_to_the_cloud_and_to_the_automation_service_alone() {
        let key = |name: &str, url: &str| {
            let vars = [(name, url), ("OPENHANDS_API_KEY", "cloud-key")];
            let (raw, _) = RawEnv::from_vars(vars.map(|(name, value)| (name.into(), value.into())));
            Reporting::from_env(&raw).0.key
        };
        assert_eq!(key("CALLBACK_URL", "http://third-party/x"), None);
        assert_eq!(key("CALLBACK_URL", "https://app.all-hands.dev.evil.example/x"), None);
        assert_eq!(key("CALLBACK_URL", "http://app.all-hands.dev/x"), None);
        assert!(key("CALLBACK_URL", "https://app.all-hands.dev/x").is_some());
        assert!(key("AUTOMATION_CALLBACK_URL", "https://service/x").is_some());
    }

    #[test]
    fn a_key_that_no_header_can_hold_is_left_out() {
        let raw = RawEnv {
            callback_url: Some("https://service/".to_owned()),
            automation_callback_api_key: Some("a\nb".to_owned()),
            ..RawEnv::default()
        };
        let (reporting, _) = Reporting::from_env(&raw);
        assert!(reporting.callback_url.is_some() && reporting.key.is_none());
    }

    #[test]
    fn own_variables_come_before_fallbacks() {
        let raw = RawEnv {
            automation_callback_url: Some("https://service/complete".to_owned()),
            callback_url: Some("https://other/".to_owned()),
            automation_callback_api_key: Some("callback-key".to_owned()),
            openhands_api_key: Some("cloud-key".to_owned()),
            automation_run_id: Some("run".to_owned()),
            run_id: Some("other".to_owned()),
            ..RawEnv::default()
        };
        let (reporting, warning) = Reporting::from_env(&raw);
        assert_eq!(reporting.callback_url.unwrap().as_str(), "https://service/complete");
        assert_eq!(reporting.key.unwrap().expose(), "callback-key");
        assert_eq!(reporting.run_id.unwrap().as_str(), "run");
        assert_eq!(warning, None);
    }

    #[test]
    fn a_key_that_no_header_can_hold_is_left_out_and_white_space_around_one_is_no_part_of_it() {
        for (key, usable) in [("key\r\n", Some("key")), ("ke\ny", None), ("ke\u{1b}y", None)] {
            let raw = RawEnv { automation_callback_api_key: Some(key.to_owned()), ..RawEnv::default() };
            let (reporting, _) = Reporting::from_env(&raw);
            assert_eq!(reporting.key.as_ref().map(Secret::expose), usable, "{key:?}");
        }
    }

    #[test]
    fn an_unusable_address_is_a_warning_and_the_fallback_counts() {
        let raw = RawEnv {
            automation_callback_url: Some("not an address".to_owned()),
            callback_url: Some("http://other/".to_owned()),
            openhands_cloud_api_key: Some("cloud-key".to_owned()),
            openhands_cloud_api_url: Some("http://other".to_owned()),
            ..RawEnv::default()
        };
        let (reporting, warning) = Reporting::from_env(&raw);
        assert_eq!(reporting.callback_url.unwrap().as_str(), "http://other/");
        assert_eq!(reporting.key.unwrap().expose(), "cloud-key");
        assert!(warning.unwrap().starts_with("AUTOMATION_CALLBACK_URL"));
    }
}
