//! The part of the environment that must survive bad settings: where the outcome goes.
//!
//! Read before everything else and leniently, so that a run whose other settings are wrong can still say so.

use openhands_client::ids::RunId;
use openhands_client::secret::Secret;
use url::Url;

use super::env::{RawEnv, is_usable_key};

/// Where and how the outcome is reported.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reporting {
    /// The completion callback's address. Without one, the exit code is the only report.
    pub(crate) callback_url: Option<Url>,
    /// Bearer token of the callback.
    pub(crate) key: Option<Secret>,
    /// The phases' address.
    pub(crate) phase_url: Option<Url>,
    /// The id that the callback carries.
    pub(crate) run_id: Option<RunId>,
}

impl Reporting {
    /// What can be used of the environment, and a warning for what cannot.
    #[must_use]
    pub(crate) fn from_env(raw: &RawEnv) -> (Self, Option<String>) {
        let callback = [("AUTOMATION_CALLBACK_URL", &raw.automation_callback_url), ("CALLBACK_URL", &raw.callback_url)];
        let mut warning = None;
        let callback_url = callback.into_iter().find_map(|(name, value)| {
            let value = value.as_deref()?.trim();
            match Url::parse(value) {
                Ok(url) if matches!(url.scheme(), "http" | "https") => Some(url),
                _ => {
                    warning =
                        Some(format!("{name} is not an http or https address: no callback can be delivered to it"));
                    None
                }
            }
        });
        let phase_url = raw.automation_phase_url.as_deref().and_then(|value| {
            let url = Url::parse(value.trim()).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
            if url.is_none() {
                tracing::warn!("AUTOMATION_PHASE_URL is not an http or https address: there will be no phases");
            }
            url
        });
        let key = [&raw.automation_callback_api_key, &raw.openhands_api_key, &raw.openhands_cloud_api_key];
        let reporting = Self {
            callback_url,
            phase_url,
            // The service may take a callback without the key; with this one it could not even be sent.
            key: key.into_iter().flatten().next().filter(|key| is_usable_key(key)).map(|key| Secret::new(key.trim())),
            run_id: raw.automation_run_id.as_ref().or(raw.run_id.as_ref()).map(|id| RunId::new(id.trim())),
        };
        (reporting, warning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ..RawEnv::default()
        };
        let (reporting, warning) = Reporting::from_env(&raw);
        assert_eq!(reporting.callback_url.unwrap().as_str(), "http://other/");
        assert_eq!(reporting.key.unwrap().expose(), "cloud-key");
        assert!(warning.unwrap().starts_with("AUTOMATION_CALLBACK_URL"));
    }
}
