//! The services that are used from outside of a sandbox, with their URLs and keys: the Cloud API, the other providers of
//! sandboxes, and the automation service. Pure: does not read the environment of the process.

use openhands_client::cloud::CloudKey;
use openhands_client::http::join;
use openhands_client::secret::Secret;
use url::Url;

use super::env::RawEnv;
use super::reporting::{is_of_cloud, warn_of_plain_http};
use super::values::{Reader, default_cloud_api_url, secret};
use crate::problem::{Problem, Problems};

/// The kind of a sandbox provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ProviderKind {
    /// OpenHands Cloud.
    #[default]
    Cloud,
    /// Containers on this machine.
    Docker,
    /// The Runtime API.
    RuntimeApi,
}

/// A sandbox provider with its URL and key.
#[derive(Debug, Clone)]
pub(crate) enum ProviderSettings {
    /// OpenHands Cloud, with its account.
    Cloud(CloudKey),
    /// Docker, which needs neither.
    Docker,
    /// The Runtime API.
    RuntimeApi {
        /// The base URL.
        url: Url,
        /// The API key.
        api_key: Secret,
    },
}

impl ProviderKind {
    /// Returns the name of the provider on the command line.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cloud => "cloud",
            Self::Docker => "docker",
            Self::RuntimeApi => "runtime-api",
        }
    }
}

impl ProviderSettings {
    /// Reads the settings of the provider. `None` if something is missing or invalid, which is then recorded as a problem.
    pub(super) fn read(kind: ProviderKind, cloud_url: &Url, raw: &RawEnv, reader: &mut Reader<'_>) -> Option<Self> {
        match kind {
            ProviderKind::Cloud => {
                let Some(api_key) = cloud_key(raw) else {
                    reader.problems.push(no_cloud_key());
                    return None;
                };
                Some(Self::Cloud(CloudKey { url: cloud_url.clone(), api_key }))
            }
            ProviderKind::Docker => Some(Self::Docker),
            ProviderKind::RuntimeApi => {
                let url = match raw.runtime_api_url.as_deref() {
                    None => reader.refuse("RUNTIME_API_URL", "not set", "set it to the address of the Runtime API"),
                    url => reader.http_url("RUNTIME_API_URL", url),
                };
                let help = "set it to your key of the Runtime API";
                let api_key = secret(raw.runtime_api_key.as_ref());
                let api_key = api_key.or_else(|| reader.refuse("RUNTIME_API_KEY", "not set", help));
                let (url, api_key) = (url?, api_key?);
                warn_of_plain_http("RUNTIME_API_KEY", &url, Some(&api_key));
                Some(Self::RuntimeApi { url, api_key })
            }
        }
    }

    /// Reads the settings of the provider for commands other than runs.
    ///
    /// # Errors
    /// [`Problems`].
    pub(crate) fn from_env(kind: ProviderKind, raw: &RawEnv) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut reader = Reader { problems: &mut problems };
        let cloud_url = match kind {
            ProviderKind::Cloud => reader.http_url("OPENHANDS_CLOUD_API_URL", raw.openhands_cloud_api_url.as_deref()),
            ProviderKind::Docker | ProviderKind::RuntimeApi => None,
        };
        let cloud_url = cloud_url.unwrap_or_else(default_cloud_api_url);
        match Self::read(kind, &cloud_url, raw, &mut reader) {
            Some(settings) if problems.is_empty() => Ok(settings),
            _ => Err(Problems(problems)),
        }
    }
}

pub(super) fn cloud_key(raw: &RawEnv) -> Option<Secret> {
    secret(raw.openhands_api_key.as_ref().or(raw.openhands_cloud_api_key.as_ref()))
}

fn no_cloud_key() -> Problem {
    Problem::new("OPENHANDS_API_KEY", "not set", "make a key in OpenHands Cloud under Settings, API Keys, and set it")
}

/// Returns the key of the Cloud API for commands other than runs.
///
/// # Errors
/// [`Problems`].
pub(crate) fn cloud_api(raw: &RawEnv) -> Result<CloudKey, Problems> {
    let mut problems = Vec::new();
    let url = Reader { problems: &mut problems }
        .http_url("OPENHANDS_CLOUD_API_URL", raw.openhands_cloud_api_url.as_deref())
        .unwrap_or_else(default_cloud_api_url);
    let api_key = cloud_key(raw);
    if api_key.is_none() {
        problems.push(no_cloud_key());
    }
    match api_key {
        Some(api_key) if problems.is_empty() => Ok(CloudKey { url, api_key }),
        _ => Err(Problems(problems)),
    }
}

/// Returns the URL and the key of the automation service, for commands other than runs. The Cloud API key is sent only to the
/// Cloud, and the key of a self-hosted service only to the URL that is set together with it.
///
/// # Errors
/// [`Problems`].
pub(crate) fn automation_service(raw: &RawEnv) -> Result<(Url, Secret), Problems> {
    let mut problems = Vec::new();
    let mut read = Reader { problems: &mut problems };
    let cloud = read
        .http_url("OPENHANDS_CLOUD_API_URL", raw.openhands_cloud_api_url.as_deref())
        .unwrap_or_else(default_cloud_api_url);
    let named = read.http_url("AUTOMATION_API_URL", raw.automation_api_url.as_deref());
    read.keys(raw);
    let url = named.unwrap_or_else(|| join(&cloud, &["api", "automation"]));
    let is_of_cloud = is_of_cloud(&url, raw);
    let (name, key) = if is_of_cloud {
        ("OPENHANDS_API_KEY", cloud_key(raw))
    } else {
        ("AUTOMATION_LOCAL_API_KEY", secret(raw.automation_local_api_key.as_ref()))
    };
    match key {
        Some(key) if problems.is_empty() => {
            warn_of_plain_http(name, &url, Some(&key));
            return Ok((url, key));
        }
        None if is_of_cloud => problems.push(no_cloud_key()),
        None => {
            let help = "set it to the key that the automation service at AUTOMATION_API_URL has under this name";
            problems.push(Problem::new(name, "not set", help));
        }
        Some(_) => {}
    }
    Err(Problems(problems))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(kind: ProviderKind, vars: &[(&str, &str)]) -> Result<ProviderSettings, String> {
        let (raw, _) = RawEnv::from_vars(vars.iter().map(|(name, value)| (name.into(), value.into())));
        ProviderSettings::from_env(kind, &raw).map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_provider_says_all_that_it_misses() {
        let cloud = [("OPENHANDS_API_KEY", "c")];
        let runtime = [("RUNTIME_API_URL", "https://runtimes.example/"), ("RUNTIME_API_KEY", "r")];
        assert!(matches!(settings(ProviderKind::Docker, &[]), Ok(ProviderSettings::Docker)));
        let Ok(ProviderSettings::Cloud(key)) = settings(ProviderKind::Cloud, &cloud) else { panic!("no Cloud") };
        assert_eq!((key.url.host_str(), key.api_key.expose()), (Some("app.all-hands.dev"), "c"));
        let Ok(ProviderSettings::RuntimeApi { url, api_key }) = settings(ProviderKind::RuntimeApi, &runtime) else {
            panic!("no Runtime API")
        };
        assert_eq!((url.host_str(), api_key.expose()), (Some("runtimes.example"), "r"));
        assert!(settings(ProviderKind::Cloud, &runtime).unwrap_err().starts_with("OPENHANDS_API_KEY: not set"));
        let missing = settings(ProviderKind::RuntimeApi, &cloud).unwrap_err();
        assert!(missing.contains("RUNTIME_API_URL: not set") && missing.contains("RUNTIME_API_KEY: not set"));
        let wrong = settings(ProviderKind::RuntimeApi, &[("RUNTIME_API_URL", "runtimes"), runtime[1]]).unwrap_err();
        assert!(wrong.starts_with("RUNTIME_API_URL: not an address"), "{wrong}");
    }
}
